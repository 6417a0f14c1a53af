package orchestrator

import (
	"time"

	"github.com/serviceforge/serviceforge"
)

// pollingPart is how much of a platform's maximum polling duration an operation
// may take, whatever it waits for: the rest is for telling how it ended.
const pollingPart = 0.9

// overdue says whether an operation has had its time. The clock stands still
// while the breaker of its pool is open, but never beyond 90 % of the time that
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
	if p := l.pollers[i.Pool]; p != nil {
		taken -= p.breaker.stalled(i.Operation.StartedAt)
	}
	return taken > deadline
}
