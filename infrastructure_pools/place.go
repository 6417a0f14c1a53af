package pools

import (
	"cmp"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/catalog"
)

// Wish is a new instance that needs a pool.
type Wish struct {
	Plan  catalog.Plan
	Named string   // the pool that the request names; "" = none
	Not   []string // pools that had no room for this instance
	// Ready are the pools whose directors have what it is made of; nil = all.
	Ready []string
	// Ahead is how many instances of the plan wait to be placed before this one.
	Ahead int
}

// Use is what is known of a pool at the moment.
type Use struct {
	Instances int   // placed there, whatever their state
	OfPlan    int   // those of the wish's plan
	State     State // set by an operator; "" = the pool file's
	Open      bool  // its breaker: new work would wait there
}

// Candidates returns the pools that can take the wish, the best one first: the
// plan's rule allows them, they are active, have what the plan needs, and have
// room. Those whose breaker is open come last, whatever the rule. Errors: Invalid (the named pool is not one of the plan's), Exhausted,
// with the reason of each pool as its cause.
func (s *Set) Candidates(w Wish, use func(pool string) Use) ([]Pool, error) {
	if err := s.mayName(w); err != nil {
		return nil, err
	}
	var fit []Pool
	var reasons []string
	uses := make(map[string]Use)
	room, unlimited := 0, false
	for _, p := range s.pools {
		u := use(p.Name)
		if reason := p.unfit(w, u); reason != "" {
			reasons = append(reasons, p.Name+" "+reason)
			continue
		}
		fit, uses[p.Name] = append(fit, p), u
		room += p.Size() - u.Instances
		unlimited = unlimited || !p.Limited()
	}
	if len(fit) > 0 && !unlimited && room <= w.Ahead {
		fit, reasons = nil, append(reasons, "those that wait take the last room")
	}
	if len(fit) == 0 {
		cause := serviceforge.Errorf(serviceforge.Exhausted, "%s", strings.Join(reasons, "; "))
		return nil, serviceforge.Wrap(cause, serviceforge.Exhausted, "no infrastructure pool can take plan %s now%s", w.Plan.Name, s.advice(w.Plan))
	}
	slices.SortStableFunc(fit, func(a, b Pool) int { return before(w.Plan.Pools, a, b, uses) })
	return fit, nil
}

// advice is what whoever orders is told of why, which else only operators are:
// what to do about programs that this machine lacks, and that it is for ever.
func (s *Set) advice(plan catalog.Plan) string {
	for _, p := range s.pools {
		if missing := p.missing(plan); p.Local && missing != "" {
			return ": pool " + p.Name + " " + missing
		}
	}
	if plan.Needs.Reach && !slices.ContainsFunc(s.pools, func(p Pool) bool { return p.Reachable && plan.Pools.Allows(p.Name, p.Tags) }) {
		return ": none of its pools is " + unreached
	}
	return ""
}

// mayName checks the pool that a request names.
func (s *Set) mayName(w Wish) error {
	if w.Named == "" {
		return nil
	}
	p, err := s.Pool(w.Named)
	if err != nil || !w.Plan.Pools.Parameter || !w.Plan.Pools.Allows(p.Name, p.Tags) {
		return serviceforge.Errorf(serviceforge.Invalid, "parameter %s: plan %s has no infrastructure pool %q", catalog.PoolParameter, w.Plan.Name, w.Named)
	}
	return nil
}

// unfit says why the pool cannot take the wish, or "".
func (p *Pool) unfit(w Wish, u Use) string {
	state := p.State
	if u.State != "" {
		state = u.State
	}
	switch {
	case w.Named != "" && w.Named != p.Name:
		return "is not the one that is asked for"
	case !w.Plan.Pools.Allows(p.Name, p.Tags):
		return "is not among the plan's pools"
	case slices.Contains(w.Not, p.Name):
		return "was tried"
	case w.Ready != nil && !slices.Contains(w.Ready, p.Name):
		return "has not got what the service release needs (serviceforge pools sync)"
	case state != Active:
		return "is " + string(state)
	case p.Limited() && u.Instances >= p.Size():
		return "is full"
	}
	return p.lacks(w.Plan)
}

// Refuses says why an instance that the pool has cannot get the plan, or "":
// the plan's rule does not allow the pool, or it lacks what the plan needs.
func (p *Pool) Refuses(plan catalog.Plan) string {
	if !plan.Pools.Allows(p.Name, p.Tags) {
		return "is not among the plan's pools"
	}
	return p.lacks(plan)
}

// lacks says what the pool does not have of what the plan needs, or "".
func (p *Pool) lacks(plan catalog.Plan) string {
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
	for _, os := range slices.Sorted(maps.Keys(plan.Needs.Compiled)) {
		if has, want := p.Stemcells[os], plan.Needs.Compiled[os]; has != want {
			return "has the stemcell " + os + "/" + has + ", and a BOSH release is compiled for " + want
		}
	}
	if plan.Pools.Director != "" && strings.TrimSuffix(p.Director.URL, "/") != plan.Pools.Director {
		return "has another director than the service's bosh_target"
	}
	if plan.Needs.Reach && !p.Reachable {
		return "is not " + unreached
	}
	return p.missing(plan)
}

// unreached is what a pool is not whose VMs the broker cannot connect to.
const unreached = "reachable from the broker, which has to make the plan's users or to ask its service"

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// missing says which program the plan needs and VMs of the pool would not
// have, or "". A director that is elsewhere makes VMs of stemcells, which hold
// no servers.
func (p *Pool) missing(plan catalog.Plan) string {
	for _, path := range slices.Sorted(maps.Keys(plan.Needs.Programs)) {
		if !p.Local {
			return "has no " + path + " in its VMs: the service release must bring it in its BOSH release (see its README)"
		}
		if found, _ := filepath.Glob(path); !slices.ContainsFunc(found, isFile) {
			return "has no " + path + ": install it on this machine with apt-get install " + plan.Needs.Programs[path]
		}
	}
	return ""
}

// before orders two pools by a plan's rule; equal ones stay as they are.
func before(rule catalog.PoolRule, a, b Pool, uses map[string]Use) int {
	switch {
	case uses[a.Name].Open && !uses[b.Name].Open:
		return 1
	case uses[b.Name].Open && !uses[a.Name].Open:
		return -1
	}
	byName := cmp.Compare(slices.Index(rule.Names, a.Name), slices.Index(rule.Names, b.Name))
	switch rule.Choose {
	case catalog.InOrder:
		return byName
	case catalog.Spread:
		return cmp.Or(cmp.Compare(uses[a.Name].OfPlan, uses[b.Name].OfPlan), byLoad(a, b, uses), byName)
	}
	return cmp.Or(byLoad(a, b, uses), byName)
}

// byLoad compares instances per weight; a pool of no weight comes last.
func byLoad(a, b Pool, uses map[string]Use) int {
	if (a.Weight == 0) != (b.Weight == 0) {
		return cmp.Compare(b.Weight, a.Weight)
	}
	if a.Weight == 0 {
		return cmp.Compare(uses[a.Name].Instances, uses[b.Name].Instances)
	}
	return cmp.Compare(uses[a.Name].Instances*b.Weight, uses[b.Name].Instances*a.Weight)
}
