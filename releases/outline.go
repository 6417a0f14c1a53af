package releases

import (
	"maps"
	"slices"

	"gopkg.in/yaml.v3"

	"github.com/serviceforge/serviceforge/catalog"
	"github.com/serviceforge/serviceforge/releases/parameters"
	"github.com/serviceforge/serviceforge/releases/secrets"
	"github.com/serviceforge/serviceforge/releases/spiff"
)

// Outline is what the author of a service wrote, for those who look for mistakes
// in it.
type Outline struct {
	Offering  catalog.Offering
	Releases  []BOSHRelease
	Stemcells []string // operating systems
	// Texts are the files that manifests are made of; Expressions all that may use
	// sf: templates, stubs, and credentials.
	Texts, Expressions []spiff.Document
	Stubs              map[string]*yaml.Node // bosh_deployment_stub, by the plan's id
	Parameters         map[string]bool       // of any plan, by name
	Secrets            map[string]secrets.Spec
	Groups             []string // instance groups that facts name
	Errands            []string // each once
	Prepared           bool     // users are made with the deployment
}

// Outlines returns the outline of every service.
func (r *Release) Outlines() []Outline {
	out := make([]Outline, len(r.services))
	for i, s := range r.services {
		out[i] = s.outline()
	}
	return out
}

func (s *service) outline() Outline {
	o := Outline{
		Offering: s.offering, Releases: s.releases, Stemcells: s.operatingSystems(), Secrets: s.secrets, Errands: s.errandNames(),
		Prepared: s.prepared > 0, Stubs: map[string]*yaml.Node{}, Parameters: map[string]bool{},
		Texts:       slices.Concat(s.templates, s.ops, []spiff.Document{s.deploymentStub, {Name: "manifest", Data: s.manifest}}),
		Expressions: slices.Concat(s.templates, []spiff.Document{s.deploymentStub, s.access, s.vars}),
	}
	for _, name := range slices.Sorted(maps.Keys(s.infrastructures)) {
		o.Texts, o.Expressions = append(o.Texts, s.infrastructures[name]), append(o.Expressions, s.infrastructures[name])
	}
	for id, p := range s.plans {
		o.Stubs[id], o.Expressions = p.written, append(o.Expressions, p.stub)
		for name := range p.schemas[parameters.Whole].Filled(nil) {
			o.Parameters[name] = true
		}
	}
	for _, f := range s.facts {
		if f.InstanceGroup != "" {
			o.Groups = append(o.Groups, f.InstanceGroup)
		}
	}
	return o
}
