package pools

import (
	"slices"
	"strings"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/catalog"
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

// Place chooses the pool for a new instance of the plan: the first active one
// that the plan allows and that has what the plan needs. Errors: Exhausted,
// with the reason of each pool as its cause.
func (s *Set) Place(plan catalog.Plan) (Pool, error) {
	var reasons []string
	for _, p := range s.pools {
		reason := p.unfit(plan)
		if reason == "" {
			return p, nil
		}
		reasons = append(reasons, p.Name+" "+reason)
	}
	cause := serviceforge.Errorf(serviceforge.Exhausted, "%s", strings.Join(reasons, "; "))
	return Pool{}, serviceforge.Wrap(cause, serviceforge.Exhausted, "no infrastructure pool can take plan %s now", plan.Name)
}

// unfit says why the pool cannot take the plan, or "".
func (p Pool) unfit(plan catalog.Plan) string {
	switch {
	case len(plan.Pools) > 0 && !slices.Contains(plan.Pools, p.Name):
		return "is not among the plan's pools"
	case p.State != Active:
		return "is " + string(p.State)
	}
	for _, need := range []struct {
		what  string
		words []string
		has   map[string]string
	}{
		{"vm type", plan.Needs.VMTypes, p.VMTypes},
		{"disk type", plan.Needs.DiskTypes, p.DiskTypes},
		{"stemcell", plan.Needs.Stemcells, p.Stemcells},
	} {
		for _, word := range need.words {
			if need.has[word] == "" {
				return "has no " + need.what + " " + word
			}
		}
	}
	return ""
}
