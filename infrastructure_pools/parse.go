package pools

import (
	"bytes"
	_ "embed"
	"errors"
	"io"
	"regexp"

	"github.com/cppforlife/go-patch/patch"
	"gopkg.in/yaml.v3"

	"github.com/serviceforge/serviceforge"
)

// local.yml is the pool of dev mode: localbosh's default cloud config.
//
//go:embed local.yml
var local []byte

// Local returns the pool of dev mode, without a director.
func Local() (Pool, error) { return Parse(local) }

// file is a pool file as it is written.
type file struct {
	Pool struct {
		Name           string            `yaml:"name"`
		Infrastructure string            `yaml:"infrastructure"`
		Director       fileDirector      `yaml:"director"`
		AZs            []string          `yaml:"azs"`
		Network        string            `yaml:"network"`
		VMTypes        map[string]string `yaml:"vm_types"`
		DiskTypes      map[string]string `yaml:"disk_types"`
		VMExtensions   []string          `yaml:"vm_extensions"`
		Stemcells      map[string]string `yaml:"stemcells"`
		State          State             `yaml:"state"`
		Reachable      *bool             `yaml:"reachable"`
		MaxInFlight    *int              `yaml:"max_in_flight"`
		Weight         *int              `yaml:"weight"`
		Capacity       int               `yaml:"capacity"`
		Tags           map[string]string `yaml:"tags"`
		Slots          []fileSlot        `yaml:"slots"`
	} `yaml:"pool"`
	Stub yaml.Node `yaml:"stub"`
	Ops  yaml.Node `yaml:"ops"`
}

type fileSlot struct {
	Name string    `yaml:"name"`
	Stub yaml.Node `yaml:"stub"`
}

type fileDirector struct {
	URL      string  `yaml:"url"`
	CA       string  `yaml:"ca"`
	Username string  `yaml:"username"`
	Password string  `yaml:"password"`
	UAA      fileUAA `yaml:"uaa"`
}

type fileUAA struct {
	URL          string `yaml:"url"`
	CA           string `yaml:"ca"`
	Client       string `yaml:"client"`
	ClientSecret string `yaml:"client_secret"`
}

var (
	poolName = regexp.MustCompile(`^[a-z0-9][-a-z0-9_]{0,62}$`)
	slotName = regexp.MustCompile(`^[A-Za-z0-9][-A-Za-z0-9_.]{0,62}$`)
)

// Parse reads one pool file: a map `pool`, a Spiff stub `stub` and operations
// `ops`. Unknown keys are refused. Errors: Invalid, naming the line.
func Parse(document []byte) (Pool, error) {
	var f file
	dec := yaml.NewDecoder(bytes.NewReader(document))
	dec.KnownFields(true)
	if err := dec.Decode(&f); err != nil {
		return Pool{}, serviceforge.Wrap(err, serviceforge.Invalid, "pool file: %s", reason(err))
	}
	if dec.Decode(new(yaml.Node)) != io.EOF {
		return Pool{}, serviceforge.Errorf(serviceforge.Invalid, "pool file: more than one document")
	}
	p, err := f.pool()
	if err != nil {
		return Pool{}, err
	}
	return p, p.check()
}

// reason says what is wrong with a document without repeating its values,
// which may be secret: yaml's own errors are lines and keys, or quote a value
// of the wrong type.
func reason(err error) string {
	if errors.Is(err, io.EOF) {
		return "it is empty"
	}
	return quotedValue.ReplaceAllString(err.Error(), "cannot unmarshal a value into")
}

var quotedValue = regexp.MustCompile("cannot unmarshal .*? into")

func (f *file) pool() (Pool, error) {
	in := &f.Pool
	p := Pool{
		Name: in.Name, Infrastructure: in.Infrastructure,
		Director: Director{
			URL: in.Director.URL, CA: in.Director.CA,
			Username: in.Director.Username, Password: serviceforge.NewSecret(in.Director.Password),
			UAA: UAA{
				URL: in.Director.UAA.URL, CA: in.Director.UAA.CA,
				Client: in.Director.UAA.Client, Secret: serviceforge.NewSecret(in.Director.UAA.ClientSecret),
			},
		},
		AZs: in.AZs, Network: in.Network,
		VMTypes: in.VMTypes, DiskTypes: in.DiskTypes,
		VMExtensions: in.VMExtensions, Stemcells: in.Stemcells,
		State: in.State, Reachable: in.Reachable == nil || *in.Reachable,
		MaxInFlight: 2, Weight: 1, Capacity: in.Capacity, Tags: in.Tags,
	}
	if p.Infrastructure == "" {
		p.Infrastructure = "default"
	}
	if p.State == "" {
		p.State = Active
	}
	if in.MaxInFlight != nil {
		p.MaxInFlight = *in.MaxInFlight
	}
	if in.Weight != nil {
		p.Weight = *in.Weight
	}
	for i := range in.Slots {
		stub, err := stubOf(&in.Slots[i].Stub)
		if err != nil {
			return Pool{}, serviceforge.Wrap(err, serviceforge.Invalid, "pool %s: slot %s: %s", p.Name, in.Slots[i].Name, serviceforge.MessageOf(err))
		}
		p.Slots = append(p.Slots, Slot{Name: in.Slots[i].Name, Stub: stub})
	}
	var err error
	if p.Stub, err = stubOf(&f.Stub); err != nil {
		return Pool{}, serviceforge.Wrap(err, serviceforge.Invalid, "pool %s: %s", p.Name, serviceforge.MessageOf(err))
	}
	if p.Ops, err = opsOf(&f.Ops); err != nil {
		return Pool{}, serviceforge.Wrap(err, serviceforge.Invalid, "pool %s: %s", p.Name, serviceforge.MessageOf(err))
	}
	return p, nil
}

// opsOf writes operations as a document of their own; nil = there are none.
func opsOf(n *yaml.Node) ([]byte, error) {
	if n.Kind == 0 {
		return nil, nil
	}
	var definitions []patch.OpDefinition
	if err := n.Decode(&definitions); err != nil {
		return nil, serviceforge.Wrap(err, serviceforge.Invalid, "line %d: ops must be a list of operations: %s", n.Line, reason(err))
	}
	if _, err := patch.NewOpsFromDefinitions(definitions); err != nil {
		return nil, serviceforge.Wrap(err, serviceforge.Invalid, "line %d: ops: %v", n.Line, err)
	}
	ops, err := yaml.Marshal(n)
	if err != nil {
		return nil, serviceforge.Wrap(err, serviceforge.Invalid, "line %d: ops cannot be written as YAML", n.Line)
	}
	return ops, nil
}

// stubOf writes a stub as a document of its own; nil = it is empty.
func stubOf(n *yaml.Node) ([]byte, error) {
	switch {
	case n.Kind == 0 || n.Kind == yaml.MappingNode && len(n.Content) == 0:
		return nil, nil
	case n.Kind != yaml.MappingNode:
		return nil, serviceforge.Errorf(serviceforge.Invalid, "line %d: stub must be a map", n.Line)
	}
	stub, err := yaml.Marshal(n)
	if err != nil {
		return nil, serviceforge.Wrap(err, serviceforge.Invalid, "line %d: the stub cannot be written as YAML", n.Line)
	}
	return stub, nil
}

func (p Pool) check() error {
	bad := func(what string) error {
		return serviceforge.Errorf(serviceforge.Invalid, "pool %q: %s", p.Name, what)
	}
	switch {
	case !poolName.MatchString(p.Name):
		return bad("name must be lower case letters, digits, - and _")
	case len(p.AZs) == 0:
		return bad("azs is missing")
	case p.Network == "":
		return bad("network is missing")
	case len(p.VMTypes) == 0:
		return bad("vm_types is missing")
	case len(p.Stemcells) == 0:
		return bad("stemcells is missing")
	case !p.State.Valid():
		return bad("state must be active, cordoned or draining")
	case p.MaxInFlight < 1 || p.Weight < 0 || p.Capacity < 0:
		return bad("max_in_flight must be at least 1, weight and capacity at least 0")
	}
	if problem := p.Director.problem(); problem != "" {
		return bad("director: " + problem)
	}
	for os, version := range p.Stemcells {
		if version == "" || version == "latest" {
			return bad("stemcell " + os + " needs an exact version")
		}
	}
	seen := make(map[string]bool)
	for _, s := range p.Slots {
		switch {
		case !slotName.MatchString(s.Name):
			return bad("every slot needs a name of letters, digits, -, _ and .")
		case seen[s.Name]:
			return bad("two slots are named " + s.Name)
		}
		seen[s.Name] = true
	}
	return nil
}

// problem says what is wrong with how a director is reached; "" = nothing.
func (d Director) problem() string {
	withUAA := d.UAA.Client != "" || !d.UAA.Secret.Empty() || d.UAA.URL != "" || d.UAA.CA != ""
	basic := d.Username != "" || !d.Password.Empty()
	switch {
	case withUAA && basic:
		return "it takes either username and password or uaa, not both: leave one of them out"
	case withUAA && (d.UAA.Client == "" || d.UAA.Secret.Empty()):
		return "uaa needs client and client_secret"
	case basic && (d.Username == "" || d.Password.Empty()):
		return "username and password go together"
	case (withUAA || basic || d.CA != "") && d.URL == "":
		return "url is missing"
	}
	return ""
}
