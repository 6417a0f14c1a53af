package orchestrator

import (
	"slices"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/store"
)

// pollingPart is how much of a platform's maximum polling duration an operation
// may take, whatever it waits for: the rest is for telling how it ended.
const pollingPart = 0.9

// overdue says whether an operation has had its time. The clock stands still
// while the engine is paused or the breaker of its pool is open, but never beyond 90 % of the time that
// the platform polls.
func (l *leader) overdue(i *serviceforge.Instance) bool {
	deadline, polled := DefaultDeadline, time.Duration(0)
	if _, plan, err := l.Catalog.Plan(i.ServiceID, i.PlanID); err == nil {
		polled = plan.MaximumPollingDuration
		if plan.Deadline > 0 {
			deadline = plan.Deadline
		}
	}
	taken := l.Now().Sub(i.Operation.StartedAt)
	if polled > 0 && taken > time.Duration(pollingPart*float64(polled)) {
		return true
	}
	stalls := slices.Clone(l.gate.stalls())
	if p := l.pollers[i.Pool]; p != nil {
		stalls = append(stalls, p.breaker.stalls()...)
	}
	return taken-stalled(i.Operation.StartedAt, stalls) > deadline
}

// stalled adds up the stalls since a time, where they overlap only once.
func stalled(since time.Time, stalls []store.Stall) (sum time.Duration) {
	slices.SortFunc(stalls, func(a, b store.Stall) int { return a.From.Compare(b.From) })
	for _, s := range stalls {
		if s.From.Before(since) {
			s.From = since
		}
		if s.To.After(s.From) {
			sum += s.To.Sub(s.From)
			since = s.To
		}
	}
	return sum
}
