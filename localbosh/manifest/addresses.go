package manifest

import (
	"net/netip"
	"strings"

	"github.com/serviceforge/serviceforge/localbosh/bosherr"
)

// addrRange is an inclusive range of addresses of one family.
type addrRange struct{ from, to netip.Addr }

func (r addrRange) contains(ip netip.Addr) bool {
	return r.from.Compare(ip) <= 0 && ip.Compare(r.to) <= 0
}

// outside returns the first end of r that is not in p.
func (r addrRange) outside(p netip.Prefix) netip.Addr {
	if !p.Contains(r.from) {
		return r.from
	}
	return r.to
}

// addrSet is a set of addresses kept as ranges.
type addrSet struct{ ranges []addrRange }

func (s *addrSet) add(from, to netip.Addr) { s.ranges = append(s.ranges, addrRange{from, to}) }

func (s *addrSet) contains(ip netip.Addr) bool {
	_, ok := s.endOf(ip)
	return ok
}

// endOf returns the last address of the furthest range that holds ip.
func (s *addrSet) endOf(ip netip.Addr) (end netip.Addr, ok bool) {
	for _, r := range s.ranges {
		if r.contains(ip) && (!ok || end.Less(r.to)) {
			end, ok = r.to, true
		}
	}
	return end, ok
}

// firstIn returns an address that is in both s and r.
func (s *addrSet) firstIn(r addrRange) (netip.Addr, bool) {
	for _, o := range s.ranges {
		if o.from.Compare(r.to) <= 0 && r.from.Compare(o.to) <= 0 {
			if o.from.Less(r.from) {
				return r.from, true
			}
			return o.from, true
		}
	}
	return netip.Addr{}, false
}

// parseIPRanges reads "a", "a - b" and CIDRs, one or a list of them.
func parseIPRanges(s *spec, v any) []addrRange {
	var texts []string
	switch v := v.(type) {
	case nil:
	case string:
		texts = []string{v}
	case []any:
		for _, e := range v {
			texts = append(texts, rubyString(e))
		}
	default:
		texts = []string{rubyString(v)}
	}
	var out []addrRange
	for _, t := range texts {
		r, ok := parseIPRange(t)
		if !ok {
			s.fail(bosherr.NetworkInvalidIPRangeFormat, "Invalid IP or CIDR format: %s", t)
			return nil
		}
		out = append(out, r)
	}
	return out
}

func parseIPRange(t string) (addrRange, bool) {
	if strings.Contains(t, "/") && !strings.Contains(t, "-") {
		p, err := netip.ParsePrefix(strings.TrimSpace(t))
		if err != nil {
			return addrRange{}, false
		}
		p = p.Masked()
		return addrRange{p.Addr(), lastAddr(p)}, true
	}
	a, b, isRange := strings.Cut(t, "-")
	from, err := netip.ParseAddr(strings.TrimSpace(a))
	if err != nil {
		return addrRange{}, false
	}
	if !isRange {
		return addrRange{from, from}, true
	}
	to, err := netip.ParseAddr(strings.TrimSpace(b))
	if err != nil || to.BitLen() != from.BitLen() || to.Less(from) {
		return addrRange{}, false
	}
	return addrRange{from, to}, true
}

// lastAddr is the highest address of p, the broadcast address of IPv4.
func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// canonical is a name as DNS and the director compare it.
func canonical(name string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(name) {
		switch {
		case r == '_':
			b.WriteByte('-')
		case r == '-', '0' <= r && r <= '9', 'a' <= r && r <= 'z':
			b.WriteRune(r)
		}
	}
	return b.String()
}
