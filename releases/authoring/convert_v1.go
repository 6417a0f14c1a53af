package authoring

import (
	"cmp"
	"maps"
	"net/netip"
	"strings"

	"github.com/serviceforge/serviceforge/releases"
	"github.com/serviceforge/serviceforge/releases/trees"
)

// old is a rendered v1 manifest.
type old struct {
	c          *conversion
	service    *releases.Outline
	deployment string
	tree       map[string]any
	sizes      map[string]bool // of VMs, as pools are to know them
	statics    []string        // addresses that were asked for
}

// manifest is the template of a v2 manifest: jobs are instance groups, their
// templates jobs; what is infrastructure comes from the pool. The broker writes
// name, releases and stemcells itself.
func (o *old) manifest() any {
	out := map[string]any{"features": map[string]any{"randomize_az_placement": true}}
	if update, ok := o.tree["update"]; ok {
		out["update"] = o.value(update)
	}
	groups := []any{}
	for _, job := range mapsOf(o.tree["jobs"]) {
		groups = append(groups, o.group(job))
	}
	out["instance_groups"] = groups
	for _, address := range o.statics {
		if has(jsonText(out), `"`+address+`"`) {
			o.c.note("%s: properties hold static addresses (%s): let jobs find each other by links", o.service.Offering.Name, address)
			break
		}
	}
	return out
}

func mapsOf(v any) (out []map[string]any) {
	list, _ := v.([]any)
	for _, item := range list {
		if m, ok := item.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

func (o *old) group(job map[string]any) any {
	size, _ := job["resource_pool"].(string)
	size = cmp.Or(size, "default")
	o.sizes[size] = true
	out := map[string]any{
		"name": job["name"], "instances": job["instances"], "azs": "(( sf.pool.azs ))",
		"vm_type": "(( sf.pool.vm_types." + size + " ))", "stemcell": "default", "networks": []any{map[string]any{"name": "(( sf.pool.network ))"}},
	}
	for _, key := range []string{"persistent_disk", "lifecycle", "update"} {
		if v, ok := job[key]; ok {
			out[key] = o.value(v)
		}
	}
	if disk, ok := job["persistent_disk_pool"].(string); ok {
		out["persistent_disk_type"] = "(( sf.pool.disk_types." + disk + " ))"
	}
	for _, network := range mapsOf(job["networks"]) {
		for _, address := range trees.Texts(network["static_ips"]) {
			o.statics = append(o.statics, address)
			o.c.note("%s: static_ips are gone: the director gives addresses", o.service.Offering.Name)
		}
	}
	out["jobs"] = o.jobs(job)
	return out
}

// jobs are the templates of a v1 job, each with the properties that it saw.
func (o *old) jobs(job map[string]any) any {
	properties := overlaid(o.tree["properties"], job["properties"])
	if properties == nil {
		properties = map[string]any{}
	}
	release, _ := job["release"].(string)
	if releases := mapsOf(o.tree["releases"]); release == "" && len(releases) == 1 {
		release, _ = releases[0]["name"].(string)
	}
	var out []any
	add := func(name any, of string) {
		out = append(out, map[string]any{"name": name, "release": of, "properties": o.value(properties)})
	}
	for _, name := range append(trees.Texts(job["template"]), trees.Texts(job["templates"])...) {
		if _, isText := job["templates"].([]any); isText && job["template"] == nil {
			break
		}
		add(name, release)
	}
	for _, t := range mapsOf(job["templates"]) {
		of, _ := t["release"].(string)
		add(t["name"], cmp.Or(of, release))
	}
	return out
}

// overlaid puts maps over each other, deep.
func overlaid(under, over any) any {
	a, ok := under.(map[string]any)
	b, also := over.(map[string]any)
	if !ok || !also {
		if over == nil {
			return under
		}
		return over
	}
	out := maps.Clone(a)
	for key, v := range b {
		out[key] = overlaid(a[key], v)
	}
	return out
}

// value writes a rendered value so that Spiff renders it to itself; the
// deployment's name is that of each instance.
func (o *old) value(v any) any {
	switch v := v.(type) {
	case string:
		switch {
		case v == o.deployment:
			return "(( sf.instance.deployment ))"
		case strings.HasPrefix(v, "((") && strings.HasSuffix(v, "))"):
			return "((!" + v[2:]
		case strings.Contains(v, o.deployment):
			o.c.note("%s: %q holds the deployment's name; make it of sf.instance.deployment", o.service.Offering.Name, v)
		}
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = o.value(item)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, item := range v {
			out[key] = o.value(item)
		}
		return out
	}
	return v
}

// subnet is one of today: directors want to know its zone and gateway, and give
// no address of their own choice that is kept for static ones.
func (o *old) subnet(subnet map[string]any) any {
	out := maps.Clone(subnet)
	delete(out, "static")
	out["az"] = "z1"
	text, _ := out["range"].(string)
	if network, err := netip.ParsePrefix(text); err == nil && out["gateway"] == nil {
		out["gateway"] = network.Masked().Addr().Next().String()
		o.c.note("%s: subnets without a gateway got their first address as one: look whether it is", o.service.Offering.Name)
	}
	return out
}

// cloudConfig is what the pool's director is to have.
func (o *old) cloudConfig() any {
	out := map[string]any{"azs": []any{map[string]any{"name": "z1"}}}
	var networks []any
	for _, network := range mapsOf(o.tree["networks"]) {
		n := maps.Clone(network)
		subnets := mapsOf(n["subnets"])
		if len(subnets) == 0 { // a dynamic one
			subnets = []map[string]any{{"cloud_properties": n["cloud_properties"]}}
			delete(n, "cloud_properties")
		}
		var placed []any
		for _, subnet := range subnets {
			placed = append(placed, o.subnet(subnet))
		}
		n["subnets"] = placed
		networks = append(networks, n)
	}
	out["networks"] = networks
	if compilation, ok := o.tree["compilation"].(map[string]any); ok {
		c := maps.Clone(compilation)
		delete(c, "cloud_properties")
		c["az"] = "z1"
		out["compilation"] = c
	}
	var types []any
	for _, pool := range mapsOf(o.tree["resource_pools"]) {
		types = append(types, map[string]any{"name": pool["name"], "cloud_properties": pool["cloud_properties"]})
	}
	out["vm_types"] = types
	return out
}
