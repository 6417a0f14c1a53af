package manifest

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/serviceforge/serviceforge/localbosh/bosherr"
)

func instanceLabel(i Instance) string { return fmt.Sprintf("%s/%s (%d)", i.Group, i.ID, i.Index) }

// resolver carries Resolve through its steps.
type resolver struct {
	*Request
	plan    *Plan
	ips     *allocator
	statics map[*PlannedInstance]map[string]staticIP
}

func resolve(r Request) (*Plan, error) {
	if r.Domain == "" {
		r.Domain = "bosh"
	}
	v := &resolver{Request: &r, ips: newAllocator(&r), statics: map[*PlannedInstance]map[string]staticIP{},
		plan: &Plan{Deployment: r.Manifest.Name, Tags: r.Manifest.Tags, domain: r.Domain, features: r.Manifest.Features}}
	if err := v.bindStemcells(); err != nil {
		return nil, err
	}
	if err := v.placeAll(); err != nil {
		return nil, err
	}
	if err := v.reserveAll(); err != nil {
		return v.reservedSoFar(), err
	}
	if err := v.resolveLinks(); err != nil {
		return v.plan, err
	}
	return v.plan, nil
}

// bindStemcells makes the groups of the plan, in order.
func (v *resolver) bindStemcells() error {
	found := map[string]Stemcell{}
	for _, ref := range v.Manifest.Stemcells {
		sc, err := FindStemcell(v.Catalog.Stemcells, ref)
		if err != nil {
			return err
		}
		found[ref.Alias] = sc
	}
	for _, g := range v.Manifest.InstanceGroups {
		packages, err := packagesOf(g)
		if err != nil {
			return err
		}
		v.plan.Groups = append(v.plan.Groups, &PlannedGroup{InstanceGroup: g, Stemcell: found[g.Stemcell.Alias], Packages: packages, cloud: v.Cloud})
	}
	return nil
}

// packagesOf lists the packages of a group's jobs, each after its dependencies. Two releases may not bring
// packages of one name to one instance.
func packagesOf(g *InstanceGroup) ([]PackageUse, error) {
	var out []PackageUse
	byName := map[string]*Release{}
	var add func(r *Release, name string, depth int) error
	add = func(r *Release, name string, depth int) error {
		if other, ok := byName[name]; ok {
			if other != r {
				return bosherr.New(bosherr.JobPackageCollision, "Package name collision detected in instance group '%s': job '%s/%s' depends on package '%s/%s', "+
					"job '%s/%s' depends on '%s/%s'. BOSH cannot currently collocate two packages with identical names from separate releases.",
					g.Name, other.Name, jobNeeding(g, other, name), other.Name, name, r.Name, jobNeeding(g, r, name), r.Name, name)
			}
			return nil
		}
		p := r.Package(name)
		if p == nil || depth > len(r.Packages) {
			return bosherr.New(bosherr.JobMissingPackage, "Package '%s' not found in release '%s'", name, r.Name)
		}
		byName[name] = r
		for _, d := range p.Dependencies {
			if err := add(r, d, depth+1); err != nil {
				return err
			}
		}
		out = append(out, PackageUse{Release: r, Package: p})
		return nil
	}
	for _, j := range g.Jobs {
		for _, name := range j.Spec.Packages {
			if err := add(j.Release, name, 0); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

func jobNeeding(g *InstanceGroup, r *Release, pkg string) string {
	for _, j := range g.Jobs {
		if j.Release == r && slices.Contains(j.Spec.Packages, pkg) {
			return j.Name
		}
	}
	return ""
}

// placeAll decides zones, indexes, ids and bootstrap of all instances, and which ones are obsolete.
func (v *resolver) placeAll() error {
	claimed := map[string]bool{} // ids of instances that belong to a desired group
	used := map[string]map[int]bool{}
	for _, i := range v.Previous {
		if used[i.Group] == nil {
			used[i.Group] = map[int]bool{}
		}
		used[i.Group][i.Index] = true
	}
	for _, g := range v.plan.Groups {
		existing, err := v.existingOf(g.InstanceGroup)
		if err != nil {
			return err
		}
		gp := &groupPlan{group: g.InstanceGroup, cloud: v.Cloud, existing: existing}
		if v.Manifest.Features.RandomizeAZPlacement {
			gp.random = v.Random
		}
		if err := gp.place(); err != nil {
			return err
		}
		for _, i := range existing {
			claimed[i.ID] = true
		}
		if used[g.Name] == nil {
			used[g.Name] = map[int]bool{}
		}
		v.adoptPlacements(g, gp, used[g.Name])
	}
	return v.dropOthers(claimed)
}

// existingOf are the instances of a group and of those migrated to it, by index.
func (v *resolver) existingOf(g *InstanceGroup) ([]*Instance, error) {
	var out []*Instance
	for _, i := range v.Previous {
		if i.Group == g.Name {
			out = append(out, &i)
		}
	}
	slices.SortStableFunc(out, func(a, b *Instance) int { return cmp.Compare(a.Index, b.Index) })
	for _, from := range g.MigratedFrom {
		migrated, err := v.migrated(g, from)
		if err != nil {
			return nil, err
		}
		out = append(out, migrated...)
	}
	return out, nil
}

func (v *resolver) migrated(g *InstanceGroup, from MigratedFrom) ([]*Instance, error) {
	fail := func(format string, args ...any) error {
		return bosherr.New(bosherr.DeploymentInvalidMigratedFrom, "Failed to migrate instance group '%s' to '%s'"+format, append([]any{from.Name, g.Name}, args...)...)
	}
	if from.Name == g.Name {
		return nil, nil
	}
	if v.Manifest.Group(from.Name) != nil {
		return nil, fail(". A deployment can not migrate an instance group and also specify it. Please remove instance group '%s'.", from.Name)
	}
	for _, other := range v.Manifest.InstanceGroups {
		if other != g && slices.ContainsFunc(other.MigratedFrom, func(m MigratedFrom) bool { return m.Name == from.Name }) {
			return nil, fail(". An instance group may be migrated to only one instance group.")
		}
	}
	var out []*Instance
	for _, i := range v.Previous {
		if i.Group != from.Name {
			continue
		}
		if i.AZ == "" && from.AZ == "" && len(g.AZs) > 0 {
			return nil, fail(", availability zone of '%s' is not specified", from.Name)
		}
		if i.AZ != "" && from.AZ != "" && i.AZ != from.AZ {
			return nil, fail(", '%s' belongs to availability zone '%s' and manifest specifies '%s'", from.Name, i.AZ, from.AZ)
		}
		if i.AZ == "" {
			i.AZ = from.AZ
		}
		out = append(out, &i)
	}
	return out, nil
}

// adoptPlacements turns placements into planned instances: existing ones keep id and index (a migrated one gets
// a new index), new ones get the lowest indexes that neither a kept nor an obsolete instance has.
func (v *resolver) adoptPlacements(g *PlannedGroup, gp *groupPlan, used map[int]bool) {
	slices.SortStableFunc(gp.placed, func(a, b *placement) int {
		return cmp.Compare(order(a.existing), order(b.existing))
	})
	for _, p := range gp.placed {
		i := &PlannedInstance{}
		if p.existing != nil {
			i.Instance = *p.existing
			i.Previous = v.previous(p.existing.ID)
		}
		if p.existing == nil || i.Group != g.Name {
			i.Index = lowestIndex(used)
			used[i.Index] = true
		}
		if p.existing == nil {
			i.ID = v.NewID()
		}
		i.Group, i.AZ, i.Networks, i.Digest = g.Name, p.az, nil, Digest{}
		v.statics[i] = p.statics
		g.Instances = append(g.Instances, i)
	}
	slices.SortStableFunc(g.Instances, func(a, b *PlannedInstance) int { return cmp.Compare(a.Index, b.Index) })
	electBootstrap(g.Instances)
	for _, i := range gp.obsolete {
		v.plan.Obsolete = append(v.plan.Obsolete, *v.previous(i.ID))
	}
}

// order sorts existing instances by index before new ones.
func order(i *Instance) int {
	if i == nil {
		return int(^uint(0) >> 1)
	}
	return i.Index
}

func (v *resolver) previous(id string) *Instance {
	for k := range v.Previous {
		if v.Previous[k].ID == id {
			return &v.Previous[k]
		}
	}
	return nil
}

// dropOthers makes the instances of groups that are gone obsolete.
func (v *resolver) dropOthers(claimed map[string]bool) error {
	for _, i := range v.Previous {
		if claimed[i.ID] {
			continue
		}
		if i.Ignore {
			return bosherr.New(bosherr.DeploymentIgnoredInstancesDeletion, "You are trying to delete instance group '%s', which contains ignored instance(s). Operation not allowed.", i.Group)
		}
		v.plan.Obsolete = append(v.plan.Obsolete, i)
	}
	return nil
}

// reserveAll gives every instance its addresses: first those that stay, then static ones, then new ones in the
// order of groups and indexes. Instances of errand groups get theirs only when the errand runs, and keep them while
// they have them (keep-alive).
func (v *resolver) reserveAll() error {
	for _, step := range []func(*PlannedInstance, *Network, *InstanceNetwork) error{v.keepIP, v.staticIP, v.newIP} {
		for _, g := range v.plan.Groups {
			for _, i := range g.Instances {
				if g.Errand() && !slices.Contains(v.Errands, g.Name) && (i.Previous == nil || len(i.Previous.IPs()) == 0) {
					continue
				}
				if i.Networks == nil {
					i.Networks = make([]InstanceNetwork, len(g.Networks))
				}
				for k, gn := range g.Networks {
					if i.Networks[k].IP.IsValid() {
						continue
					}
					if err := step(i, v.Cloud.Network(gn.Name), &i.Networks[k]); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

func (v *resolver) keepIP(i *PlannedInstance, n *Network, to *InstanceNetwork) error {
	if i.Previous == nil {
		return nil
	}
	if _, static := v.statics[i][n.Name]; static || n.Type == VIPNetwork {
		return nil
	}
	if in, ok := v.ips.kept(i.Previous, n, i.AZ); ok && !slices.ContainsFunc(i.Networks, func(o InstanceNetwork) bool { return o.IP == in.IP }) {
		*to = in
	}
	return nil
}

func (v *resolver) staticIP(i *PlannedInstance, n *Network, to *InstanceNetwork) error {
	s, ok := v.statics[i][n.Name]
	if !ok {
		return nil
	}
	// A migrated instance still holds the address under its old name.
	holder := i.Instance
	if i.Previous != nil {
		holder.Group = i.Previous.Group
	}
	*to = s.addr
	return v.ips.static(&holder, v.plan.Deployment, s.addr)
}

func (v *resolver) newIP(i *PlannedInstance, n *Network, to *InstanceNetwork) error {
	if n.Type == VIPNetwork {
		return bosherr.New(bosherr.NetworkReservationNotEnoughCapacity, "Failed to reserve IP for '%s' for vip network '%s': no more available", i.Label(), n.Name)
	}
	in, err := v.ips.next(&i.Instance, v.plan.Deployment, n)
	*to = in
	return err
}

// reservedSoFar is the plan with only the instances that have all their addresses.
func (v *resolver) reservedSoFar() *Plan {
	for _, g := range v.plan.Groups {
		g.Instances = slices.DeleteFunc(g.Instances, func(i *PlannedInstance) bool {
			return slices.ContainsFunc(i.Networks, func(n InstanceNetwork) bool { return !n.IP.IsValid() })
		})
	}
	return v.plan
}
