package cmd

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/serviceforge/serviceforge"
	pools "github.com/serviceforge/serviceforge/infrastructure_pools"
)

// trialPools writes pool files for the plans into dir: the local director under
// each name that their rules know, with all tags and sizes that they ask for.
func trialPools(dir string, plans []tried) (files []string, err error) {
	local, err := pools.Local()
	if err != nil {
		return nil, err
	}
	names, tags := map[string]bool{}, map[string]string{}
	for _, p := range plans {
		for _, plan := range p.both() {
			for _, name := range plan.Pools.Names {
				names[name] = true
			}
			maps.Copy(tags, plan.Pools.Match)
			for _, size := range plan.Needs.VMTypes {
				sized(local.VMTypes, size)
			}
			for _, size := range plan.Needs.DiskTypes {
				sized(local.DiskTypes, size)
			}
		}
	}
	if len(names) == 0 {
		names[local.Name] = true
	}
	stub := "\nstub:\n  " + strings.ReplaceAll(strings.TrimSpace(string(local.Stub)), "\n", "\n  ") + "\n"
	for _, name := range slices.Sorted(maps.Keys(names)) {
		text, err := json.Marshal(map[string]any{ // JSON is YAML
			"name": name, "azs": local.AZs, "network": local.Network, "vm_types": local.VMTypes, "disk_types": local.DiskTypes,
			"stemcells": local.Stemcells, "tags": tags, "max_in_flight": local.MaxInFlight,
		})
		path := filepath.Join(dir, fmt.Sprintf("pool-%d.yml", len(files)))
		if err == nil {
			err = os.WriteFile(path, []byte("pool: "+string(text)+stub), 0o600)
		}
		if err != nil {
			return nil, serviceforge.Wrap(err, serviceforge.Internal, "no pool file can be written: %v", reason(err))
		}
		files = append(files, path)
	}
	return files, nil
}

// sized lets a size mean the smallest one, unless the pool knows it.
func sized(types map[string]string, size string) {
	if types[size] == "" {
		types[size] = "small"
	}
}
