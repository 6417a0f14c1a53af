package releases

import (
	"cmp"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/catalog"
)

// maxFile is the largest text file of a release: it has to fit into the store.
const maxFile = 256 << 10

// Release is a service release that was read and checked. It is immutable.
type Release struct {
	name, version string
	services      []*service
}

// service is one offering with everything its renders need.
type service struct {
	offering  catalog.Offering
	releases  []BOSHRelease
	stemcells []fileStemcell

	templates       []document          // the template, then its stubs
	infrastructures map[string]document // by the pool's infrastructure
	deploymentStub  document

	secrets    map[string]secretSpec
	facts      map[string]factSpec
	access     document // credentials and users
	hasUsers   bool
	plans      map[string]*plan // by id
	secretRank []string         // secrets in the order in which they can be made
}

// plan is one plan with its stub and the schemas of its parameters.
type plan struct {
	catalog.Plan
	stub    document
	schemas map[Call]*schema
}

var (
	releaseName = regexp.MustCompile(`^[a-z0-9][-a-z0-9_]*$`)
	semver      = regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)([-+][-+0-9A-Za-z.]+)?$`)
	prefixName  = regexp.MustCompile(`^[a-z][-a-z0-9]{0,29}$`)
)

// Load reads a service release from its folder: service.yml, templates/,
// README.md, and BOSH releases under bosh/. Unknown keys are refused with their
// line. Errors: Invalid.
func Load(files fs.FS) (*Release, error) {
	text, err := readFile(files, "service.yml")
	if err != nil {
		return nil, err
	}
	f, err := decodeService([]byte(text))
	if err != nil {
		return nil, err
	}
	switch {
	case f.Format != 1:
		return nil, invalid("service.yml: format must be 1")
	case !releaseName.MatchString(f.Name):
		return nil, invalid("service.yml: name must be lower case letters, digits, - and _")
	case !semver.MatchString(f.Version):
		return nil, invalid("service.yml: version must be a semantic version, e.g. 1.0.0")
	case len(f.Services) == 0:
		return nil, invalid("service.yml: services is missing")
	}
	if err := refuseImpure("service.yml", text); err != nil {
		return nil, err
	}
	r := &Release{name: f.Name, version: f.Version}
	for i := range f.Services {
		s, err := loadService(files, &f.Services[i], r.Ref())
		if err != nil {
			return nil, err
		}
		r.services = append(r.services, s)
	}
	_, err = catalog.New(r.Offerings())
	return r, err
}

// Ref returns "name/version".
func (r *Release) Ref() string { return r.name + "/" + r.version }

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

func loadService(files fs.FS, f *fileService, ref string) (*service, error) {
	what := "service " + f.Name
	s := &service{secrets: f.Secrets, facts: f.Facts, stemcells: f.BOSHRelease.Stemcells}
	steps := []func() error{
		func() error { return s.loadOffering(f, ref) },
		func() error { return s.loadBOSH(&f.BOSHRelease) },
		func() error { return s.loadTemplates(files, &f.BOSHRelease) },
		func() error { return s.loadSecrets() },
		func() error { return s.loadFacts() },
		func() error { return s.loadAccess(f) },
		func() error { return s.loadPlans(f) },
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
	if len(f.Releases) == 0 || len(f.Stemcells) == 0 {
		return invalid("bosh_release needs releases and stemcells")
	}
	for _, r := range f.Releases {
		if r.Name == "" || r.Version == "" || r.Version == "latest" {
			return invalid("bosh_release.releases: every release needs a name and an exact version")
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
	for _, c := range f.Stemcells {
		if c.Alias == "" || c.OS == "" {
			return invalid("bosh_release.stemcells: every stemcell needs alias and os")
		}
	}
	return nil
}

func (s *service) loadTemplates(files fs.FS, f *fileBOSH) error {
	t := &f.Templates
	base := t.BasePath
	if base == "" {
		base = "templates"
	}
	if len(t.Templates) == 0 {
		return invalid("release_templates.templates is missing")
	}
	read := func(name string) (document, error) {
		text, err := readFile(files, path.Join(base, name))
		if err != nil {
			return document{}, err
		}
		return document{Name: name, Data: text}, refuseImpure(name, text)
	}
	for _, name := range t.Templates {
		d, err := read(name)
		if err != nil {
			return err
		}
		s.templates = append(s.templates, d)
	}
	s.infrastructures = make(map[string]document)
	for infrastructure, name := range t.InfrastructureStubs {
		d, err := read(name)
		if err != nil {
			return err
		}
		s.infrastructures[infrastructure] = d
	}
	if t.DeploymentStub == "" {
		return nil
	}
	var err error
	s.deploymentStub, err = read(t.DeploymentStub)
	return err
}

func (s *service) loadFacts() error {
	for name, f := range s.facts {
		all, first := f.Addresses == "all", f.Address == "first"
		if f.InstanceGroup == "" || all == first || f.Addresses != "" && f.Address != "" {
			return invalid("facts.%s needs instance_group, and either addresses: all or address: first", name)
		}
	}
	return nil
}

func (s *service) loadPlans(f *fileService) error {
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
		successors, err := f.successors(&p)
		if err != nil {
			return err
		}
		made := &plan{stub: stub, schemas: schemas, Plan: catalog.Plan{
			ID: p.ID, Name: p.Name, Description: p.Description, Free: p.Free, Bindable: p.Bindable, Metadata: p.Metadata,
			PlanUpdateable: p.PlanUpdateable, UpdateTo: successors,
			MaintenanceInfo:        catalog.MaintenanceInfo(cmp.Or(p.Maintenance, f.Maintenance)),
			MaximumPollingDuration: p.MaximumPollingDuration, Deadline: p.Deadline, Pools: p.rule(), Bindings: p.bindings(), Costs: p.Costs,
			Needs:   catalog.Needs{VMTypes: p.Needs.VMTypes, DiskTypes: p.Needs.DiskTypes, Stemcells: s.operatingSystems()},
			Schemas: catalog.Schemas{Create: schemas[Create].text, Update: schemas[Update].text, Bind: schemas[Bind].text},
		}}
		s.plans[p.ID] = made
		s.offering.Plans = append(s.offering.Plans, made.Plan)
	}
	return nil
}

// schemas makes the plan's schemas, of its own words and the service's.
func (p *filePlan) schemas(f *fileService) (map[Call]*schema, error) {
	input := p.over(f.fileInput)
	if p.PoolParameter {
		if _, taken := input.Parameters[catalog.PoolParameter]; taken || input.Schemas.Create != nil {
			return nil, invalid("pool_parameter, and a parameter named %s or schemas.create, exclude each other", catalog.PoolParameter)
		}
		input.Parameters[catalog.PoolParameter] = poolParameter
	}
	return input.compile()
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

func readFile(files fs.FS, name string) (string, error) {
	if !fs.ValidPath(name) {
		return "", invalid("%q is not a path inside the release", name)
	}
	info, err := fs.Stat(files, name)
	if err != nil {
		return "", serviceforge.Wrap(err, serviceforge.Invalid, "%s is missing", name)
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return "", invalid("%s must be a file of at most 256 KiB", name)
	}
	text, err := fs.ReadFile(files, name)
	if err != nil {
		return "", serviceforge.Wrap(err, serviceforge.Invalid, "%s cannot be read", name)
	}
	return string(text), nil
}

// impure finds Spiff functions that are not functions of their arguments: with
// them, two renders of one instance would differ.
var impure = regexp.MustCompile(`(^|[^A-Za-z0-9_.])(rand|now|env|read|write|tempfile|exec|pipe|sync|keygen|bcrypt|md5crypt|encrypt|x509\w*|wg\w+|lookup_\w+|list_\w+|mkdir)\s*\(`)

func refuseImpure(name, text string) error {
	for i, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		if m := impure.FindStringSubmatch(line); m != nil {
			return invalid("%s line %d: %s() is not allowed, a render must be repeatable; use secrets", name, i+1, m[2])
		}
	}
	return nil
}

func yes(b *bool) bool { return b == nil || *b }

func itoa(i int) string { return strconv.Itoa(i) }

func invalid(format string, args ...any) error {
	return &serviceforge.Error{Code: serviceforge.Invalid, Message: fmt.Sprintf(format, args...)}
}
