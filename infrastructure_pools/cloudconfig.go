package pools

import (
	"maps"
	"slices"

	"gopkg.in/yaml.v3"

	"github.com/serviceforge/serviceforge"
)

// CloudConfig holds the names in a director's cloud config.
type CloudConfig struct {
	AZs, Networks, VMTypes, DiskTypes, VMExtensions map[string]bool
	DiskSizes                                       map[string]int  // MB, by disk type
	Dynamic                                         map[string]bool // networks that are no manual ones
}

// ParseCloudConfig reads the names of several cloud configs, which a director
// puts together. Errors: Invalid.
func ParseCloudConfig(documents ...[]byte) (CloudConfig, error) {
	c := CloudConfig{map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]int{}, map[string]bool{}}
	type named struct {
		Name string `yaml:"name"`
		Size int    `yaml:"disk_size"` // of a disk type
		Type string `yaml:"type"`      // of a network; "" = manual
	}
	for _, document := range documents {
		var f struct {
			AZs          []named `yaml:"azs"`
			Networks     []named `yaml:"networks"`
			VMTypes      []named `yaml:"vm_types"`
			DiskTypes    []named `yaml:"disk_types"`
			VMExtensions []named `yaml:"vm_extensions"`
		}
		if err := yaml.Unmarshal(document, &f); err != nil {
			return c, serviceforge.Wrap(err, serviceforge.Invalid, "the cloud config is not understood: %s", reason(err))
		}
		for _, n := range f.Networks {
			c.Dynamic[n.Name] = n.Type != "" && n.Type != "manual"
		}
		for _, d := range f.DiskTypes {
			c.DiskSizes[d.Name] = d.Size
		}
		for _, list := range []struct {
			from []named
			to   map[string]bool
		}{{f.AZs, c.AZs}, {f.Networks, c.Networks}, {f.VMTypes, c.VMTypes}, {f.DiskTypes, c.DiskTypes}, {f.VMExtensions, c.VMExtensions}} {
			for _, n := range list.from {
				list.to[n.Name] = true
			}
		}
	}
	return c, nil
}

// Missing lists what the pool names and the cloud config does not have, e.g.
// "vm type t3.small".
func (p *Pool) Missing(c CloudConfig) []string {
	var missing []string
	for _, need := range []struct {
		what  string
		names []string
		has   map[string]bool
	}{
		{"az", p.AZs, c.AZs},
		{"network", []string{p.Network}, c.Networks},
		{"vm type", slices.Sorted(maps.Values(p.VMTypes)), c.VMTypes},
		{"disk type", slices.Sorted(maps.Values(p.DiskTypes)), c.DiskTypes},
		{"vm extension", p.VMExtensions, c.VMExtensions},
	} {
		for _, name := range slices.Compact(need.names) {
			if !need.has[name] {
				missing = append(missing, need.what+" "+name)
			}
		}
	}
	return missing
}
