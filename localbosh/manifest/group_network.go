package manifest

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/serviceforge/serviceforge/localbosh/bosherr"
)

// Properties of networks for which a group has a default network.
var requiredDefaults = [...]string{"dns", "gateway"}

func (gp *groupParser) parseNetworks() {
	list := gp.list("networks")
	if gp.err == nil && len(list) == 0 {
		gp.fail(bosherr.JobMissingNetwork, "Instance group '%s' must specify at least one network", gp.g.Name)
	}
	for _, v := range list {
		n := gp.parseGroupNetwork(newSpec(v))
		if gp.err != nil {
			return
		}
		gp.g.Networks = append(gp.g.Networks, n)
	}
	gp.checkDefaults()
}

func (gp *groupParser) parseGroupNetwork(e *spec) GroupNetwork {
	n := GroupNetwork{Name: e.str("name"), Default: e.optStrings("default")}
	if gp.adopt(e); gp.err != nil {
		return n
	}
	if v, ok := e.value["static_ips"]; ok && v != nil {
		n.StaticIPs = gp.parseStaticIPs(v)
	}
	network := gp.p.cloud.Network(n.Name)
	if network == nil {
		gp.fail(bosherr.JobUnknownNetwork, "Instance group '%s' references an unknown network '%s'", gp.g.Name, n.Name)
		return n
	}
	if network.Type == DynamicNetwork && e.has("static_ips") {
		gp.fail(bosherr.JobStaticIPNotSupportedOnDynamic, "Instance group '%s' using dynamic network '%s' cannot specify static IP(s)", gp.g.Name, n.Name)
	}
	return n
}

// Static addresses a group may name; a range larger than this is a mistake, not a wish.
const maxStaticIPs = 65536

func (gp *groupParser) parseStaticIPs(v any) []netip.Addr {
	ips := []netip.Addr{}
	seen := map[netip.Addr]bool{}
	for _, r := range parseIPRanges(gp.spec, v) {
		for ip := r.from; r.contains(ip); ip = ip.Next() {
			if seen[ip] {
				gp.fail(bosherr.JobInvalidStaticIPs, "Instance group '%s' specifies static IP '%s' more than once", gp.g.Name, ip)
			}
			if seen[ip] = true; gp.err != nil || len(ips) >= maxStaticIPs {
				return ips
			}
			ips = append(ips, ip)
		}
	}
	return ips
}

func (gp *groupParser) checkDefaults() {
	g := gp.g
	for _, n := range g.Networks {
		for _, d := range n.Default {
			if d != "dns" && d != "gateway" && d != "addressable" {
				gp.fail(bosherr.JobNetworkInvalidDefault, "Instance group '%s' specified an invalid default network property '%s', valid properties are: dns, gateway", g.Name, d)
			}
		}
	}
	if len(g.Networks) == 1 {
		for _, d := range requiredDefaults {
			if !slices.Contains(g.Networks[0].Default, d) {
				g.Networks[0].Default = append(g.Networks[0].Default, d)
			}
		}
	}
	var multiple, missing []string
	for _, d := range [...]string{"dns", "gateway", "addressable"} {
		var names []string
		for _, n := range g.Networks {
			if slices.Contains(n.Default, d) {
				names = append(names, "'"+n.Name+"'")
			}
		}
		if len(names) > 1 {
			multiple = append(multiple, "'"+d+"' has default networks: "+strings.Join(names, ", ")+".")
		}
		if len(names) == 0 && d != "addressable" {
			missing = append(missing, d)
		}
	}
	if len(multiple) > 0 {
		gp.fail(bosherr.JobNetworkMultipleDefaults, "Instance group '%s' specified more than one network to contain default. %s", g.Name, strings.Join(multiple, " "))
	}
	if len(missing) > 0 {
		gp.fail(bosherr.JobNetworkMissingDefault, "Instance group '%s' must specify which network is default for %s, since it has more than one network configured", g.Name, strings.Join(missing, ", "))
	}
}

// addressNetwork is the network whose address stands for an instance of the group.
func (g *InstanceGroup) addressNetwork() string {
	for _, want := range [...]string{"addressable", "gateway"} {
		for _, n := range g.Networks {
			if slices.Contains(n.Default, want) {
				return n.Name
			}
		}
	}
	return g.Networks[0].Name
}
