package authoring

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/serviceforge/serviceforge"
	pools "github.com/serviceforge/serviceforge/infrastructure_pools"
	"github.com/serviceforge/serviceforge/releases"
	"github.com/serviceforge/serviceforge/releases/archive"
	"github.com/serviceforge/serviceforge/releases/spiff"
	"github.com/serviceforge/serviceforge/releases/yamldoc"
)

// Converted is a block of 2014 in the form of today.
type Converted struct {
	Files map[string][]byte // service.yml, templates/, cloud-config-*.yml
	Notes []string          // what a person has to look at
}

// conversion makes one.
type conversion struct {
	Converted
	versions map[string]string
}

// Convert writes a block of 2014 as format 1: of what each plan renders to, what
// all have in common becomes the template, the rest the plans' stubs. network is
// the network file of a pool of that time, or nil. versions pins BOSH releases
// that the block has as "latest". Errors: Invalid (it is of today), and
// Document's.
func Convert(ctx context.Context, renderer *spiff.Renderer, r *releases.Release, files *archive.Opened, network []byte, versions map[string]string) (*Converted, error) {
	if !r.Legacy() {
		return nil, serviceforge.Errorf(serviceforge.Invalid, "%s has format 1: there is nothing to convert", r.Ref())
	}
	text, err := archive.ReadFile(files, "service.yml")
	if err != nil {
		return nil, err
	}
	root, err := yamldoc.Parse("service.yml", []byte(text))
	if err != nil {
		return nil, err
	}
	c := &conversion{Converted: Converted{Files: map[string][]byte{}}, versions: versions}
	list := yamldoc.Below(root, "services")
	for i, s := range r.Outlines() {
		if err := c.service(ctx, r, renderer, &s, network, list.Content[i]); err != nil {
			return nil, err
		}
	}
	head := []*yaml.Node{scalar("", "format", 0), scalar("!!int", "1", 0), scalar("", "name", 0), scalar("", r.Name(), 0),
		scalar("", "version", 0), scalar("!!str", "1.0.0", yaml.DoubleQuotedStyle)}
	out := &yaml.Node{Kind: yaml.MappingNode, Content: append(head, scalar("", "services", 0), list)}
	return &c.Converted, c.write("service.yml", out)
}

func (c *conversion) write(name string, v any) error {
	text, err := yaml.Marshal(v)
	if err != nil {
		return serviceforge.Wrap(err, serviceforge.Internal, "%s cannot be written", name)
	}
	c.Files[name] = text
	return nil
}

func (c *conversion) note(format string, args ...any) {
	if n := fmt.Sprintf(format, args...); !slices.Contains(c.Notes, n) {
		c.Notes = append(c.Notes, n)
	}
}

// service converts one offering, whose entry in service.yml is n.
func (c *conversion) service(ctx context.Context, r *releases.Release, renderer *spiff.Renderer, s *releases.Outline, network []byte, n *yaml.Node) error {
	var trees []any
	sizes := map[string]bool{}
	for _, p := range s.Offering.Plans {
		in, err := r.Sample(s.Offering.Name+"/"+p.Name, pools.Pool{Name: "network"}, nil)
		if err != nil {
			return err
		}
		document, err := r.Document(ctx, renderer, in)
		if err != nil && network != nil { // as in 2014: pools of dynamic networks had no file
			in.Pool.Stub = network
			document, err = r.Document(ctx, renderer, in)
		}
		if err != nil {
			return serviceforge.Wrap(err, serviceforge.CodeOf(err), "%s, plan %s: %s (the network of a pool is given with --network)",
				s.Offering.Name, p.Name, serviceforge.DetailOf(err))
		}
		var v1 map[string]any
		if err := yaml.Unmarshal(document, &v1); err != nil {
			return serviceforge.Wrap(err, serviceforge.Internal, "the document cannot be read")
		}
		o := &old{c: c, service: s, deployment: in.Instance.Deployment, tree: v1, sizes: sizes}
		trees = append(trees, o.manifest())
		if err := c.write("cloud-config-"+s.Offering.Name+".yml", o.cloudConfig()); err != nil {
			return err
		}
	}
	template, stubs := common(trees)
	if err := c.write("templates/"+s.Offering.Name+".yml", template); err != nil {
		return err
	}
	return c.rewrite(s, n, stubs, slices.Sorted(maps.Keys(sizes)))
}

// rewrite puts the new words into an offering's entry of service.yml.
func (c *conversion) rewrite(s *releases.Outline, n *yaml.Node, stubs []any, sizes []string) error {
	var releases []any
	for _, b := range s.Releases {
		version := b.Version
		if pinned := c.versions[b.Name]; pinned != "" {
			version = pinned
		}
		if version == "latest" || version == "" {
			version = "0.0.0"
			c.note("BOSH release %s has no exact version: give one, with --release %s=VERSION", b.Name, b.Name)
		}
		releases = append(releases, map[string]any{"name": b.Name, "version": version})
	}
	c.note("stemcells: ubuntu-jammy is a guess; the versions are the pools'")
	err := put(n, "bosh_release", map[string]any{
		"releases": releases, "stemcells": []any{map[string]any{"alias": "default", "os": "ubuntu-jammy"}},
		"release_templates": map[string]any{"base_path": "templates", "templates": []any{s.Offering.Name + ".yml"}},
	})
	plans := yamldoc.Below(n, "plans")
	for i, stub := range stubs {
		if err == nil {
			err = put(plans.Content[i], "bosh_deployment_stub", stub)
		}
		if err == nil {
			err = put(plans.Content[i], "needs", map[string]any{"vm_types": sizes})
		}
	}
	return err
}

// put sets a key of a map; nil takes it out.
func put(n *yaml.Node, key string, v any) error {
	var value yaml.Node
	if err := value.Encode(v); err != nil {
		return serviceforge.Wrap(err, serviceforge.Internal, "%s cannot be written", key)
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			if n.Content[i+1] = &value; v == nil {
				n.Content = slices.Delete(n.Content, i, i+2)
			}
			return nil
		}
	}
	if v != nil {
		n.Content = append(n.Content, scalar("", key, 0), &value)
	}
	return nil
}

// common splits trees: what all have is the template, with (( merge )) where
// they differ; what is left of each is its stub (nil = nothing).
func common(trees []any) (template any, stubs []any) {
	stubs = make([]any, len(trees))
	if !slices.ContainsFunc(trees, func(t any) bool { return !reflect.DeepEqual(t, trees[0]) }) {
		return trees[0], stubs
	}
	if maps, ok := all[map[string]any](trees); ok {
		return commonMaps(maps)
	}
	if lists, ok := all[[]any](trees); ok {
		if template, stubs, ok := commonEntries(lists); ok {
			return template, stubs
		}
	}
	copy(stubs, trees)
	return "(( merge ))", stubs
}

func all[T any](trees []any) (out []T, ok bool) {
	for _, t := range trees {
		typed, ok := t.(T)
		if !ok {
			return nil, false
		}
		out = append(out, typed)
	}
	return out, true
}

func commonMaps(trees []map[string]any) (any, []any) {
	template, stubs := map[string]any{}, make([]any, len(trees))
	keys := map[string]bool{}
	for _, t := range trees {
		for key := range t {
			keys[key] = true
		}
	}
	for key := range keys {
		var below []any
		for _, t := range trees {
			if v, ok := t[key]; ok {
				below = append(below, v)
			}
		}
		part, left := any("(( merge || ~~ ))"), below
		if len(below) == len(trees) {
			part, left = common(below)
		}
		template[key] = part
		next := 0
		for i, t := range trees {
			if _, ok := t[key]; !ok {
				continue
			}
			if left[next] != nil {
				if stubs[i] == nil {
					stubs[i] = map[string]any{}
				}
				stubs[i].(map[string]any)[key] = left[next]
			}
			next++
		}
	}
	return template, stubs
}

// commonEntries merges lists whose entries have the same names.
func commonEntries(lists [][]any) (any, []any, bool) {
	var template []any
	stubs := make([]any, len(lists))
	for i, entry := range lists[0] {
		first, ok := entry.(map[string]any)
		if !ok || first["name"] == nil {
			return nil, nil, false
		}
		var entries []map[string]any
		for _, list := range lists {
			if len(list) != len(lists[0]) {
				return nil, nil, false
			}
			other, ok := list[i].(map[string]any)
			if !ok || other["name"] != first["name"] {
				return nil, nil, false
			}
			entries = append(entries, other)
		}
		part, left := commonMaps(entries)
		template = append(template, part)
		for n, stub := range left {
			if m, ok := stub.(map[string]any); ok {
				m["name"] = first["name"]
				before, _ := stubs[n].([]any)
				stubs[n] = append(before, m)
			}
		}
	}
	return template, stubs, true
}

// jsonText is for comparisons of texts in notes.
func jsonText(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(text)
}

func has(text, part string) bool { return part != "" && strings.Contains(text, part) }

func scalar(tag, value string, style yaml.Style) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: value, Style: style}
}
