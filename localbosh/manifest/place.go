package manifest

import (
	"cmp"
	"slices"

	"github.com/serviceforge/serviceforge/localbosh/bosherr"
)

// placement is a desired instance on its way to a place.
type placement struct {
	az       string
	existing *Instance
	statics  map[string]staticIP // by network
}

// groupPlan places the instances of one group as the director's placement planner does.
type groupPlan struct {
	group    *InstanceGroup
	cloud    *CloudConfig
	existing []*Instance // sorted by index; az may be one that migrated_from gave
	random   func(int) int

	placed   []*placement
	obsolete []*Instance
}

// place decides zones and which existing instances stay.
func (gp *groupPlan) place() error {
	for _, n := range gp.group.Networks {
		if n.StaticIPs != nil {
			return gp.placeStatic()
		}
	}
	return gp.placeDynamic()
}

// placeDynamic keeps ignored instances and those with a disk where they are, then fills the zones with fewest
// instances, preferring those where an instance waits to be kept.
func (gp *groupPlan) placeDynamic() error {
	left := gp.group.Count
	unplaced := slices.Clone(gp.existing)
	if err := gp.checkIgnored(left); err != nil {
		return err
	}
	claim := func(i *Instance, az string) {
		gp.placed = append(gp.placed, &placement{az: az, existing: i})
		unplaced = slices.DeleteFunc(unplaced, func(o *Instance) bool { return o == i })
		left--
	}
	for _, i := range gp.existing {
		if i.Ignore {
			claim(i, i.AZ)
		}
	}
	for _, i := range gp.existing {
		if left > 0 && !i.Ignore && i.HasDisk && slices.Contains(gp.group.AZs, i.AZ) {
			claim(i, i.AZ)
		}
	}
	for left > 0 {
		az := gp.nextAZ(unplaced)
		if k := slices.IndexFunc(unplaced, func(i *Instance) bool { return i.AZ == az }); k >= 0 {
			claim(unplaced[k], az)
			continue
		}
		gp.placed = append(gp.placed, &placement{az: az})
		left--
	}
	gp.obsolete = unplaced
	return nil
}

// nextAZ is where the next instance goes: a zone with fewest instances, of those one with an unplaced instance,
// else the first by name or a random one.
func (gp *groupPlan) nextAZ(unplaced []*Instance) string {
	if len(gp.group.AZs) == 0 {
		return ""
	}
	count := map[string]int{}
	for _, p := range gp.placed {
		count[p.az]++
	}
	waiting := map[string]int{}
	for _, i := range unplaced {
		waiting[i.AZ]++
	}
	fewest := count[gp.group.AZs[0]]
	for _, az := range gp.group.AZs {
		fewest = min(fewest, count[az])
	}
	var ties []string
	for _, az := range gp.group.AZs {
		if count[az] == fewest && !slices.Contains(ties, az) {
			ties = append(ties, az)
		}
	}
	best := slices.MaxFunc(ties, func(a, b string) int { return cmp.Compare(waiting[a], waiting[b]) })
	switch {
	case waiting[best] > 0:
		return best
	case gp.random != nil:
		return ties[gp.random(len(ties))]
	}
	return slices.Min(ties)
}

// checkIgnored refuses what would delete or move an ignored instance.
func (gp *groupPlan) checkIgnored(desired int) error {
	ignored := 0
	for _, i := range gp.existing {
		if !i.Ignore {
			continue
		}
		ignored++
		if i.AZ != "" && !slices.Contains(gp.group.AZs, i.AZ) {
			return bosherr.New(190020, "Instance Group '%s' no longer contains AZs %s where ignored instance(s) exist.", gp.group.Name, inspect([]any{i.AZ}))
		}
	}
	if ignored > desired {
		return bosherr.New(190020, "Instance Group '%s' has %d ignored instance(s). %d instance(s) of that instance group were requested. Deleting ignored instances is not allowed.",
			gp.group.Name, ignored, desired)
	}
	return nil
}

// staticIP is a static address of the group and the zones it could serve.
type staticIP struct {
	addr  InstanceNetwork
	azs   []string // of the group's; {""} without zones
	taken bool
}

// placeStatic hands out the groups's static addresses: an instance that has one of them keeps it, other existing
// instances get free ones in their zone, new instances the rest.
func (gp *groupPlan) placeStatic() error {
	ips, err := gp.staticIPs()
	if err != nil {
		return err
	}
	left := gp.group.Count
	var rest []*Instance
	for _, i := range gp.existing {
		p, err := gp.keepStatic(i, ips, left > 0)
		if err != nil {
			return err
		}
		if p == nil {
			rest = append(rest, i)
			continue
		}
		gp.placed = append(gp.placed, p)
		left--
	}
	for _, i := range rest {
		p := &placement{az: i.AZ, existing: i, statics: map[string]staticIP{}}
		if left == 0 || !gp.canFill(ips, i.AZ) {
			gp.obsolete = append(gp.obsolete, i)
			continue
		}
		gp.placed = append(gp.placed, p)
		left--
	}
	for range left {
		gp.placed = append(gp.placed, &placement{statics: map[string]staticIP{}})
	}
	for _, p := range gp.placed {
		if err := gp.fillStatic(p, ips); err != nil {
			return err
		}
	}
	return nil
}

// staticIPs checks the group's static addresses and returns them by network, in the manifest's order.
func (gp *groupPlan) staticIPs() (map[string][]*staticIP, error) {
	out := map[string][]*staticIP{}
	for _, gn := range gp.group.Networks {
		n := gp.cloud.Network(gn.Name)
		for _, ip := range gn.StaticIPs {
			s := &staticIP{addr: InstanceNetwork{Name: gn.Name, Type: n.Type, IP: ip, Static: true}}
			if n.Type == VIPNetwork {
				s.azs = gp.group.AZs
				out[gn.Name] = append(out[gn.Name], s)
				continue
			}
			sub := n.subnetOf(ip)
			if sub == nil || !sub.static.contains(ip) {
				return nil, bosherr.New(bosherr.JobNetworkInstanceIPMismatch, "Instance group '%s' with network '%s' declares static ip '%s/%d', which belongs to no subnet",
					gp.group.Name, gn.Name, ip, ip.BitLen())
			}
			for _, az := range sub.AZs {
				if slices.Contains(gp.group.AZs, az) {
					s.azs = append(s.azs, az)
				}
			}
			if len(gp.group.AZs) == 0 && len(sub.AZs) > 0 {
				return nil, bosherr.New(bosherr.JobInvalidAvailabilityZone, "Instance group '%s' subnets declare availability zones and the instance group does not", gp.group.Name)
			}
			if len(gp.group.AZs) > 0 && len(s.azs) == 0 {
				return nil, bosherr.New(bosherr.JobStaticIPsFromInvalidAZ, "Instance group '%s' declares static ip '%s' which does not belong to any of the instance group's availability zones.", gp.group.Name, ip)
			}
			out[gn.Name] = append(out[gn.Name], s)
		}
	}
	return out, nil
}

// keepStatic places an instance that uses one of the static addresses; nil if it uses none.
func (gp *groupPlan) keepStatic(i *Instance, ips map[string][]*staticIP, wanted bool) (*placement, error) {
	var p *placement
	for _, in := range i.Networks {
		for _, s := range ips[in.Name] {
			if s.addr.IP != in.IP || s.taken {
				continue
			}
			if !wanted {
				continue
			}
			if i.AZ != "" && !slices.Contains(s.azs, i.AZ) {
				return nil, bosherr.New(130010, "Existing instance '%s/%d' is using IP '%s' in availability zone '%s'", i.Group, i.Index, in.IP, i.AZ)
			}
			if p == nil {
				p = &placement{az: i.AZ, existing: i, statics: map[string]staticIP{}}
			}
			s.taken = true
			p.statics[in.Name] = *s
		}
	}
	return p, nil
}

// canFill says whether every static network has a free address for az.
func (gp *groupPlan) canFill(ips map[string][]*staticIP, az string) bool {
	for _, list := range ips {
		if !slices.ContainsFunc(list, func(s *staticIP) bool { return s.serves(az) }) {
			return false
		}
	}
	return true
}

func (s *staticIP) serves(az string) bool {
	return !s.taken && (len(s.azs) == 0 || slices.Contains(s.azs, az))
}

// fillStatic gives p an address on every static network where it has none, and a zone if it has none.
func (gp *groupPlan) fillStatic(p *placement, ips map[string][]*staticIP) error {
	if p.statics == nil {
		p.statics = map[string]staticIP{}
	}
	for _, gn := range gp.group.Networks {
		list := ips[gn.Name]
		if list == nil {
			continue
		}
		if _, has := p.statics[gn.Name]; has {
			continue
		}
		k := slices.IndexFunc(list, func(s *staticIP) bool {
			if p.az != "" || p.existing != nil {
				return s.serves(p.az)
			}
			return !s.taken
		})
		if k < 0 {
			return bosherr.New(130010, "Failed to distribute static IPs to satisfy existing instance reservations")
		}
		s := list[k]
		s.taken = true
		if p.az == "" && len(s.azs) > 0 {
			p.az = gp.leastUsed(s.azs)
		}
		p.statics[gn.Name] = *s
	}
	return nil
}

// leastUsed is the zone of azs with fewest placed instances, the first of equals.
func (gp *groupPlan) leastUsed(azs []string) string {
	count := func(az string) (n int) {
		for _, p := range gp.placed {
			if p.az == az {
				n++
			}
		}
		return n
	}
	return slices.MinFunc(azs, func(a, b string) int { return cmp.Compare(count(a), count(b)) })
}
