package manifest

import (
	"maps"
	"slices"
	"strings"

	"github.com/serviceforge/serviceforge/localbosh/bosherr"
)

// Codes of refused v1 sections in the director's errors.rb, which have no other use here.
const (
	v1Networks      = 190022
	v1DiskPools     = 190023
	v1ResourcePools = 190024
	v1Jobs          = bosherr.V1DeprecatedJob
)

// Parse checks a manifest tree against a cloud config and the uploaded releases; the tree must have been
// interpolated outside of properties (InterpolateManifest). It is what a director does before the stage
// "Preparing deployment", in its order: the first mistake is the error.
func Parse(tree map[string]any, cloud *CloudConfig, releases []*Release) (*Manifest, error) {
	p := &manifestParser{spec: newSpec(tree), cloud: cloud, uploaded: releases, m: &Manifest{}}
	for _, step := range []func(){
		p.refuseV1, p.parseName, p.parseStemcells, p.parseReleases, p.parseUpdate, p.parseGroups,
		p.parseVariables, p.parseFeatures, p.parseTags, p.bindReleases,
	} {
		if step(); p.spec.err != nil {
			return nil, p.spec.err
		}
	}
	return p.m, nil
}

type manifestParser struct {
	*spec
	m        *Manifest
	cloud    *CloudConfig
	uploaded []*Release
	// listed are the releases of the manifest; their Release is bound when a job asks or at the end.
	listed []*listedRelease
	// properties are the deprecated global ones.
	properties map[string]any
}

type listedRelease struct {
	name, version string
	release       *Release
}

func (p *manifestParser) refuseV1() {
	for _, key := range []string{"vm_types", "azs", "disk_types", "compilation"} {
		if p.has(key) {
			p.fail(bosherr.DeploymentInvalidProperty, "Deployment manifest contains '%s' section, but this can only be set in a cloud-config.", key)
		}
	}
	if p.has("networks") {
		p.fail(v1Networks, "Deployment 'networks' are no longer supported. Network definitions must now be provided in a cloud-config.")
	}
	if p.has("disk_pools") {
		p.fail(v1DiskPools, "disk_pools is no longer supported. Disk definitions must now be provided as disk_types in a cloud-config")
	}
	if p.has("jobs") {
		p.fail(v1Jobs, "Jobs are no longer supported, please use instance groups instead")
	}
	if p.has("resource_pools") {
		p.fail(v1ResourcePools, "resource_pools is no longer supported. You must now define resources in a cloud-config")
	}
	if p.has("properties") {
		p.m.Warnings = append(p.m.Warnings, "Global 'properties' are deprecated. Please define 'properties' at the job level.")
	}
}

func (p *manifestParser) parseName() { p.m.Name = p.str("name") }

func (p *manifestParser) parseStemcells() {
	seen := map[string]bool{}
	for _, v := range p.optList("stemcells") {
		e := newSpec(v)
		sc := StemcellRef{Alias: e.str("alias"), OS: e.optStr("os"), Name: e.optStr("name"), Version: e.str("version")}
		if e.err == nil && seen[sc.Alias] {
			e.fail(bosherr.StemcellAliasAlreadyExists, "Duplicate stemcell alias '%s'", sc.Alias)
		}
		if e.err == nil && sc.OS == "" && sc.Name == "" {
			e.fail(bosherr.ValidationMissingField, "Required property 'os' or 'name' was not specified in object (%s)", inspect(v))
		}
		if sc.OS != "" && sc.Name != "" {
			e.fail(bosherr.StemcellBothNameAndOS, "Properties 'os' and 'name' are both specified for stemcell, choose one. (%s)", inspect(v))
		}
		p.adopt(e)
		seen[sc.Alias] = true
		p.m.Stemcells = append(p.m.Stemcells, sc)
	}
	p.properties = p.optHash("properties")
}

func (p *manifestParser) parseReleases() {
	var list []any
	if p.has("release") {
		if p.has("releases") {
			p.fail(bosherr.DeploymentAmbiguousReleaseSpec, "Deployment manifest contains both 'release' and 'releases' sections, please use one of the two.")
		}
		list = []any{p.value["release"]}
	} else {
		list = p.list("releases")
	}
	for _, v := range list {
		e := newSpec(v)
		r := &listedRelease{name: e.str("name"), version: e.str("version")}
		p.adopt(e)
		if p.err == nil && p.release(r.name) != nil {
			p.fail(bosherr.DeploymentDuplicateReleaseName, "Duplicate release name '%s'", r.name)
		}
		p.listed = append(p.listed, r)
	}
}

func (p *manifestParser) release(name string) *listedRelease {
	for _, r := range p.listed {
		if r.name == name {
			return r
		}
	}
	return nil
}

// bind finds the uploaded version that a listed release means.
func (p *manifestParser) bind(r *listedRelease) *Release {
	if r.release == nil {
		release, err := FindRelease(p.uploaded, r.name, r.version)
		if err != nil {
			p.fail(err.Code, "%s", err.Description)
			return nil
		}
		r.release = release
	}
	return r.release
}

// bindReleases binds the listed releases that no job uses; they must exist too.
func (p *manifestParser) bindReleases() {
	for _, r := range p.listed {
		if rel := p.bind(r); rel != nil {
			p.m.Releases = append(p.m.Releases, rel)
		}
	}
}

func (p *manifestParser) parseUpdate() {
	e := newSpec(p.hash("update"))
	if p.err == nil {
		p.m.Update = parseUpdate(e, nil)
		p.adopt(e)
	}
}

func (p *manifestParser) parseGroups() {
	names := map[string]string{}
	for _, v := range p.optList("instance_groups") {
		g := p.parseGroup(v)
		if p.err != nil {
			return
		}
		if _, taken := names[canonical(g.Name)]; taken {
			p.fail(bosherr.DeploymentCanonicalNameTaken, "Invalid instance group name '%s', canonical name already taken", g.Name)
		}
		names[canonical(g.Name)] = g.Name
		p.m.InstanceGroups = append(p.m.InstanceGroups, g)
	}
}

func (p *manifestParser) parseVariables() {
	v, ok := p.value["variables"]
	if !ok {
		return
	}
	seen := map[string]bool{}
	for _, v := range p.asList("variables", v) {
		m, ok := v.(map[string]any)
		if !ok {
			p.fail(bosherr.VariablesInvalidFormat, "All 'variables' elements should be Hashes")
			return
		}
		p.m.Variables = append(p.m.Variables, p.parseVariable(m))
	}
	for _, v := range p.m.Variables {
		if seen[v.Name] {
			p.fail(bosherr.VariablesInvalidFormat, "Some of the variables have duplicate names, eg: '%s'", v.Name)
		}
		seen[v.Name] = true
	}
}

func (p *manifestParser) parseVariable(m map[string]any) Variable {
	name, hasName := m["name"]
	typ, hasType := m["type"]
	if !hasName {
		p.fail(bosherr.VariablesInvalidFormat, "At least one of the variables is missing the 'name' key; 'name' must be specified")
	}
	v := Variable{Name: rubyString(name), Type: rubyString(typ)}
	if strings.TrimSpace(v.Name) == "" {
		p.fail(bosherr.VariablesInvalidFormat, "At least one of the variables has an empty 'name'; 'name' must not be empty or nil")
	}
	if !hasType {
		p.fail(bosherr.VariablesInvalidFormat, "Type for variable '%s' is missing; 'type' must be specified", v.Name)
	}
	if v.Type == "" {
		p.fail(bosherr.VariablesInvalidFormat, "Type for variable '%s' is nil or empty; 'type' must be specified", v.Name)
	}
	if o, ok := m["options"]; ok {
		if v.Options, ok = o.(map[string]any); !ok {
			p.fail(bosherr.VariablesInvalidFormat, "options of variable with name '%s' is not a Hash", v.Name)
		}
	}
	v.UpdateMode = rubyString(m["update_mode"])
	if v.UpdateMode != "" && !slices.Contains([]string{"no-overwrite", "overwrite", "converge"}, v.UpdateMode) {
		p.fail(bosherr.VariablesInvalidFormat, "Variable '%s' must have a valid update_mode of 'no-overwrite', 'overwrite' or 'converge'", v.Name)
	}
	if err := checkName(v.Name, "Variable"); err != nil {
		p.fail(err.Code, "%s", err.Description)
	}
	return v
}

func (p *manifestParser) parseFeatures() {
	v, ok := p.value["features"]
	if !ok {
		return
	}
	m, ok := v.(map[string]any)
	if !ok {
		p.fail(bosherr.FeaturesInvalidFormat, "Key 'features' expects a Hash, but received '%s'", rubyClass(v))
		return
	}
	f := &p.m.Features
	if b, ok := m["use_link_dns_names"].(bool); ok && b {
		f.UseDNSAddresses, f.UseShortDNSAddresses = true, true
	}
	for key, to := range map[string]*bool{"use_dns_addresses": &f.UseDNSAddresses, "use_short_dns_addresses": &f.UseShortDNSAddresses,
		"randomize_az_placement": &f.RandomizeAZPlacement, "converge_variables": &f.ConvergeVariables} {
		v, ok := m[key]
		if !ok {
			continue
		}
		if *to, ok = v.(bool); !ok {
			p.fail(bosherr.FeaturesInvalidFormat, "Key '%s' in 'features' expected to be a boolean, but received '%s'", key, rubyClass(v))
		}
	}
}

func (p *manifestParser) parseTags() {
	tags := p.optHash("tags")
	if len(tags) == 0 {
		return
	}
	p.m.Tags = make(map[string]string, len(tags))
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		p.m.Tags[k] = rubyString(tags[k])
	}
}
