package releases

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/catalog"
	"github.com/serviceforge/serviceforge/releases/archive"
	"github.com/serviceforge/serviceforge/releases/parameters"
	"github.com/serviceforge/serviceforge/releases/secrets"
	"github.com/serviceforge/serviceforge/releases/spiff"
	"github.com/serviceforge/serviceforge/releases/trees"
)

// Release is a service release that was read and checked. It is immutable.
type Release struct {
	name, version string
	services      []*service
	catalog       *catalog.Catalog // of this release alone
	legacy        bool             // a block of 2014: its documents are v1 manifests
	warnings      []string
	pending       []string // keys that are valid, but not done yet
}

// service is one offering with everything its renders need.
type service struct {
	offering  catalog.Offering
	releases  []BOSHRelease
	stemcells []fileStemcell

	legacy          bool
	templates       []spiff.Document          // the template, then its stubs
	infrastructures map[string]spiff.Document // by the pool's infrastructure
	deploymentStub  spiff.Document
	manifest        string           // instead of templates: a manifest with ((vars))
	vars            spiff.Document   // a Spiff map that fills them
	ops             []spiff.Document // ops files
	known           []string         // references that the director knows by itself

	secrets    map[string]secrets.Spec
	facts      map[string]factSpec
	access     spiff.Document // credentials and users
	defaults   map[string]any
	detect     []fileDetect
	errands    map[string][]Errand // by when they run
	check      Check
	hasUsers   bool // a driver makes them
	prepared   int  // users that a deployment is made with
	migrations []fileMigration
	plans      map[string]*plan // by id
	secretRank []string         // secrets in the order in which they can be made
}

// plan is one plan with its stub and the schemas of its parameters.
type plan struct {
	catalog.Plan
	stub    spiff.Document
	written *yaml.Node // the stub in service.yml
	ops     []spiff.Document
	schemas map[parameters.Call]*parameters.Schema
}

var (
	releaseName = regexp.MustCompile(`^[a-z0-9][-a-z0-9_]*$`)
	semver      = regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)([-+][-+0-9A-Za-z.]+)?$`)
	sha256Text  = regexp.MustCompile(`^[0-9a-f]{64}$`)
	debianName  = regexp.MustCompile(`^[a-z0-9][-a-z0-9+.]+$`)
	prefixName  = regexp.MustCompile(`^[a-z][-a-z0-9]{0,29}$`)
)

// Load reads a service release from its folder, an archive that was opened, or
// any other place: service.yml, templates/, README.md, and BOSH releases under
// bosh/. Unknown keys are refused with line and column. Errors: Invalid.
func Load(files fs.FS) (*Release, error) {
	text, err := archive.ReadFile(files, "service.yml")
	if err != nil {
		return nil, err
	}
	f, err := decodeService([]byte(text))
	if err != nil {
		return nil, err
	}
	r := &Release{name: f.Name, version: f.Version, legacy: f.Format == 0}
	switch {
	case r.legacy:
		r.name, r.version = cmp.Or(f.Name, f.Services[0].Name), cmp.Or(f.Version, "0.0.0")
		r.warnings = append(r.warnings, "format is missing: a block of 2014, whose manifests no director takes any more; see serviceforge convert")
	case !releaseName.MatchString(f.Name):
		return nil, invalid("service.yml: name must be lower case letters, digits, - and _")
	case !semver.MatchString(f.Version):
		return nil, invalid("service.yml: version must be a semantic version, e.g. 1.0.0")
	}
	for i := range f.Services {
		s, err := r.loadService(files, &f.Services[i])
		if err != nil {
			return nil, err
		}
		r.services = append(r.services, s)
	}
	r.catalog, err = catalog.New(r.Offerings())
	return r, err
}

// Warnings are what is allowed, but hardly meant.
func (r *Release) Warnings() []string { return r.warnings }

// Runnable refuses what a broker cannot offer: blocks of 2014, and keys that are
// valid, but that this version would silently not act on. Errors: Unprocessable.
func (r *Release) Runnable() error {
	switch {
	case r.legacy:
		return serviceforge.Errorf(serviceforge.Unprocessable,
			"the release %s is of 2014: no director takes its manifests any more; convert it with: serviceforge convert", r.Ref())
	case len(r.pending) > 0:
		return serviceforge.Errorf(serviceforge.Unprocessable,
			"the release %s wants what this version does not do yet: %s", r.Ref(), strings.Join(r.pending, "; "))
	}
	return nil
}

// Legacy says whether it is a block of 2014, whose documents are v1 manifests.
func (r *Release) Legacy() bool { return r.legacy }

// Pending lists keys that are valid, but that this version does not act on.
func (r *Release) Pending() []string { return r.pending }

// Ref returns "name/version".
func (r *Release) Ref() string { return r.name + "/" + r.version }

// Name returns the name alone.
func (r *Release) Name() string { return r.name }

// Version returns the version alone.
func (r *Release) Version() string { return r.version }

// Plan looks up a plan of this release and its offering. Errors: Invalid.
func (r *Release) Plan(serviceID, planID string) (catalog.Offering, catalog.Plan, error) {
	return r.catalog.Plan(serviceID, planID)
}

// Offerings returns what the release offers, for catalog.New.
func (r *Release) Offerings() []catalog.Offering {
	var out []catalog.Offering
	for _, s := range r.services {
		out = append(out, s.offering)
	}
	return out
}

// BOSHReleases returns the BOSH releases its deployments use.
func (r *Release) BOSHReleases() []BOSHRelease {
	var out []BOSHRelease
	for _, s := range r.services {
		for _, b := range s.releases {
			if !slices.Contains(out, b) {
				out = append(out, b)
			}
		}
	}
	return out
}

// RequiresPool says which features a director must have for the manifests of any
// of the services.
func (r *Release) RequiresPool() (configServer, localDNS bool) {
	for _, s := range r.services {
		for _, p := range s.offering.Plans {
			configServer, localDNS = configServer || p.Needs.Director.ConfigServer, localDNS || p.Needs.Director.LocalDNS
		}
	}
	return configServer, localDNS
}

// CheckParameters checks what came with a call (a JSON object or nothing)
// against the plan's schema for it, in memory. Errors: Invalid, with the path.
func (r *Release) CheckParameters(p catalog.Plan, call parameters.Call, params json.RawMessage) error {
	for _, s := range r.services {
		if found := s.plans[p.ID]; found != nil {
			given, err := trees.Object(params)
			if err != nil {
				return err
			}
			return found.schemas[call].Check(given)
		}
	}
	return invalid("unknown plan %q", p.ID)
}

func (r *Release) loadService(files fs.FS, f *fileService) (*service, error) {
	what := "service " + f.Name
	s := &service{
		legacy: r.legacy, secrets: f.Secrets, facts: f.Facts, stemcells: f.BOSHRelease.Stemcells, known: f.DirectorVariables,
		migrations: f.Migrations, defaults: f.DefaultCredentials, detect: f.DetectCredentials,
	}
	for _, key := range f.pending() {
		r.pending = append(r.pending, what+": "+key)
	}
	if f.BOSHRelease.Templates.InfrastructureStub != "" {
		r.warnings = append(r.warnings, what+": release_templates.infrastructure_stub was never read; name the file in templates")
	}
	steps := []func() error{
		func() error { return s.loadOffering(f, r.Ref()) },
		func() error { return s.loadRequires(f) },
		func() error { return s.loadBOSH(&f.BOSHRelease) },
		func() error { return s.loadTemplates(files, &f.BOSHRelease) },
		func() (err error) { s.secretRank, err = secrets.Order(s.secrets); return err },
		func() error { return s.loadFacts(f) },
		func() error { return s.loadPrepared(f) },
		func() error { return s.loadAccess(f) },
		func() error { return s.loadErrands(f) },
		func() error { return s.loadCheck(f) },
		func() error { return s.loadPlans(files, f, r.version) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return nil, serviceforge.Wrap(err, serviceforge.Invalid, "%s: %s", what, serviceforge.MessageOf(err))
		}
	}
	return s, nil
}

func (s *service) loadOffering(f *fileService, ref string) error {
	prefix := f.DeploymentNamePrefix
	if prefix == "" {
		prefix = f.Name
	}
	if !prefixName.MatchString(prefix) {
		return invalid("deployment_name_prefix must be at most 30 lower case letters, digits and -")
	}
	s.offering = catalog.Offering{
		ID: f.ID, Name: f.Name, Description: f.Description, Tags: f.Tags, Metadata: f.Metadata,
		Bindable: yes(f.Bindable), PlanUpdateable: yes(f.PlanUpdateable),
		AllowContextUpdates:  yes(f.AllowContextUpdates),
		InstancesRetrievable: yes(f.InstancesRetrievable), BindingsRetrievable: yes(f.BindingsRetrievable),
		DeploymentNamePrefix: prefix, Release: ref,
	}
	return nil
}

func (s *service) loadBOSH(f *fileBOSH) error {
	if !s.legacy && (len(f.Releases) == 0 || len(f.Stemcells) == 0) {
		return invalid("bosh_release needs releases and stemcells")
	}
	for path, debian := range f.Programs {
		if !filepath.IsAbs(path) || filepath.Clean(path) != path || !debianName.MatchString(debian) {
			return invalid("bosh_release.programs maps absolute paths to names of Debian packages, not %q to %q", path, debian)
		}
	}
	for _, r := range f.Releases {
		switch {
		case s.legacy: // 2014 named the director's newest
		case r.Version == "latest":
			return invalid("bosh_release.releases: %s needs an exact version", r.Name)
		case r.URL != "" && r.File == "" && r.SHA256 != "" && !sha256Text.MatchString(r.SHA256):
			return invalid("bosh_release.releases: sha256 of %s must be 64 hexadecimal digits", r.Name)
		}
		for _, p := range []string{r.File, r.Source} {
			if p != "" && !fs.ValidPath(p) {
				return invalid("bosh_release.releases: %q is not a path inside the release", p)
			}
		}
		s.releases = append(s.releases, BOSHRelease{
			Name: r.Name, Version: r.Version, File: r.File, Source: r.Source, URL: r.URL, SHA256: r.SHA256,
		})
	}
	return nil
}

func (s *service) loadFacts(f *fileService) error {
	for name, fact := range s.facts {
		all, first := fact.Addresses == "all", fact.Address == "first"
		switch dns := fact.Kind.Value == "dns"; {
		case fact.Link == "" && fact.InstanceGroup == "" || all == first || fact.Addresses != "" && fact.Address != "":
			return invalid("facts.%s needs instance_group, and either addresses: all or address: first", name)
		case dns && !first:
			return invalid("service.yml line %d: facts.%s: kind: dns needs address: first: one name answers with the addresses of all servers", fact.Kind.Line, name)
		case dns && !f.RequiresPool.LocalDNS:
			return invalid("service.yml line %d: facts.%s: kind: dns needs requires_pool: {local_dns: true}: other directors give no names", fact.Kind.Line, name)
		}
	}
	return nil
}

// maintenance is what the author says; else the release's version, so that each
// new one is an upgrade that platforms see.
func maintenance(given fileMaintenance, version string) catalog.MaintenanceInfo {
	if given.Version == "" && catalog.IsSemantic(version) {
		given.Version = version
	}
	return catalog.MaintenanceInfo(given)
}

func (s *service) loadPlans(files fs.FS, f *fileService, version string) error {
	s.plans = make(map[string]*plan)
	for _, p := range f.Plans {
		schemas, err := p.schemas(f)
		if err != nil {
			return serviceforge.Wrap(err, serviceforge.Invalid, "plan %s: %s", p.Name, serviceforge.MessageOf(err))
		}
		if err := p.Costs.Check(); err != nil {
			return invalid("plan %s: costs: %s", p.Name, serviceforge.MessageOf(err))
		}
		stub, err := p.Stub.document("plan " + p.Name + ": bosh_deployment_stub")
		if err != nil {
			return err
		}
		ops, err := readOps(files, p.OpsFiles)
		if err != nil {
			return err
		}
		successors, err := f.successors(&p)
		if err != nil {
			return err
		}
		needs, err := s.needs(f, &p)
		if err != nil {
			return err
		}
		rule, err := f.poolRule(&p)
		if err != nil {
			return err
		}
		costs, limits, err := p.limited(f.Name)
		if err != nil {
			return err
		}
		made := &plan{stub: stub, written: p.Stub.node, ops: ops, schemas: schemas, Plan: catalog.Plan{
			ID: p.ID, Name: p.Name, Description: p.Description, Free: p.Free, Bindable: p.Bindable, Metadata: p.Metadata,
			PlanUpdateable: p.PlanUpdateable, UpdateTo: successors,
			MaintenanceInfo:        maintenance(cmp.Or(p.Maintenance, f.Maintenance), version),
			MaximumPollingDuration: p.MaximumPollingDuration, Deadline: p.Deadline, Pools: rule, Bindings: p.bindings(), Costs: costs, Limits: limits,
			Needs:   needs,
			Schemas: catalog.Schemas{Create: schemas[parameters.Create].Text, Update: schemas[parameters.Update].Text, Bind: schemas[parameters.Bind].Text},
		}}
		s.plans[p.ID] = made
		s.offering.Plans = append(s.offering.Plans, made.Plan)
	}
	return nil
}

// schemas makes the plan's schemas, of its own words and the service's.
func (p *filePlan) schemas(f *fileService) (map[parameters.Call]*parameters.Schema, error) {
	input := p.Over(f.Input)
	if p.PoolParameter {
		if _, taken := input.Parameters[catalog.PoolParameter]; taken || input.Schemas.Create != nil {
			return nil, invalid("pool_parameter, and a parameter named %s or schemas.create, exclude each other", catalog.PoolParameter)
		}
		input.Parameters[catalog.PoolParameter] = poolParameter
	}
	return input.Compile()
}

// successors returns the ids of the plans that a plan names in update_to; nil
// where it names none, and so allows all.
func (f *fileService) successors(p *filePlan) ([]string, error) {
	if p.UpdateTo == nil {
		return nil, nil
	}
	ids := []string{}
	for _, name := range p.UpdateTo {
		n := slices.IndexFunc(f.Plans, func(other filePlan) bool { return other.Name == name })
		if n < 0 {
			return nil, invalid("plan %s: update_to: there is no plan %s", p.Name, name)
		}
		ids = append(ids, f.Plans[n].ID)
	}
	return ids, nil
}

func (s *service) operatingSystems() []string {
	var out []string
	for _, c := range s.stemcells {
		out = append(out, c.OS)
	}
	return out
}

func yes(b *bool) bool { return b == nil || *b }

func itoa(i int) string { return strconv.Itoa(i) }

func invalid(format string, args ...any) error {
	return &serviceforge.Error{Code: serviceforge.Invalid, Message: fmt.Sprintf(format, args...)}
}
