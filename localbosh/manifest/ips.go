package manifest

import (
	"net/netip"
	"slices"

	"github.com/serviceforge/serviceforge/localbosh/bosherr"
)

// allocator gives out addresses as the director does: the lowest free one of the first subnet that serves the
// zone; freed addresses are free at once. An address is one on all networks.
type allocator struct {
	cloud   *CloudConfig
	dynamic netip.Prefix
	holders map[netip.Addr]TakenIP
}

func newAllocator(r *Request) *allocator {
	a := &allocator{cloud: r.Cloud, dynamic: r.DynamicRange, holders: map[netip.Addr]TakenIP{}}
	for _, t := range r.Taken {
		a.holders[t.IP] = t
	}
	for _, i := range r.Previous {
		for _, n := range i.Networks {
			if n.IP.IsValid() {
				a.holders[n.IP] = TakenIP{IP: n.IP, Network: n.Name, Deployment: r.Manifest.Name, Instance: i.Name()}
			}
		}
	}
	return a
}

// kept returns the instance's present address on the network if it may keep it: same zone, still in a subnet and
// not reserved, and dynamic now as before.
func (a *allocator) kept(i *Instance, n *Network, az string) (InstanceNetwork, bool) {
	for _, have := range i.Networks {
		if !have.IP.IsValid() {
			continue
		}
		if n.Type == DynamicNetwork {
			if have.Name == n.Name && have.Type == DynamicNetwork && a.dynamic.Contains(have.IP) {
				return have, true
			}
			continue
		}
		if have.Type != ManualNetwork {
			continue
		}
		sub := n.subnetOf(have.IP)
		if sub == nil || !sub.serves(az) || !sub.reservable(have.IP) || sub.static.contains(have.IP) {
			continue
		}
		return InstanceNetwork{Name: n.Name, Type: n.Type, IP: have.IP}, true
	}
	return InstanceNetwork{}, false
}

// static reserves a static address for an instance.
func (a *allocator) static(i *Instance, deployment string, want InstanceNetwork) error {
	if h, taken := a.holders[want.IP]; taken && (h.Deployment != deployment || h.Instance != i.Name()) {
		if h.Deployment == "" {
			return bosherr.New(bosherr.NetworkReservationAlreadyInUse, "Failed to reserve IP '%s' for instance '%s': already reserved by orphaned instance", want.IP, i.Label())
		}
		return bosherr.New(bosherr.NetworkReservationAlreadyInUse, "Failed to reserve IP '%s' for instance '%s': already reserved by instance '%s' from deployment '%s'",
			want.IP, i.Label(), h.Instance, h.Deployment)
	}
	a.holders[want.IP] = TakenIP{IP: want.IP, Network: want.Name, Deployment: deployment, Instance: i.Name()}
	return nil
}

// next reserves the lowest free address for an instance.
func (a *allocator) next(i *Instance, deployment string, n *Network) (InstanceNetwork, error) {
	ip, ok := netip.Addr{}, false
	if n.Type == DynamicNetwork {
		ip, ok = a.lowest(a.dynamic, addrSet{}, addrSet{})
	} else {
		for _, sub := range n.Subnets {
			if sub.serves(i.AZ) {
				if ip, ok = a.lowest(sub.Range, sub.reserved, sub.static); ok {
					break
				}
			}
		}
	}
	if !ok {
		return InstanceNetwork{}, bosherr.New(bosherr.NetworkReservationNotEnoughCapacity, "Failed to reserve IP for '%s' for %s network '%s': no more available", i.Label(), n.Type, n.Name)
	}
	a.holders[ip] = TakenIP{IP: ip, Network: n.Name, Deployment: deployment, Instance: i.Name()}
	return InstanceNetwork{Name: n.Name, Type: n.Type, IP: ip}, nil
}

// lowest finds the lowest address of a range that nobody holds; network and broadcast address are never given.
func (a *allocator) lowest(p netip.Prefix, reserved, static addrSet) (netip.Addr, bool) {
	if !p.IsValid() {
		return netip.Addr{}, false
	}
	last := lastAddr(p)
	for ip := p.Masked().Addr().Next(); ip.IsValid() && ip.Less(last); ip = ip.Next() {
		if end, in := reserved.endOf(ip); in {
			ip = end
			continue
		}
		if end, in := static.endOf(ip); in {
			ip = end
			continue
		}
		if _, taken := a.holders[ip]; !taken {
			return ip, true
		}
	}
	return netip.Addr{}, false
}

// lowestIndex is the lowest index that is not in used.
func lowestIndex(used map[int]bool) int {
	i := 0
	for used[i] {
		i++
	}
	return i
}

// electBootstrap keeps the one bootstrap instance there is, else takes the lowest index.
func electBootstrap(instances []*PlannedInstance) {
	marked := slices.DeleteFunc(slices.Clone(instances), func(i *PlannedInstance) bool { return !i.Bootstrap })
	if len(marked) == 1 || len(instances) == 0 {
		return
	}
	for _, i := range instances {
		i.Bootstrap = false
	}
	instances[0].Bootstrap = true // sorted by index
}
