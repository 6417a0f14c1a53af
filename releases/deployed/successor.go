package deployed

import (
	"maps"
	"slices"

	"gopkg.in/yaml.v3"

	"github.com/serviceforge/serviceforge"
)

// group is what of an instance group decides about its disks.
type group struct {
	Name      string   `yaml:"name"`
	Instances int      `yaml:"instances"`
	AZs       []string `yaml:"azs"`
	Networks  []struct {
		Name string `yaml:"name"`
	} `yaml:"networks"`
	Disk         int    `yaml:"persistent_disk"` // MB
	DiskType     string `yaml:"persistent_disk_type"`
	DiskPool     string `yaml:"persistent_disk_pool"` // the old word for it
	Disks        []any  `yaml:"persistent_disks"`
	MigratedFrom []struct {
		Name string `yaml:"name"`
	} `yaml:"migrated_from"`
}

func (g *group) diskType() string {
	if g.DiskType != "" {
		return g.DiskType
	}
	return g.DiskPool
}

func (g *group) keepsData() bool { return g.Disk > 0 || g.diskType() != "" || len(g.Disks) > 0 }

func (g *group) networks() (names []string) {
	for _, n := range g.Networks {
		names = append(names, n.Name)
	}
	slices.Sort(names)
	return names
}

// CheckSuccessor says whether a manifest may take the place of one that is
// deployed: no instance with a persistent disk may go, get a smaller disk or
// none, or move to other availability zones or networks, where it would begin
// with an empty one (a director does all of that without a word). sizes tells
// the sizes of disk types in MB; it is asked only where a type changes. Errors:
// Unprocessable with the group and what is wrong, Internal, those of sizes.
func CheckSuccessor(before, after []byte, sizes func() (map[string]int, error)) error {
	old, err := groupsOf(before)
	if err != nil {
		return err
	}
	fresh, err := groupsOf(after)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(old)) {
		g := old[name]
		if !g.keepsData() || g.Instances == 0 {
			continue
		}
		if err := g.mayBecome(heir(fresh, name), sizes); err != nil {
			return err
		}
	}
	return nil
}

func groupsOf(manifest []byte) (map[string]*group, error) {
	var m struct {
		Groups []*group `yaml:"instance_groups"`
	}
	if err := yaml.Unmarshal(manifest, &m); err != nil {
		return nil, serviceforge.Wrap(err, serviceforge.Internal, "a manifest cannot be read")
	}
	groups := make(map[string]*group, len(m.Groups))
	for _, g := range m.Groups {
		groups[g.Name] = g
	}
	return groups, nil
}

// heir is the group that takes over the instances of one; nil = none does.
func heir(groups map[string]*group, name string) *group {
	if g := groups[name]; g != nil {
		return g
	}
	for _, g := range groups {
		for _, from := range g.MigratedFrom {
			if from.Name == name {
				return g
			}
		}
	}
	return nil
}

func (g *group) mayBecome(to *group, sizes func() (map[string]int, error)) error {
	refused := func(format string, args ...any) error {
		return serviceforge.Errorf(serviceforge.Unprocessable, "instance group "+g.Name+" keeps data: "+format, args...)
	}
	switch {
	case to == nil:
		return refused("it must not go")
	case to.Instances < g.Instances:
		return refused("%d instances must not become %d", g.Instances, to.Instances)
	case !to.keepsData():
		return refused("it must not lose its persistent disk")
	case !slices.Equal(sorted(g.AZs), sorted(to.AZs)):
		return refused("it must not move from zones %v to %v", g.AZs, to.AZs)
	case !slices.Equal(g.networks(), to.networks()):
		return refused("it must not move from networks %v to %v", g.networks(), to.networks())
	case len(g.Disks) > len(to.Disks):
		return refused("%d persistent disks must not become %d", len(g.Disks), len(to.Disks))
	case g.Disk == to.Disk && g.diskType() == to.diskType():
		return nil
	case g.diskType() == "" && to.diskType() == "" && to.Disk > g.Disk:
		return nil
	}
	known, err := sizes()
	if err != nil {
		return err
	}
	from, into := g.size(known), to.size(known)
	switch {
	case from == 0 || into == 0:
		return refused("how large disk types %q and %q are is not known: let the client read the cloud config", g.diskType(), to.diskType())
	case into < from:
		return refused("its disk must not shrink from %d MB to %d MB", from, into)
	}
	return nil
}

// size is the persistent disk's in MB; 0 = not known.
func (g *group) size(types map[string]int) int {
	if g.Disk > 0 {
		return g.Disk
	}
	return types[g.diskType()]
}

func sorted(names []string) []string { return slices.Sorted(slices.Values(names)) }
