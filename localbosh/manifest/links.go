package manifest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/serviceforge/serviceforge/localbosh/bosherr"
)

// Link is what a consumer gets to see of a provider.
type Link struct {
	Deployment     string
	Group          string
	DefaultNetwork string
	Domain         string
	// Address is the name of all instances: q-s0.GROUP.NETWORK.DEPLOYMENT.DOMAIN.
	Address   string
	Instances []LinkInstance
	// Properties are those the provider lists; ((variables)) are still in them until Bind.
	Properties map[string]any
	// manual is a link whose content stands in the manifest.
	manual map[string]any
}

// LinkInstance is one instance of a provider.
type LinkInstance struct {
	Name      string
	ID        string
	Index     int
	AZ        string
	Address   string
	Bootstrap bool
}

// provider is a link that a job of the deployment provides.
type provider struct {
	group      *PlannedGroup
	job        *Job
	name       string // in the release
	alias      string // `as`, else name
	typ        string
	properties map[string]any
	networks   []string
}

type linkResolver struct {
	plan      *Plan
	providers []provider
	errs      []string
}

// resolveLinks finds a provider for every link that a job consumes. All failures come in one error, as the
// director reports them (code 100).
func (v *resolver) resolveLinks() error {
	lr := &linkResolver{plan: v.plan}
	for _, g := range v.plan.Groups {
		for _, j := range g.Jobs {
			if err := lr.provide(g, j); err != nil {
				return err
			}
		}
	}
	resolved := map[*Job]map[string]*Link{}
	for _, g := range v.plan.Groups {
		for _, j := range g.Jobs {
			links, err := lr.consume(g, j)
			if err != nil {
				return err
			}
			resolved[j] = links
		}
	}
	if len(lr.errs) > 0 {
		return bosherr.New(bosherr.DirectorError, "Failed to resolve links from deployment '%s'. See errors below:\n  - %s", v.plan.Deployment, strings.Join(lr.errs, "\n  - "))
	}
	for _, g := range v.plan.Groups {
		for _, i := range g.Instances {
			for _, j := range g.Jobs {
				i.Jobs = append(i.Jobs, &PlannedJob{Job: j, Links: resolved[j]})
			}
		}
	}
	return nil
}

func (lr *linkResolver) provide(g *PlannedGroup, j *Job) error {
	for _, l := range slices.Concat(j.custom, j.Spec.Provides) {
		p := provider{group: g, job: j, name: l.Name, alias: l.Name, typ: l.Type}
		source, given := j.provides[l.Name]
		if given {
			if source == "nil" {
				continue
			}
			m, ok := source.(map[string]any)
			if !ok {
				return bosherr.New(bosherr.DirectorError, "Provider '%s' in job '%s' in instance group '%s' specified in the manifest should only be a hash or string 'nil'", l.Name, j.Name, g.Name)
			}
			if hasAny(m, "name", "type") {
				return bosherr.New(bosherr.DirectorError, "Cannot specify 'name' or 'type' properties in the manifest for link '%s' in job '%s' in instance group '%s'. "+
					"Please provide these keys in the release only.", l.Name, j.Name, g.Name)
			}
			if as, ok := m["as"]; ok {
				p.alias = rubyString(as)
			}
		}
		properties, err := linkProperties(j, l.Properties)
		if err != nil {
			return err
		}
		p.properties = properties
		for _, n := range g.Networks {
			p.networks = append(p.networks, n.Name)
		}
		lr.providers = append(lr.providers, p)
	}
	return nil
}

// linkProperties are the listed properties of a provider: the manifest's values, else the declared defaults.
func linkProperties(j *Job, names []string) (map[string]any, error) {
	out := map[string]any{}
	for _, name := range names {
		v, found := lookupPath(j.Properties, name)
		if !found {
			declared, ok := j.Spec.Properties[name]
			if !ok {
				return nil, bosherr.New(bosherr.DirectorError, "Link property %s in template %s is not defined in release spec", name, j.Name)
			}
			v = declared.Default
		}
		setPath(out, name, v)
	}
	return out, nil
}

func (lr *linkResolver) consume(g *PlannedGroup, j *Job) (map[string]*Link, error) {
	links := map[string]*Link{}
	for _, c := range j.Spec.Consumes {
		source, explicit := j.consumes[c.Name]
		if !explicit {
			if l := lr.implicit(g, j, c); l != nil {
				links[c.Name] = l
			}
			continue
		}
		if source == "nil" {
			if !c.Optional {
				lr.failed(g, j, c, c.Name, nil, "")
			}
			continue
		}
		m, err := checkConsumes(g, j, c, source)
		if err != nil {
			return nil, err
		}
		if hasAny(m, "instances", "properties", "address") {
			links[c.Name] = &Link{manual: map[string]any{"instances": m["instances"], "properties": m["properties"], "address": m["address"], "deployment_name": lr.plan.Deployment}}
			continue
		}
		if l := lr.explicit(g, j, c, m); l != nil {
			links[c.Name] = l
		}
	}
	return links, nil
}

func checkConsumes(g *PlannedGroup, j *Job, c ConsumedLink, source any) (map[string]any, error) {
	where := fmt.Sprintf("for link '%s' in job '%s' in instance group '%s'.", c.Name, j.Name, g.Name)
	m, ok := source.(map[string]any)
	if !ok {
		return nil, bosherr.New(bosherr.DirectorError, "Consumer '%s' in job '%s' in instance group '%s' specified in the manifest should only be a hash or string 'nil'", c.Name, j.Name, g.Name)
	}
	var errs []string
	for _, key := range []string{"instances", "properties"} {
		if hasAny(m, key) && hasAny(m, "from") {
			errs = append(errs, fmt.Sprintf("Cannot specify both '%s' and 'from' keys %s", key, where))
		}
	}
	if hasAny(m, "properties") && !hasAny(m, "instances") {
		errs = append(errs, "Cannot specify 'properties' without 'instances' "+where)
	}
	if v, ok := m["ip_addresses"]; ok {
		if _, isBool := v.(bool); !isBool {
			errs = append(errs, "Cannot specify non boolean values for 'ip_addresses' field "+where)
		}
	}
	if hasAny(m, "name", "type") {
		errs = append(errs, "Cannot specify 'name' or 'type' properties in the manifest "+where+" Please provide these keys in the release only.")
	}
	if d, ok := m["deployment"]; ok && rubyString(d) != "" {
		from := c.Name
		if f, ok := m["from"]; ok {
			from = rubyString(f)
		}
		errs = append(errs, fmt.Sprintf("Link '%s' in job '%s' from instance group '%s' consumes from deployment '%s', but the deployment does not exist.", from, j.Name, g.Name, rubyString(d)))
	}
	if len(errs) > 0 {
		return nil, bosherr.New(bosherr.DirectorError, "%s", strings.Join(errs, "\n"))
	}
	return m, nil
}

// implicit finds the only provider of the type; none is fine for an optional link.
func (lr *linkResolver) implicit(g *PlannedGroup, j *Job, c ConsumedLink) *Link {
	var found []provider
	for _, p := range lr.providers {
		if p.typ == c.Type {
			found = append(found, p)
		}
	}
	if len(found) == 0 && c.Optional {
		return nil
	}
	if len(found) != 1 {
		lr.failed(g, j, c, c.Name, found, "")
		return nil
	}
	return lr.link(found[0], "", nil)
}

// explicit finds the provider by type and by `from`.
func (lr *linkResolver) explicit(g *PlannedGroup, j *Job, c ConsumedLink, m map[string]any) *Link {
	from, network := c.Name, ""
	if f, ok := m["from"]; ok {
		from = rubyString(f)
	}
	if n, ok := m["network"]; ok {
		network = rubyString(n)
	}
	from = from[strings.LastIndexByte(from, '.')+1:]
	var found []provider
	for _, p := range lr.providers {
		if p.typ == c.Type && p.alias == from {
			found = append(found, p)
		}
	}
	if len(found) != 1 || network != "" && !slices.Contains(found[0].networks, network) {
		lr.failed(g, j, c, from, found, network)
		return nil
	}
	var useIP *bool
	if b, ok := m["ip_addresses"].(bool); ok {
		useIP = &b
	}
	return lr.link(found[0], network, useIP)
}

// failed notes a link without exactly one provider, in the director's words.
func (lr *linkResolver) failed(g *PlannedGroup, j *Job, c ConsumedLink, alias string, found []provider, network string) {
	var b strings.Builder
	fmt.Fprintf(&b, "Failed to resolve link '%s' with ", c.Name)
	if alias != c.Name {
		fmt.Fprintf(&b, "alias '%s' and ", alias)
	}
	fmt.Fprintf(&b, "type '%s' from job '%s' in instance group '%s'. Details below:", c.Type, j.Name, g.Name)
	if len(found) == 0 {
		b.WriteString("\n    - No link providers found")
	}
	for _, p := range found {
		fmt.Fprintf(&b, "\n    - Link provider '%s' ", p.name)
		if p.alias != p.name {
			fmt.Fprintf(&b, "with alias '%s' ", p.alias)
		}
		fmt.Fprintf(&b, "from job '%s' in instance group '%s' in deployment '%s'", p.job.Name, p.group.Name, lr.plan.Deployment)
		if network != "" {
			fmt.Fprintf(&b, " does not belong to network '%s'", network)
		}
	}
	lr.errs = append(lr.errs, b.String())
}

func (lr *linkResolver) link(p provider, network string, useIP *bool) *Link {
	if network == "" {
		network = p.group.addressNetwork()
	}
	l := &Link{Deployment: lr.plan.Deployment, Group: p.group.Name, DefaultNetwork: network, Domain: lr.plan.domain, Properties: p.properties,
		Address: lr.plan.dnsName("q-s0", p.group.Name, network)}
	for _, i := range p.group.Instances {
		l.Instances = append(l.Instances, LinkInstance{Name: p.group.Name, ID: i.ID, Index: i.Index, AZ: i.AZ, Bootstrap: i.Bootstrap,
			Address: lr.plan.address(i, network, useIP)})
	}
	return l
}

// dnsName is HOST.GROUP.NETWORK.DEPLOYMENT.DOMAIN.
func (p *Plan) dnsName(host, group, network string) string {
	return strings.Join([]string{host, canonical(group), canonical(network), canonical(p.Deployment), p.domain}, ".")
}

// address is how an instance is reached on a network: its IP, or its name where the deployment wants names and
// on dynamic networks, whose addresses are not known before the VM runs. useIP overrides.
func (p *Plan) address(i *PlannedInstance, network string, useIP *bool) string {
	k := slices.IndexFunc(i.Networks, func(n InstanceNetwork) bool { return n.Name == network })
	if k < 0 || !i.Networks[k].IP.IsValid() {
		return p.dnsName(i.ID, i.Group, network)
	}
	name := p.features.UseDNSAddresses
	if useIP != nil {
		name = !*useIP
	}
	if name || i.Networks[k].Type == DynamicNetwork {
		return p.dnsName(i.ID, i.Group, network)
	}
	return i.Networks[k].IP.String()
}

func hasAny(m map[string]any, keys ...string) bool {
	return slices.ContainsFunc(keys, func(k string) bool { _, ok := m[k]; return ok })
}

// lookupPath finds a dotted name in nested maps.
func lookupPath(m map[string]any, name string) (any, bool) {
	var v any = m
	for part := range strings.SplitSeq(name, ".") {
		node, ok := v.(map[string]any)
		if !ok {
			return nil, false
		}
		if v, ok = node[part]; !ok {
			return nil, false
		}
	}
	return v, true
}

// setPath puts a value under a dotted name, making maps on the way.
func setPath(m map[string]any, name string, v any) {
	parts := strings.Split(name, ".")
	for _, part := range parts[:len(parts)-1] {
		next, ok := m[part].(map[string]any)
		if !ok {
			next = map[string]any{}
			m[part] = next
		}
		m = next
	}
	m[parts[len(parts)-1]] = v
}
