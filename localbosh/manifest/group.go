package manifest

import (
	"slices"

	"github.com/serviceforge/serviceforge/localbosh/bosherr"
)

func (p *manifestParser) parseGroup(v any) *InstanceGroup {
	s := newSpec(v)
	g := &InstanceGroup{}
	gp := &groupParser{spec: s, p: p, g: g}
	for _, step := range []func(){
		gp.parseName, gp.parseLifecycle, gp.parseJobs, gp.parseDisks, gp.parseVM, gp.parseUpdate,
		gp.parseNetworks, gp.parseAZs, gp.parseMigratedFrom, gp.parseInstances,
	} {
		if step(); s.err != nil {
			break
		}
	}
	p.adopt(s)
	return g
}

type groupParser struct {
	*spec
	p *manifestParser
	g *InstanceGroup
}

func (gp *groupParser) parseName() { gp.g.Name = gp.str("name") }

func (gp *groupParser) parseLifecycle() {
	gp.g.Lifecycle = LifecycleService
	if !gp.has("lifecycle") {
		return
	}
	gp.g.Lifecycle = gp.str("lifecycle")
	if gp.err == nil && gp.g.Lifecycle != LifecycleService && gp.g.Lifecycle != LifecycleErrand {
		gp.fail(bosherr.JobInvalidLifecycle, "Invalid lifecycle '%s' for '%s', valid lifecycle profiles are: service, errand", gp.g.Lifecycle, gp.g.Name)
	}
}

func (gp *groupParser) parseJobs() {
	if gp.has("template") || gp.has("templates") || !gp.has("jobs") || gp.value["jobs"] == nil {
		gp.fail(bosherr.ValidationMissingField, "Instance group '%s' does not specify jobs key", gp.g.Name)
		return
	}
	groupProperties := mergeHashes(gp.p.properties, gp.optHash("properties"))
	for _, v := range gp.list("jobs") {
		job := gp.parseJob(v, groupProperties)
		if gp.err != nil {
			return
		}
		gp.g.Jobs = append(gp.g.Jobs, job)
	}
	seen := map[string]bool{}
	for _, j := range gp.g.Jobs {
		if seen[j.Name] {
			gp.fail(bosherr.InstanceGroupInvalidJobs, "Colocated job '%s' is already added to the instance group '%s'", j.Name, gp.g.Name)
		}
		seen[j.Name] = true
	}
}

func (gp *groupParser) parseJob(v any, groupProperties map[string]any) *Job {
	e := newSpec(v)
	job := &Job{Name: e.str("name")}
	releaseName := e.optStr("release")
	if gp.adopt(e); gp.err != nil {
		return nil
	}
	if releaseName == "" {
		releaseName = gp.defaultRelease(job.Name)
	}
	listed := gp.p.release(releaseName)
	if gp.err == nil && listed == nil {
		gp.fail(bosherr.JobUnknownRelease, "Job '%s' (instance group '%s') references an unknown release '%s'", job.Name, gp.g.Name, releaseName)
	}
	if gp.err != nil {
		return nil
	}
	if job.Release = gp.p.bind(listed); job.Release == nil {
		gp.adopt(gp.p.spec)
		return nil
	}
	if job.Spec = job.Release.Job(job.Name); job.Spec == nil {
		gp.fail(bosherr.JobNotInRelease, "Job '%s' not found in release '%s'", job.Name, releaseName)
		return nil
	}
	job.Properties = groupProperties
	if e.has("properties") {
		job.Properties = e.optHash("properties")
	}
	job.provides, job.consumes = e.optHash("provides"), e.optHash("consumes")
	job.custom = gp.parseCustomProviders(e, job)
	gp.adopt(e)
	return job
}

// defaultRelease is the release of a job that names none: the group's, or the only one.
func (gp *groupParser) defaultRelease(job string) string {
	if gp.has("release") {
		name := gp.str("release")
		if gp.err == nil && gp.p.release(name) == nil {
			gp.fail(bosherr.JobUnknownRelease, "Instance group '%s' references an unknown release '%s'", gp.g.Name, name)
		}
		return name
	}
	if len(gp.p.listed) == 1 {
		return gp.p.listed[0].name
	}
	gp.fail(bosherr.JobMissingRelease, "Cannot tell what release template '%s' (instance group '%s') is supposed to use, please explicitly specify one", job, gp.g.Name)
	return ""
}

func (gp *groupParser) parseCustomProviders(e *spec, job *Job) []ProvidedLink {
	var out []ProvidedLink
	for _, v := range e.optList("custom_provider_definitions") {
		s := newSpec(v)
		l := ProvidedLink{Name: s.optStr("name"), Type: s.optStr("type"), Properties: s.optStrings("properties")}
		for _, f := range []struct{ what, value string }{{"Name", l.Name}, {"Type", l.Type}} {
			if f.value == "" {
				s.fail(bosherr.DirectorError, "%s for custom link provider definition in manifest in job '%s' in instance group '%s' must be a valid non-empty string.", f.what, job.Name, gp.g.Name)
			}
		}
		if slices.ContainsFunc(job.Spec.Provides, func(p ProvidedLink) bool { return p.Name == l.Name }) {
			s.fail(bosherr.DirectorError, "Custom provider '%s' in job '%s' in instance group '%s' is already defined in release '%s'", l.Name, job.Name, gp.g.Name, job.Release.Name)
		}
		if slices.ContainsFunc(out, func(p ProvidedLink) bool { return p.Name == l.Name }) {
			s.fail(bosherr.DirectorError, "Custom provider '%s' in job '%s' in instance group '%s' is defined multiple times in manifest.", l.Name, job.Name, gp.g.Name)
		}
		e.adopt(s)
		out = append(out, l)
	}
	return out
}

func (gp *groupParser) parseDisks() {
	g, given := gp.g, 0
	for _, key := range []string{"persistent_disk", "persistent_disk_type", "persistent_disk_pool", "persistent_disks"} {
		if v, ok := gp.value[key]; ok && v != nil {
			given++
		}
	}
	if given > 1 {
		gp.fail(bosherr.InstanceGroupInvalidPersistentDisk, "Instance group '%s' specifies more than one of the following keys:"+
			" 'persistent_disk', 'persistent_disk_type', 'persistent_disk_pool' and 'persistent_disks'. Choose one.", g.Name)
		return
	}
	switch {
	case gp.has("persistent_disk"):
		size := gp.integer("persistent_disk")
		if size < 0 {
			gp.fail(bosherr.InstanceGroupInvalidPersistentDisk, "Instance group '%s' references an invalid persistent disk size '%d'", g.Name, size)
		}
		if size > 0 {
			g.Disk = &Disk{Size: size}
		}
	case gp.has("persistent_disk_type"):
		g.Disk = gp.disk("type", gp.str("persistent_disk_type"))
	case gp.has("persistent_disk_pool"):
		g.Disk = gp.disk("pool", gp.str("persistent_disk_pool"))
	}
	for _, v := range gp.optList("persistent_disks") {
		gp.parseNamedDisk(newSpec(v))
	}
}

func (gp *groupParser) disk(source, name string) *Disk {
	if gp.err != nil {
		return nil
	}
	t := gp.p.cloud.diskType(name)
	if t == nil {
		gp.fail(bosherr.InstanceGroupUnknownDiskType, "Instance group '%s' references an unknown disk %s '%s'", gp.g.Name, source, name)
		return nil
	}
	if t.Size == 0 {
		return nil
	}
	return &Disk{Type: t.Name, Size: t.Size, CloudProperties: t.CloudProperties}
}

func (gp *groupParser) parseNamedDisk(e *spec) {
	name, typ := e.optStr("name"), e.optStr("type")
	gp.adopt(e)
	t := gp.p.cloud.diskType(typ)
	switch {
	case gp.err != nil:
		return
	case slices.ContainsFunc(gp.g.Disks, func(d Disk) bool { return d.Name == name }):
		gp.fail(bosherr.InstanceGroupInvalidPersistentDisk, "Instance group '%s' persistent_disks's section contains duplicate names", gp.g.Name)
	case t == nil:
		gp.fail(bosherr.InstanceGroupUnknownDiskType, "Instance group '%s' persistent_disks's section references an unknown disk type '%s'", gp.g.Name, typ)
	case name == "":
		gp.fail(bosherr.InstanceGroupInvalidPersistentDisk, "Instance group '%s' persistent_disks's section contains a disk with no name", gp.g.Name)
	default:
		gp.g.Disks = append(gp.g.Disks, Disk{Name: name, Type: t.Name, Size: t.Size, CloudProperties: t.CloudProperties})
	}
}

func (gp *groupParser) parseVM() {
	g := gp.g
	g.Env = gp.optHash("env")
	typ := gp.optStr("vm_type")
	g.VMResources = gp.optHash("vm_resources")
	switch {
	case gp.err != nil:
		return
	case !gp.has("vm_type") && !gp.has("vm_resources"):
		gp.fail(bosherr.InstanceGroupBadVMConfiguration, "Instance group '%s' is missing either 'vm_type' or 'vm_resources' section.", g.Name)
		return
	case gp.has("vm_type") && gp.has("vm_resources"):
		gp.fail(bosherr.InstanceGroupBadVMConfiguration, "Instance group '%s' can only specify 'vm_type' or 'vm_resources' keys.", g.Name)
		return
	}
	if gp.has("vm_type") {
		if g.VMType = gp.p.cloud.vmType(typ); g.VMType == nil {
			gp.fail(bosherr.InstanceGroupUnknownVMType, "Instance group '%s' references an unknown vm type '%s'", g.Name, typ)
			return
		}
	}
	for _, name := range gp.optStrings("vm_extensions") {
		x := gp.p.cloud.vmExtension(name)
		if x == nil {
			gp.fail(bosherr.DirectorError, "The vm_extension '%s' has not been configured in cloud-config.", name)
			return
		}
		g.VMExtensions = append(g.VMExtensions, x)
	}
	gp.parseStemcell()
}

func (gp *groupParser) parseStemcell() {
	name := gp.str("stemcell")
	for _, sc := range gp.p.m.Stemcells {
		if sc.Alias == name {
			gp.g.Stemcell = sc
			return
		}
	}
	gp.fail(bosherr.InstanceGroupUnknownStemcell, "Instance group '%s' references an unknown stemcell '%s'", gp.g.Name, name)
}

func (gp *groupParser) parseUpdate() {
	e := newSpec(map[string]any(gp.optHash("update")))
	gp.g.Update = parseUpdate(e, &gp.p.m.Update)
	gp.adopt(e)
}

func (gp *groupParser) parseAZs() {
	g := gp.g
	var list []any
	if gp.has("azs") {
		list = gp.list("azs")
	}
	var names []string
	for _, v := range list {
		names = append(names, rubyString(v))
	}
	if gp.err != nil {
		return
	}
	for _, gn := range g.Networks {
		if n := gp.p.cloud.Network(gn.Name); !n.hasAZs(names) {
			gp.fail(bosherr.JobNetworkMissingRequiredAZ, "Instance group '%s' must specify availability zone that matches availability zones of network '%s'", g.Name, gn.Name)
			return
		}
	}
	if gp.has("azs") && len(list) == 0 {
		gp.fail(bosherr.JobMissingAvailabilityZones, "Instance group '%s' has empty availability zones", g.Name)
	}
	for _, v := range list {
		if _, ok := v.(string); !ok {
			gp.fail(bosherr.JobInvalidAvailabilityZone, "Instance group '%s' has invalid availability zone '%s', string expected", g.Name, rubyString(v))
		}
	}
	for _, name := range names {
		if !gp.p.cloud.hasAZ(name) {
			gp.fail(bosherr.JobUnknownAvailabilityZone, "Instance group '%s' references unknown availability zone '%s'", g.Name, name)
		}
	}
	g.AZs = names
}

func (gp *groupParser) parseMigratedFrom() {
	for _, v := range gp.optList("migrated_from") {
		e := newSpec(v)
		m := MigratedFrom{Name: e.str("name"), AZ: e.optStr("az")}
		gp.adopt(e)
		if gp.err == nil && m.AZ != "" && !slices.Contains(gp.g.AZs, m.AZ) {
			gp.fail(bosherr.DeploymentInvalidMigratedFrom, "Instance group '%s' specified for migration to instance group '%s' refers to availability zone '%s'. "+
				"Az '%s' is not in the list of availability zones of instance group '%s'.", m.Name, gp.g.Name, m.AZ, m.AZ, gp.g.Name)
		}
		gp.g.MigratedFrom = append(gp.g.MigratedFrom, m)
	}
}

func (gp *groupParser) parseInstances() {
	g := gp.g
	g.Count = gp.integer("instances")
	if gp.err == nil && g.Count < 0 {
		g.Count = 0 // Ruby's -1.times
	}
	for _, n := range g.Networks {
		if gp.err == nil && n.StaticIPs != nil && len(n.StaticIPs) != g.Count {
			gp.fail(bosherr.JobNetworkInstanceIPMismatch, "Instance group '%s' has %d instances but was allocated %d static IPs in network '%s'",
				g.Name, g.Count, len(n.StaticIPs), n.Name)
		}
	}
}

// mergeHashes returns a with b's values, deeply.
func mergeHashes(a, b map[string]any) map[string]any {
	out := make(map[string]any, len(a)+len(b))
	for k, v := range a {
		out[k] = v
	}
	for k, v := range b {
		if am, ok := out[k].(map[string]any); ok {
			if bm, ok := v.(map[string]any); ok {
				out[k] = mergeHashes(am, bm)
				continue
			}
		}
		out[k] = v
	}
	return out
}
