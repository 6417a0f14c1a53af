package releases

import (
	"bytes"
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/catalog"
	"github.com/serviceforge/serviceforge/releases/parameters"
	"github.com/serviceforge/serviceforge/releases/secrets"
	"github.com/serviceforge/serviceforge/releases/spiff"
	"github.com/serviceforge/serviceforge/releases/yamldoc"
)

// serviceFile is service.yml, format 1. A key that is not here is refused.
type serviceFile struct {
	Format   int           `yaml:"format"`
	Name     string        `yaml:"name"`
	Version  string        `yaml:"version"`
	Services []fileService `yaml:"services"`
}

type fileService struct {
	ID                   string         `yaml:"id"`
	Name                 string         `yaml:"name"`
	Description          string         `yaml:"description"`
	Tags                 []string       `yaml:"tags"`
	Metadata             map[string]any `yaml:"metadata"`
	Bindable             *bool          `yaml:"bindable"`
	PlanUpdateable       *bool          `yaml:"plan_updateable"`
	AllowContextUpdates  *bool          `yaml:"allow_context_updates"`
	InstancesRetrievable *bool          `yaml:"instances_retrievable"`
	BindingsRetrievable  *bool          `yaml:"bindings_retrievable"`
	Requires             []yaml.Node    `yaml:"requires"`
	DashboardClient      yaml.Node      `yaml:"dashboard_client"`
	DeploymentNamePrefix string         `yaml:"deployment_name_prefix"`
	BOSHTarget           string         `yaml:"bosh_target"`
	RequiresPool         fileRequires   `yaml:"requires_pool"`
	BOSHRelease          fileBOSH       `yaml:"bosh_release"`
	DirectorVariables    []string       `yaml:"director_variables"`

	Secrets          map[string]secrets.Spec `yaml:"secrets"`
	parameters.Input `yaml:",inline"`
	Facts            map[string]factSpec `yaml:"facts"`
	Credentials      snippet             `yaml:"credentials"`
	Endpoints        yaml.Node           `yaml:"endpoints"`
	fileDelegated    `yaml:",inline"`
	Users            snippet `yaml:"users"`

	DefaultCredentials map[string]any `yaml:"default_credentials"`
	DetectCredentials  []fileDetect   `yaml:"detect_credentials"`

	Check      fileCheck               `yaml:"check"`
	Errands    map[string][]fileErrand `yaml:"errands"`
	Update     yaml.Node               `yaml:"update"`
	Migrations []fileMigration         `yaml:"migrations"`

	Maintenance fileMaintenance `yaml:"maintenance_info"`
	Plans       []filePlan      `yaml:"plans"`
}

type fileBOSH struct {
	Releases  []fileRelease  `yaml:"releases"`
	Stemcells []fileStemcell `yaml:"stemcells"`
	Templates fileTemplates  `yaml:"release_templates"`
	// Programs maps files of the VMs that packages take to Debian packages.
	Programs map[string]string `yaml:"programs"`
}

type fileTemplates struct {
	BasePath            string            `yaml:"base_path"`
	Templates           []string          `yaml:"templates"`
	InfrastructureStub  string            `yaml:"infrastructure_stub"` // never read, not in 2014 either
	InfrastructureStubs map[string]string `yaml:"infrastructure_stubs"`
	DeploymentStub      string            `yaml:"deployment_stub"`
	Manifest            string            `yaml:"manifest"`
	Vars                snippet           `yaml:"vars"`
	OpsFiles            []string          `yaml:"ops_files"`
}

// fileErrand is one errand of a deployment.
type fileErrand struct {
	Name      string    `yaml:"name"`
	RunOn     yaml.Node `yaml:"run_on"`
	Timeout   string    `yaml:"timeout"`
	Retries   int       `yaml:"retries"`
	OnFailure string    `yaml:"on_failure"`
}

// fileDetect is one credential of 2014.
type fileDetect struct {
	Name       string `yaml:"name"`
	Class      string `yaml:"class"`
	Attributes struct {
		JobName  string   `yaml:"job_name"` // an instance group
		JobIndex *int     `yaml:"job_index"`
		JobNames []string `yaml:"job_names"`
		Key      string   `yaml:"key"` // path in the manifest
	} `yaml:"attributes"`
}

type fileRelease struct {
	Name    string `yaml:"name"`
	Version string `yaml:"version"`
	File    string `yaml:"file"`
	Source  string `yaml:"source"`
	URL     string `yaml:"url"`
	SHA256  string `yaml:"sha256"`
	SHA1    string `yaml:"sha1"`

	ExportedFrom string `yaml:"exported_from"`
}

type fileStemcell struct {
	Alias      string `yaml:"alias"`
	OS         string `yaml:"os"`
	MinVersion string `yaml:"min_version"`
}

// factSpec names addresses of an instance group: all of them or the first.
type factSpec struct {
	InstanceGroup string    `yaml:"instance_group"`
	Addresses     string    `yaml:"addresses"`
	Address       string    `yaml:"address"`
	Kind          yaml.Node `yaml:"kind"`
	Link          string    `yaml:"link"`
}

type filePlan struct {
	ID                     string          `yaml:"id"`
	Name                   string          `yaml:"name"`
	Description            string          `yaml:"description"`
	Free                   *bool           `yaml:"free"`
	Bindable               *bool           `yaml:"bindable"`
	PlanUpdateable         *bool           `yaml:"plan_updateable"`
	UpdateTo               []string        `yaml:"update_to"` // names of plans; absent = all
	Maintenance            fileMaintenance `yaml:"maintenance_info"`
	Metadata               map[string]any  `yaml:"metadata"`
	MaximumPollingDuration time.Duration   `yaml:"maximum_polling_duration"`
	Deadline               time.Duration   `yaml:"deadline"`
	Pools                  poolRule        `yaml:"pools"`
	PoolParameter          bool            `yaml:"pool_parameter"`
	parameters.Input       `yaml:",inline"`
	Costs                  serviceforge.Costs `yaml:"costs"`
	Quota                  map[string]int     `yaml:"quota"`
	Limits                 map[string]int     `yaml:"limits"`
	OpsFiles               []string           `yaml:"ops_files"`
	Needs                  struct {
		VMTypes   []string `yaml:"vm_types"`
		DiskTypes []string `yaml:"disk_types"`
	} `yaml:"needs"`
	Bindings struct {
		Rotatable   bool `yaml:"rotatable"`
		RequiresApp bool `yaml:"requires_app"`
		Valid       span `yaml:"valid"`
		Renew       span `yaml:"renew"`
	} `yaml:"bindings"`
	Stub snippet `yaml:"bosh_deployment_stub"`
}

// fileMaintenance is OSB's maintenance_info; a plan's replaces the service's.
type fileMaintenance struct {
	Version     string `yaml:"version"`
	Description string `yaml:"description"`
}

// span is a duration in Go's form, or in days: 90d.
type span time.Duration

func (s *span) UnmarshalYAML(n *yaml.Node) error {
	days, inDays := strings.CutSuffix(n.Value, "d")
	d, err := time.ParseDuration(n.Value)
	if inDays {
		var count uint64
		count, err = strconv.ParseUint(days, 10, 16)
		d = time.Duration(count) * 24 * time.Hour
	}
	if err != nil || d < 0 {
		return &yaml.TypeError{Errors: []string{"line " + itoa(n.Line) + ": " + n.Value + " is not a duration as 90d or 36h"}}
	}
	*s = span(d)
	return nil
}

// poolRule is a list of pool names, or a map.
type poolRule struct {
	Names  []string          `yaml:"names"`
	Match  map[string]string `yaml:"match"`
	Choose catalog.Choice    `yaml:"choose"`
}

func (r *poolRule) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.SequenceNode {
		return n.Decode(&r.Names)
	}
	if n.Kind == yaml.MappingNode {
		for i := 0; i < len(n.Content); i += 2 { // a decoder within a decoder is not strict
			switch key := n.Content[i]; key.Value {
			case "names", "match", "choose":
			default:
				return &yaml.TypeError{Errors: []string{"line " + itoa(key.Line) + ": field " + key.Value + " not found in pools"}}
			}
		}
	}
	type plain poolRule
	return n.Decode((*plain)(r))
}

// rule returns the plan's rule on pools.
func (p *filePlan) rule() catalog.PoolRule {
	return catalog.PoolRule{Names: p.Pools.Names, Match: p.Pools.Match, Choose: p.Pools.Choose, Parameter: p.PoolParameter}
}

func (p *filePlan) bindings() catalog.BindingRule {
	b := p.Bindings
	return catalog.BindingRule{Rotatable: b.Rotatable, RequiresApp: b.RequiresApp, Valid: time.Duration(b.Valid), Renew: time.Duration(b.Renew)}
}

// poolParameter is the parameter of plans with pool_parameter.
var poolParameter = parameters.Parameter{
	"type": "string", "description": "the infrastructure pool to use", "pattern": "^[a-z0-9][-a-z0-9_]{0,62}$", "on": []any{string(parameters.Create)},
}

// snippet is a Spiff document inside service.yml: a map, or a text that holds one.
type snippet struct {
	node *yaml.Node // a mapping; nil = not given
	line int
}

func (s *snippet) UnmarshalYAML(n *yaml.Node) error {
	s.line = n.Line
	if n.Kind == yaml.ScalarNode && n.Tag == "!!str" {
		var doc yaml.Node
		if err := yaml.Unmarshal([]byte(n.Value), &doc); err != nil {
			return err
		}
		if len(doc.Content) == 0 {
			return nil
		}
		n = doc.Content[0]
	}
	if n.Kind != yaml.MappingNode {
		return &yaml.TypeError{Errors: []string{"line " + itoa(s.line) + ": must be a map"}}
	}
	s.node = n
	return nil
}

// has says whether the snippet has a key.
func (s snippet) has(key string) bool {
	for i := 0; s.node != nil && i < len(s.node.Content); i += 2 {
		if s.node.Content[i].Value == key {
			return true
		}
	}
	return false
}

// Document returns the snippet as a Spiff document of that name.
func (s snippet) document(name string) (spiff.Document, error) {
	if s.node == nil || len(s.node.Content) == 0 {
		return spiff.Document{}, nil
	}
	text, err := yaml.Marshal(s.node)
	if err != nil {
		return spiff.Document{}, invalid("line %d: %s cannot be written as YAML", s.line, name)
	}
	if err := checkExpressions(fmt.Sprintf("service.yml: %s (line %d)", name, s.line), s.node); err != nil {
		return spiff.Document{}, err
	}
	return spiff.Document{Name: name, Data: string(text)}, nil
}

// decodeService reads service.yml strictly. Errors: Invalid with lines.
func decodeService(text []byte) (f serviceFile, err error) {
	defer func() {
		if recover() != nil { // yaml.v3 panics on a few malformed documents
			err = invalid("service.yml is not valid YAML")
		}
	}()
	if err := checkFormat("service.yml", text); err != nil {
		return f, err
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(&f); err != nil {
		return f, serviceforge.Wrap(err, serviceforge.Invalid, "service.yml: %s", yamldoc.Reason(err))
	}
	return f, nil
}

// fileDelegated is what the platform does for a service that requires it.
type fileDelegated struct {
	SyslogDrainURL  yaml.Node `yaml:"syslog_drain_url"`
	RouteServiceURL yaml.Node `yaml:"route_service_url"`
	VolumeMounts    yaml.Node `yaml:"volume_mounts"`
}

// fileRequires is what a manifest needs of a director.
type fileRequires struct {
	ConfigServer bool   `yaml:"config_server"`
	LocalDNS     bool   `yaml:"local_dns"`
	Network      string `yaml:"network"`
}

// pending lists the keys of a service that are not acted on yet.
func (f *fileService) pending() (out []string) {
	for key, given := range map[string]bool{
		"dashboard_client (the pages are the broker's and have logins of their own: the platform would make a client that nobody uses, with a secret that every reader of the release knows)": !f.DashboardClient.IsZero(),
		"update (there is no upgrade of many instances: each is upgraded when its platform asks)":                                                                                             !f.Update.IsZero(),
	} {
		if given {
			out = append(out, key)
		}
	}
	for name, fact := range f.Facts {
		if fact.Link != "" {
			out = append(out, "facts."+name+".link (it would leave a consumer at the director that nobody takes away: name the instance_group)")
		}
	}
	slices.Sort(out)
	return out
}

// Schema is the JSON Schema of service.yml, format 1, with a description of
// every key.
//
//go:embed service.schema.json
var Schema []byte

var serviceSchema = sync.OnceValues(func() (*yamldoc.Schema, error) {
	return yamldoc.CompileSchema("service.schema.json", Schema)
})

// checkFormat checks service.yml against Schema. Errors: Invalid, with line and
// column of the first thing that is wrong.
func checkFormat(name string, text []byte) error {
	root, err := yamldoc.Parse(name, text)
	if err != nil {
		return err
	}
	schema, err := serviceSchema()
	if err != nil {
		panic(err) // ours, and a test compiles it
	}
	fault, err := schema.Check(root)
	switch {
	case err != nil:
		return invalid("%s %s", name, err)
	case fault != nil:
		return invalid("%s line %d column %d: %s", name, fault.Line, fault.Column, fault.Words)
	}
	return nil
}
