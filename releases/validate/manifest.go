package validate

import (
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/serviceforge/serviceforge/releases"
	"github.com/serviceforge/serviceforge/releases/yamldoc"
)

// manifest is a rendered one under validation.
type manifest struct {
	v      *validation
	where  string
	root   *yaml.Node
	specs  map[string]*jobSpec // by release/job; a release without source or tarball has none
	s      *releases.Outline
	groups map[string]bool
	links  map[string]bool // provided, by name
	jobs   map[string]bool
}

func (m *manifest) wrong(format string, args ...any) { m.v.add("error", m.where, format, args...) }

// Check looks at what a director takes without a word, or refuses late.
func (m *manifest) check() {
	m.groups, m.links, m.jobs = map[string]bool{}, map[string]bool{}, map[string]bool{}
	schema, err := manifestSchema()
	if err != nil {
		panic(err) // ours, and a test compiles it
	}
	fault, err := schema.Check(m.root)
	if err != nil {
		m.wrong("%s", err)
		return
	}
	if fault != nil {
		m.wrong("%s", fault.Words)
	}
	m.each("instance_groups", func(group *yaml.Node) {
		name := yamldoc.Scalar(group, "name")
		m.groups[name] = true
		m.eachOf(group, "jobs", func(job *yaml.Node) { m.provide(job) })
	})
	m.each("instance_groups", m.group)
	for _, group := range m.s.Groups {
		if !m.groups[group] {
			m.wrong("facts name the instance group %s, which is not in the manifest", group)
		}
	}
	for _, name := range m.s.Errands {
		if !m.jobs[name] && !m.groups[name] {
			m.wrong("the errand %s is not in the manifest", name)
		}
	}
	randomized := yamldoc.Scalar(yamldoc.Below(m.root, "features"), "randomize_az_placement")
	if randomized != "true" {
		m.v.add("warning", m.where, "without features.randomize_az_placement, single servers all go to the first az")
	}
}

func (m *manifest) each(key string, visit func(*yaml.Node)) { m.eachOf(m.root, key, visit) }

func (m *manifest) eachOf(n *yaml.Node, key string, visit func(*yaml.Node)) {
	if list := yamldoc.Below(n, key); list != nil && list.Kind == yaml.SequenceNode {
		for _, item := range list.Content {
			visit(item)
		}
	}
}

// provide notes the links that a job provides.
func (m *manifest) provide(job *yaml.Node) {
	m.jobs[yamldoc.Scalar(job, "name")] = true
	renamed := yamldoc.Below(job, "provides")
	if spec := m.specs[yamldoc.Scalar(job, "release")+"/"+yamldoc.Scalar(job, "name")]; spec != nil {
		for _, link := range spec.Provides {
			if renamed == nil || yamldoc.Below(renamed, link.Name) == nil {
				m.links[link.Name], m.links[link.Type] = true, true
			}
		}
	}
	for i := 0; renamed != nil && i+1 < len(renamed.Content); i += 2 {
		name := renamed.Content[i].Value
		if as := yamldoc.Scalar(renamed.Content[i+1], "as"); as != "" {
			name = as
		}
		m.links[name] = true
	}
}

func (m *manifest) group(group *yaml.Node) {
	name := yamldoc.Scalar(group, "name")
	if stemcell := yamldoc.Scalar(group, "stemcell"); !m.named("stemcells", "alias", stemcell) {
		m.wrong("instance group %s uses the stemcell %q, which is not in stemcells", name, stemcell)
	}
	swap := yamldoc.Scalar(yamldoc.Below(group, "update"), "vm_strategy") == "create-swap-delete" || yamldoc.Scalar(yamldoc.Below(m.root, "update"), "vm_strategy") == "create-swap-delete"
	m.eachOf(group, "networks", func(network *yaml.Node) {
		if yamldoc.Below(network, "static_ips") != nil && swap {
			m.v.add("warning", m.where, "instance group %s: vm_strategy create-swap-delete and static_ips exclude each other", name)
		}
	})
	withBPM := false
	m.eachOf(group, "jobs", func(job *yaml.Node) { withBPM = withBPM || yamldoc.Scalar(job, "name") == "bpm" })
	m.eachOf(group, "jobs", func(job *yaml.Node) {
		m.job(name, job)
		spec := m.specs[yamldoc.Scalar(job, "release")+"/"+yamldoc.Scalar(job, "name")]
		if spec != nil && spec.writes("config/bpm.yml") && !withBPM {
			m.wrong("job %s of instance group %s is started by bpm, which the group does not have: add the job bpm", yamldoc.Scalar(job, "name"), name)
		}
	})
}

func (m *manifest) named(list, key, value string) (found bool) {
	m.each(list, func(item *yaml.Node) { found = found || yamldoc.Scalar(item, key) == value })
	return found
}

func (m *manifest) job(group string, job *yaml.Node) {
	name, release := yamldoc.Scalar(job, "name"), yamldoc.Scalar(job, "release")
	what := fmt.Sprintf("job %s of instance group %s", name, group)
	isErrand := slices.Contains(m.s.Errands, name)
	if !m.named("releases", "name", release) {
		m.wrong("%s is of the BOSH release %q, which is not in releases", what, release)
		return
	}
	consumes := yamldoc.Below(job, "consumes")
	for i := 0; consumes != nil && i+1 < len(consumes.Content); i += 2 {
		if from := yamldoc.Scalar(consumes.Content[i+1], "from"); from != "" && !m.links[from] {
			m.wrong("%s consumes the link %s, which nothing provides", what, from)
		}
	}
	spec := m.specs[release+"/"+name]
	if spec == nil {
		if m.specs[release] != nil {
			m.wrong("%s: the BOSH release %s has no such job", what, release)
		}
		return
	}
	if isErrand && !spec.writes("bin/run") {
		m.wrong("%s is an errand without bin/run", what)
	}
	if properties := yamldoc.Below(job, "properties"); properties != nil {
		m.properties(what, spec, properties, nil)
	}
	for _, link := range spec.Consumes {
		given := consumes != nil && yamldoc.Below(consumes, link.Name) != nil
		if !link.Optional && !given && !m.links[link.Type] && !m.links[link.Name] {
			m.wrong("%s needs a link %s of type %s, which nothing provides", what, link.Name, link.Type)
		}
	}
}

// properties: each is in the job's spec, or below one that is.
func (m *manifest) properties(what string, spec *jobSpec, n *yaml.Node, path []string) {
	if n.Kind != yaml.MappingNode {
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		here := append(slices.Clone(path), n.Content[i].Value)
		name := strings.Join(here, ".")
		if property, ok := spec.Properties[name]; ok {
			m.propertyType(what, name, property.Default, n.Content[i+1])
			continue
		}
		prefix := false
		for known := range spec.Properties {
			prefix = prefix || strings.HasPrefix(known, name+".")
		}
		if !prefix {
			m.wrong("%s has the property %s, which its spec does not know", what, name)
			continue
		}
		m.properties(what, spec, n.Content[i+1], here)
	}
}

func (m *manifest) propertyType(what, name string, def any, n *yaml.Node) {
	want := ""
	switch def.(type) {
	case string:
		want = "!!str"
	case int:
		want = "!!int"
	case bool:
		want = "!!bool"
	case []any:
		want = "!!seq"
	case map[string]any:
		want = "!!map"
	}
	if got := n.ShortTag(); want != "" && got != want && got != "!!null" {
		m.wrong("%s: the property %s is %s, its default is %s", what, name, strings.Trim(got, "!"), strings.Trim(want, "!"))
	}
}

// stubs: each key and each entry of a stub is in the manifest: Spiff drops what
// no template asks for without a word. `meta` and `networks` are templates' own.
func (m *manifest) stubs(document string, stub *yaml.Node) {
	if stub == nil {
		return
	}
	for i := 0; i+1 < len(stub.Content); i += 2 {
		if key := stub.Content[i].Value; key != "meta" && key != "networks" {
			m.kept(document, key, stub.Content[i], stub.Content[i+1], yamldoc.Below(m.root, key))
		}
	}
}

func (m *manifest) kept(document, path string, key, stub, result *yaml.Node) {
	if result == nil {
		m.v.add("error", fmt.Sprintf("%s line %d", document, key.Line), "%s is dropped: no template asks for it", path)
		return
	}
	switch stub.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(stub.Content) && result.Kind == yaml.MappingNode; i += 2 {
			name := stub.Content[i].Value
			m.kept(document, path+"."+name, stub.Content[i], stub.Content[i+1], yamldoc.Below(result, name))
		}
	case yaml.SequenceNode:
		for _, item := range stub.Content {
			if name := yamldoc.Scalar(item, "name"); item.Kind == yaml.MappingNode && name != "" {
				m.kept(document, path+"."+name, item, item, yamldoc.Below(result, name))
			}
		}
	}
}
