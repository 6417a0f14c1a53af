package manifest

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/serviceforge/serviceforge/localbosh/bosherr"
)

func (c *CloudConfig) parseNetwork(s *spec, v any) *Network {
	e := newSpec(v)
	n := &Network{Name: e.str("name"), Type: ManualNetwork}
	if e.has("type") {
		n.Type = e.str("type")
	}
	if e.err == nil {
		switch n.Type {
		case ManualNetwork:
			c.parseManualNetwork(e, n)
		case DynamicNetwork:
			c.parseDynamicNetwork(e, n)
		case VIPNetwork:
		default:
			e.fail(bosherr.DeploymentInvalidNetworkType, "Invalid network type '%s'", n.Type)
		}
	}
	s.adopt(e)
	return n
}

func (c *CloudConfig) parseManualNetwork(e *spec, n *Network) {
	with, without := 0, 0
	for _, v := range e.list("subnets") {
		sub := c.parseManualSubnet(e, n.Name, v)
		if e.err != nil {
			return
		}
		for _, other := range n.Subnets {
			if other.Range.Overlaps(sub.Range) {
				e.fail(bosherr.NetworkOverlappingSubnets, "Network '%s' has overlapping subnets", n.Name)
			}
		}
		n.Subnets = append(n.Subnets, sub)
		if len(sub.AZs) > 0 {
			with++
		} else {
			without++
		}
	}
	if with > 0 && without > 0 {
		e.fail(bosherr.JobInvalidAvailabilityZone, "Subnets on network '%s' must all either specify availability zone or not", n.Name)
	}
}

func (c *CloudConfig) parseManualSubnet(e *spec, network string, v any) *Subnet {
	s := newSpec(v)
	sub := &Subnet{}
	text := s.str("range")
	gateway := s.str("gateway")
	if s.err == nil {
		sub.parseRange(s, network, text, gateway)
	}
	if s.err == nil {
		sub.parseReserved(s, network)
	}
	sub.DNS = parseDNS(s, network)
	sub.AZs = c.parseSubnetAZs(s, network)
	sub.CloudProperties = s.optHash("cloud_properties")
	e.adopt(s)
	return sub
}

func (sub *Subnet) parseRange(s *spec, network, text, gateway string) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		s.fail(bosherr.NetworkInvalidIPRangeFormat, "Invalid IP or CIDR format: %s", text)
		return
	}
	sub.Range = p.Masked()
	if p.Bits() == p.Addr().BitLen() {
		s.fail(bosherr.NetworkInvalidRange, "Invalid network range '%s', should include at least 2 IPs", text)
		return
	}
	invalid := func(reason string) {
		s.fail(bosherr.NetworkInvalidGateway, "Invalid gateway for network '%s': %s", network, reason)
	}
	first, last := sub.Range.Addr(), lastAddr(sub.Range)
	sub.Gateway, err = netip.ParseAddr(gateway)
	switch {
	case err != nil && strings.Contains(gateway, "/"):
		invalid("must be a single IP")
	case err != nil:
		s.fail(bosherr.NetworkInvalidIPRangeFormat, "Invalid IP or CIDR format: %s", gateway)
	case !sub.Range.Contains(sub.Gateway):
		invalid("must be inside the range")
	case sub.Gateway == first:
		invalid("can't be the network id")
	case sub.Gateway == last:
		invalid("can't be the broadcast IP")
	}
	sub.reserved.add(first, first)
	sub.reserved.add(last, last)
	sub.reserved.add(sub.Gateway, sub.Gateway)
}

func (sub *Subnet) parseReserved(s *spec, network string) {
	for _, r := range parseIPRanges(s, s.value["reserved"]) {
		if !sub.Range.Contains(r.from) || !sub.Range.Contains(r.to) {
			s.fail(bosherr.NetworkReservedIPOutOfRange, "Reserved IP '%s' is out of network '%s' range", r.outside(sub.Range), network)
			return
		}
		sub.reserved.add(r.from, r.to)
	}
	for _, r := range parseIPRanges(s, s.value["static"]) {
		if ip, ok := sub.reserved.firstIn(r); ok {
			s.fail(bosherr.NetworkStaticIPOutOfRange, "Static IP '%s' is in network '%s' reserved range", ip, network)
			return
		}
		if !sub.Range.Contains(r.from) || !sub.Range.Contains(r.to) {
			s.fail(bosherr.NetworkStaticIPOutOfRange, "Static IP '%s' is out of network '%s' range", r.outside(sub.Range), network)
			return
		}
		sub.static.add(r.from, r.to)
	}
}

func parseDNS(s *spec, network string) []string {
	dns := s.optStrings("dns")
	for _, ip := range dns {
		if _, err := netip.ParseAddr(ip); err != nil {
			s.fail(bosherr.NetworkInvalidDNS, "Invalid DNS for network '%s': must be a single IP", network)
		}
	}
	return dns
}

func (c *CloudConfig) parseSubnetAZs(s *spec, network string) []string {
	if s.has("az") && s.has("azs") {
		s.fail(bosherr.NetworkInvalidProperty, "Network '%s' contains both 'az' and 'azs'. Choose one.", network)
	}
	var azs []string
	if s.has("azs") {
		azs = s.optStrings("azs")
		if s.err == nil && len(azs) == 0 {
			s.fail(bosherr.NetworkInvalidProperty, "Network '%s' refers to an empty 'azs' array", network)
		}
	} else if az := s.optStr("az"); az != "" {
		azs = []string{az}
	}
	for _, az := range azs {
		if !c.hasAZ(az) {
			s.fail(bosherr.NetworkSubnetUnknownAZ, "Network '%s' refers to an unknown availability zone '%s'", network, az)
		}
	}
	return azs
}

func (c *CloudConfig) parseDynamicNetwork(e *spec, n *Network) {
	for _, key := range []string{"az", "azs"} {
		if e.has(key) {
			e.fail(bosherr.NetworkInvalidProperty, "Network '%s' must not specify '%s'.", n.Name, key)
		}
	}
	if !e.has("subnets") {
		n.Subnets = []*Subnet{{DNS: parseDNS(e, n.Name), CloudProperties: e.optHash("cloud_properties")}}
		return
	}
	for _, key := range []string{"dns", "cloud_properties"} {
		if e.has(key) {
			e.fail(bosherr.NetworkInvalidProperty, "Network '%s' must not specify '%s' when also specifying 'subnets'. "+
				"Instead, '%s' should be specified on subnet entries.", n.Name, key, key)
		}
	}
	for _, v := range e.list("subnets") {
		s := newSpec(v)
		n.Subnets = append(n.Subnets, &Subnet{DNS: parseDNS(s, n.Name), CloudProperties: s.optHash("cloud_properties"), AZs: c.parseSubnetAZs(s, n.Name)})
		e.adopt(s)
	}
}

// azNames are the zones of all subnets, "" for a subnet without.
func (n *Network) azNames() []string {
	var azs []string
	for _, sub := range n.Subnets {
		if len(sub.AZs) == 0 {
			azs = append(azs, "")
		}
		azs = append(azs, sub.AZs...)
	}
	return azs
}

// hasAZs says whether a group in these zones (nil: in none) can be on the network.
func (n *Network) hasAZs(azs []string) bool {
	if n.Type == VIPNetwork {
		return true
	}
	have := n.azNames()
	if azs == nil {
		return len(have) == 0 || slices.Contains(have, "")
	}
	for _, az := range azs {
		if !slices.Contains(have, az) {
			return false
		}
	}
	return true
}

// subnetOf returns the subnet whose range holds ip, or nil.
func (n *Network) subnetOf(ip netip.Addr) *Subnet {
	for _, sub := range n.Subnets {
		if sub.Range.IsValid() && sub.Range.Contains(ip) {
			return sub
		}
	}
	return nil
}

// subnetFor returns the first subnet for an instance in az.
func (n *Network) subnetFor(az string) *Subnet {
	for _, sub := range n.Subnets {
		if sub.serves(az) {
			return sub
		}
	}
	return nil
}

// serves says whether an instance in az may be on the subnet; an instance without a zone may be on any.
func (sub *Subnet) serves(az string) bool { return az == "" || slices.Contains(sub.AZs, az) }

// Contains says whether ip is in the subnet and may be given to an instance.
func (sub *Subnet) reservable(ip netip.Addr) bool {
	return sub.Range.Contains(ip) && !sub.reserved.contains(ip)
}
