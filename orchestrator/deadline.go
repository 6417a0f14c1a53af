package orchestrator

import (
	"context"
	"slices"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/store"
)

// closest bounds how soon a deadline is looked at again, and farthest how late:
// a clock that stood still may have been set right meanwhile.
const (
	closest  = time.Second
	farthest = 10 * time.Minute
)

// limits are how long an operation of the instance may take: from its first
// turn on, and as long as the platform polls (0 = not known).
func (l *leader) limits(i *serviceforge.Instance) (deadline, polled time.Duration) {
	deadline = DefaultDeadline
	if plan, err := l.Shelf.PlanOf(i); err == nil {
		polled = plan.Patience()
		if plan.Deadline > 0 {
			deadline = plan.Deadline
		}
	}
	return deadline, polled
}

// timeLeft is how long the operation may still take; 0 or less: it has had its
// time. The clock begins with its first turn at the director, and stands still
// while the engine is paused, or the pool closed or its breaker open, but never
// beyond 90 % of the time that the platform polls.
func (l *leader) timeLeft(i *serviceforge.Instance) time.Duration {
	deadline, polled := l.limits(i)
	begun := i.Operation.StartedAt
	if !i.Operation.BegunAt.IsZero() {
		begun = i.Operation.BegunAt
	}
	stalls := slices.Clone(l.gate.Stalls())
	if p := l.dispatchers[i.Pool]; p != nil {
		stalls = append(stalls, p.Breaker.Stalls()...)
		stalls = append(stalls, closures(l.Store.PoolMarks()[i.Pool], l.Now())...)
	}
	left := deadline - (l.Now().Sub(begun) - store.Stalled(begun, stalls))
	if polled > 0 {
		left = min(left, polled-l.Now().Sub(i.Operation.StartedAt))
	}
	return left
}

// overdue says whether an operation has had its time.
func (l *leader) overdue(i *serviceforge.Instance) bool { return l.timeLeft(i) <= 0 }

// untilDue waits for news, and for the operation's time to be over.
func (l *leader) untilDue(i *serviceforge.Instance) next {
	return l.until(i, l.timeLeft(i))
}

// until waits for news of the instance's task, at most for a time.
func (l *leader) until(i *serviceforge.Instance, left time.Duration) next {
	if p := l.dispatchers[i.Pool]; p != nil {
		p.DueAt(i.ID, l.Now().Add(left))
	}
	return later(min(max(left, closest), farthest))
}

// inLine waits for the operation's turn: as long as the platform polls, and
// without end where that is not known, for the line moves on.
func (l *leader) inLine(ctx context.Context, i *serviceforge.Instance) (next, error) {
	if !i.Operation.BegunAt.IsZero() {
		if l.overdue(i) {
			return goOn, l.fail(ctx, i, "It took too long", i.Operation.Cause)
		}
		return l.untilDue(i), nil
	}
	left, limited := l.patience(i.Release, i.ServiceID, i.PlanID, i.Operation.StartedAt)
	switch {
	case !limited:
		return untilWoken, nil
	case left <= 0:
		return goOn, l.fail(ctx, i, "No worker of the director was free in time", "it waited in the line of the pool until the platform would have given up")
	}
	return later(max(left, closest)), nil
}

// patience is how long the platform still waits for an operation; false = that
// is not known.
func (l *leader) patience(release, serviceID, planID string, started time.Time) (time.Duration, bool) {
	_, polled := l.limits(&serviceforge.Instance{Release: release, ServiceID: serviceID, PlanID: planID})
	return polled - l.Now().Sub(started), polled > 0
}
