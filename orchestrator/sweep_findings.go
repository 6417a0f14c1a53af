package orchestrator

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/store"
)

// The kinds of findings.
const (
	gone       = "deployment gone"    // the director does not list it
	vmMissing  = "vm missing"         // the director expects a VM and has none
	silent     = "service silent"     // the service does not answer us
	stale      = "bindings stale"     // made before the addresses moved
	slotUnheld = "slot without owner" // the instance that claims it is no more
	orphaned   = "orphan"             // what a deleted instance has left
)

// ofTheDead says that a finding is about an instance that is no more.
func ofTheDead(f *store.Finding) bool { return f.Kind == slotUnheld || f.Kind == orphaned }

// finding is a kind and what is said of it.
type finding struct{ kind, says string }

// found notes what there is to say of an instance, in place of what was said
// before, unless the record changed meanwhile.
func (s *sweeper) found(ctx context.Context, i *store.Summary, findings ...finding) {
	if now, found, _ := s.Store.Summary(i.ID); !found || now.Revision != i.Revision {
		return
	}
	fresh := make([]store.Finding, 0, len(findings))
	for _, f := range findings {
		fresh = append(fresh, store.Finding{Kind: f.kind, Pool: i.Pool, Instance: i.ID, Deployment: i.Deployment, Says: f.says})
	}
	s.replace(ctx, func(f *store.Finding) bool { return !ofTheDead(f) && f.Instance == i.ID }, fresh)
}

// forget drops findings about instances that are not there any more.
func (s *sweeper) forget(mine []store.Summary) {
	there := map[string]bool{}
	for _, i := range mine {
		there[i.ID] = true
	}
	s.known.Findings = slices.DeleteFunc(s.known.Findings, func(f store.Finding) bool { return !ofTheDead(&f) && !there[f.Instance] })
}

// replace puts fresh findings in the place of old ones, tells what is new in
// the log, and stores all of them if anything changed.
func (s *sweeper) replace(ctx context.Context, old func(*store.Finding) bool, fresh []store.Finding) {
	before := map[store.Finding]time.Time{} // what is said -> since when
	kept := make([]store.Finding, 0, len(s.known.Findings)+len(fresh))
	for _, f := range s.known.Findings {
		if !old(&f) {
			kept = append(kept, f)
			continue
		}
		since := f.Since
		f.Since = time.Time{}
		before[f] = since
	}
	same := len(before) == len(fresh)
	for _, f := range fresh {
		since, known := before[f]
		if !known {
			same, since = false, s.Now().UTC()
			s.Log.Warn("a sweep found something", "kind", f.Kind, "pool", f.Pool, "instance", f.Instance,
				"deployment", f.Deployment, "slot", f.Slot, "says", f.Says)
		}
		f.Since = since
		kept = append(kept, f)
	}
	if same {
		return
	}
	s.known.Findings = kept
	s.keep(ctx)
}

// keep stores what is known; an error only means that it is told later.
func (s *sweeper) keep(ctx context.Context) {
	slices.SortFunc(s.known.Findings, func(a, b store.Finding) int { return a.Since.Compare(b.Since) })
	if err := s.Store.PutSweep(ctx, s.known, s.term); err != nil && ctx.Err() == nil {
		s.Log.Warn("what a sweep found was not stored", "pool", s.known.Pool, "error", serviceforge.DetailOf(err))
	}
}

// Sweeps tells what the leader found when it looked through each director, by
// the first of its pools; the same on every replica. Errors: Unavailable.
func (e *Engine) Sweeps(ctx context.Context) ([]store.Sweep, error) {
	all, err := e.Store.Sweeps(ctx)
	if err != nil {
		return nil, err
	}
	for _, group := range e.Pools.ByDirector() {
		if _, ok := all[group[0]]; !ok {
			all[group[0]] = store.Sweep{Pool: group[0]} // not looked at yet
		}
	}
	sweeps := make([]store.Sweep, 0, len(all))
	for _, pool := range slices.Sorted(maps.Keys(all)) {
		sweeps = append(sweeps, all[pool])
	}
	return sweeps, nil
}

// findingsOf are those about one instance.
func (e *Engine) findingsOf(ctx context.Context, id string) (findings []store.Finding, err error) {
	all, err := e.Store.Sweeps(ctx)
	for _, pool := range slices.Sorted(maps.Keys(all)) {
		for _, f := range all[pool].Findings {
			if f.Instance == id {
				findings = append(findings, f)
			}
		}
	}
	return findings, err
}
