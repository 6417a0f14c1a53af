package pools

import (
	"slices"

	"github.com/serviceforge/serviceforge"
)

// Set is an immutable set of pools.
type Set struct {
	pools []Pool
}

// NewSet makes a set; the order is the order of preference. Errors: Invalid
// when names repeat or nothing is given.
func NewSet(pools ...Pool) (*Set, error) {
	if len(pools) == 0 {
		return nil, serviceforge.Errorf(serviceforge.Invalid, "no infrastructure pool is configured")
	}
	seen := make(map[string]bool)
	for _, p := range pools {
		if seen[p.Name] {
			return nil, serviceforge.Errorf(serviceforge.Invalid, "two pools are named %q", p.Name)
		}
		seen[p.Name] = true
	}
	return &Set{pools: slices.Clone(pools)}, nil
}

// All returns the pools in order of preference.
func (s *Set) All() []Pool { return slices.Clone(s.pools) }

// Pool returns the pool of that name. Errors: NotFound.
func (s *Set) Pool(name string) (Pool, error) {
	for _, p := range s.pools {
		if p.Name == name {
			return p, nil
		}
	}
	return Pool{}, serviceforge.Errorf(serviceforge.NotFound, "there is no infrastructure pool %q", name)
}

// ByDirector lists the names of all pools, those that share a director together.
func (s *Set) ByDirector() (groups [][]string) {
	at := map[string]int{}
	for _, p := range s.pools {
		n, known := at[p.Director.URL]
		if p.Director.URL == "" || !known {
			at[p.Director.URL] = len(groups)
			groups = append(groups, []string{p.Name})
			continue
		}
		groups[n] = append(groups[n], p.Name)
	}
	return groups
}
