package manifest

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/serviceforge/serviceforge/localbosh/bosherr"
)

// binder fills in the documents of one plan, fetching each variable once.
type binder struct {
	plan *Plan
	in   interpolator
}

func (p *Plan) bind(director string, lookup Lookup) error {
	b := &binder{plan: p, in: newInterpolator(director, p.Deployment, lookup)}
	var groups []string
	for _, g := range p.Groups {
		if errs := b.group(g); len(errs) > 0 {
			groups = append(groups, fmt.Sprintf("- Unable to render jobs for instance group '%s'. Errors are:\n%s", g.Name, indent(errs)))
		}
	}
	if len(groups) > 0 {
		return bosherr.New(bosherr.DirectorError, "Unable to render instance groups for deployment. Errors are:\n%s", indent(groups))
	}
	return nil
}

// indent joins errors and moves every line two to the right.
func indent(errs []string) string {
	return "  " + strings.ReplaceAll(strings.Join(errs, "\n"), "\n", "\n  ")
}

func (b *binder) group(g *PlannedGroup) (errs []string) {
	properties := map[*Job]map[string]any{}
	links := map[*Job]map[string]any{}
	for _, j := range g.Jobs {
		v, err := b.in.tree(j.Properties)
		if err != nil {
			errs = append(errs, fmt.Sprintf("- Unable to render templates for job '%s'. Errors are:\n%s", j.Name, indent(err)))
			continue
		}
		properties[j] = declared(j.Spec, v.(map[string]any))
	}
	env, err := b.in.tree(g.Env)
	errs = append(errs, err...)
	for k, j := range g.Jobs {
		if len(g.Instances) > 0 {
			var failed []string
			links[j], failed = b.links(g.Instances[0].Jobs[k].Links)
			errs = append(errs, failed...)
		}
	}
	if len(errs) > 0 {
		return errs
	}
	for _, i := range g.Instances {
		networks := b.networks(g, i)
		for _, j := range i.Jobs {
			j.Document = b.document(g, i, j, networks)
			j.Document["properties"] = properties[j.Job]
			j.Document["links"] = links[j.Job]
		}
		i.Digest = b.plan.digest(g, i, env, networks)
	}
	return nil
}

// declared takes the declared properties out of the manifest's, with the defaults of those that are not given,
// as the director's template library does: nothing undeclared is seen by templates, and a declared property
// without value is nil.
func declared(j *JobSpec, given map[string]any) map[string]any {
	out := map[string]any{}
	for _, name := range j.propertyNames() {
		v, _ := lookupPath(given, name)
		if v == nil {
			v = j.Properties[name].Default
		}
		if v == nil {
			if existing, ok := lookupPath(out, name); ok && existing != nil {
				continue
			}
		}
		setPath(out, name, exact(v))
	}
	return out
}

// exact copies a tree so that JSON keeps the difference between 1 and 1.0, which Ruby's templates see.
func exact(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[k] = exact(e)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = exact(e)
		}
		return out
	case float64:
		if !math.IsInf(v, 0) && !math.IsNaN(v) {
			return json.Number(rubyString(v))
		}
		return rubyString(v) // JSON has no such number
	}
	return v
}

func (b *binder) links(links map[string]*Link) (map[string]any, []string) {
	out := map[string]any{}
	var errs []string
	for name, l := range links {
		if l.manual != nil {
			v, err := b.in.tree(l.manual)
			if err != nil {
				errs = append(errs, linkError(name, b.plan.Deployment, err))
				continue
			}
			out[name] = exact(v)
			continue
		}
		properties, err := b.in.tree(l.Properties)
		if err != nil {
			errs = append(errs, linkError(name, l.Deployment, err))
			continue
		}
		out[name] = l.document(exact(properties))
	}
	slices.Sort(errs)
	return out, errs
}

func linkError(name, deployment string, errs []string) string {
	return fmt.Sprintf("- Unable to interpolate link '%s' properties; provided by '%s' deployment. Errors are:\n%s", name, deployment, indent(errs))
}

func (l *Link) document(properties any) map[string]any {
	instances := make([]any, 0, len(l.Instances))
	for _, i := range l.Instances {
		instances = append(instances, map[string]any{"name": i.Name, "id": i.ID, "index": i.Index, "az": orNil(i.AZ), "address": i.Address, "bootstrap": i.Bootstrap})
	}
	return map[string]any{"deployment_name": l.Deployment, "instance_group": l.Group, "default_network": l.DefaultNetwork, "domain": l.Domain,
		"address": l.Address, "instances": instances, "properties": properties}
}

func orNil(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// networks is what spec.networks shows, and what the VM is made from.
func (b *binder) networks(g *PlannedGroup, i *PlannedInstance) map[string]any {
	out := map[string]any{}
	for k, gn := range g.Networks {
		n := g.cloud.Network(gn.Name)
		defaults := slices.Clone(gn.Default)
		slices.Sort(defaults)
		m := map[string]any{"type": n.Type, "dns_record_name": b.plan.dnsName(fmt.Sprint(i.Index), g.Name, gn.Name)}
		if len(defaults) > 0 {
			m["default"] = defaults
		}
		out[gn.Name] = m
		sub := n.subnetFor(i.AZ)
		if k < len(i.Networks) && i.Networks[k].IP.IsValid() {
			ip := i.Networks[k].IP
			m["ip"] = ip.String()
			if s := n.subnetOf(ip); s != nil {
				sub = s
				m["prefix"], m["netmask"], m["gateway"] = fmt.Sprint(ip.BitLen()), netmask(s.Range), s.Gateway.String()
			}
			if n.Type == DynamicNetwork {
				m["netmask"], m["gateway"] = "127.0.0.1", "127.0.0.1" // the director's stand-ins
			}
		}
		if sub != nil {
			m["cloud_properties"] = orEmpty(sub.CloudProperties)
			if sub.DNS != nil {
				m["dns"] = sub.DNS
			}
		}
	}
	return out
}

func orEmpty(m map[string]any) map[string]any {
	if m == nil {
		return map[string]any{}
	}
	return m
}

func (b *binder) document(g *PlannedGroup, i *PlannedInstance, j *PlannedJob, networks map[string]any) map[string]any {
	var templates []any
	for _, o := range g.Jobs {
		templates = append(templates, map[string]any{"name": o.Name, "version": o.Spec.Fingerprint})
	}
	doc := map[string]any{
		"deployment": b.plan.Deployment, "name": g.Name, "index": i.Index, "id": i.ID, "az": orNil(i.AZ), "bootstrap": i.Bootstrap,
		"job":             map[string]any{"name": g.Name, "template": g.Jobs[0].Name, "templates": templates},
		"networks":        networks,
		"release":         map[string]any{"name": j.Release.Name, "version": j.Release.Version},
		"dns_domain_name": b.plan.domain, "persistent_disk": 0,
		"address": b.plan.address(i, g.addressNetwork(), nil),
		"ip":      nil, "resource_pool": nil,
	}
	for k, n := range g.Networks {
		if n.Name == g.addressNetwork() && k < len(i.Networks) && i.Networks[k].IP.IsValid() {
			doc["ip"] = i.Networks[k].IP.String()
		}
	}
	if g.VMType != nil {
		doc["resource_pool"] = g.VMType.Name
	}
	if g.Disk != nil {
		doc["persistent_disk"] = g.Disk.Size
	}
	return doc
}
