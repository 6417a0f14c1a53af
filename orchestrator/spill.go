package orchestrator

import (
	"context"
	"slices"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator/director"
	"github.com/serviceforge/serviceforge/orchestrator/dispatch"
	"github.com/serviceforge/serviceforge/orchestrator/ownership"
	"github.com/serviceforge/serviceforge/orchestrator/verdict"
)

// maxSpills is how often a create may leave a pool for another one (DESIGN §4).
const maxSpills = 2

// maySpill says whether a create whose task failed may go to another pool: for
// want of room, before any VM ran, at most twice, and where the plan allows
// another pool that can take it now. A request that names its pool stays there.
func (l *leader) maySpill(ctx context.Context, i *serviceforge.Instance, d director.Director, why verdict.Verdict) (bool, error) {
	if !why.NoRoom() || len(i.Operation.Tried) >= maxSpills {
		return false, nil
	}
	plan, err := l.Shelf.PlanOf(i)
	if err != nil {
		return false, err
	}
	w, err := l.wishFor(i.Release, plan, i.Parameters.Reveal())
	if err != nil || w.Named != "" {
		return false, err
	}
	w.Not = append(slices.Clone(i.Operation.Tried), i.Pool)
	if _, err := l.candidates(w, l.Store.PoolMarks()); err != nil {
		return false, nil
	}
	ran, err := d.VMs(ctx, i.Deployment)
	if serviceforge.CodeOf(err) == serviceforge.NotFound {
		return true, nil
	}
	return err == nil && ran == 0, err
}

// leave stores that the deployment in this pool is to be deleted before another
// pool is chosen: two deployments of one instance never stand side by side.
func (l *leader) leave(ctx context.Context, i *serviceforge.Instance, cause string) (next, error) {
	l.Log.Warn("a pool has no room; another one is tried", "instance", i.ID, "pool", i.Pool, "cause", cause)
	o := &i.Operation
	o.Attempt++
	o.Step, o.Repeats, o.Cause = serviceforge.Leaving, 0, serviceforge.Cut("pool "+i.Pool+": "+cause)
	o.Intent = serviceforge.Intent{ContextID: contextID(o, "leave"), Verb: serviceforge.VerbDelete, Term: l.term}
	return goOn, l.put(ctx, i)
}

// leaving has the deployment deleted, as a deprovision would, and then frees
// the instance from its pool.
func (l *leader) leaving(ctx context.Context, i *serviceforge.Instance) (next, error) {
	p, err := l.dispatcher(i.Pool)
	if err != nil {
		return goOn, err
	}
	switch intent := &i.Operation.Intent; {
	case intent.Term == 0: // a request made it, not a leader
		intent.Term = l.term
		return goOn, l.put(ctx, i)
	case intent.Task == 0:
		return l.postLeave(ctx, i, p)
	}
	task, err := p.Task(i.ID, &i.Operation.Intent)
	forgotten := serviceforge.CodeOf(err) == serviceforge.NotFound
	switch {
	case err != nil && !forgotten:
		return goOn, err
	case !forgotten && task.Running() && !l.overdue(i):
		return l.untilDue(i), nil
	case !forgotten && task.State == director.TaskDone:
		return l.elsewhere(ctx, i)
	case l.overdue(i):
		return goOn, l.fail(ctx, i, "The deployment took too long", i.Operation.Cause)
	}
	i.Operation.Attempt++
	i.Operation.Intent = serviceforge.Intent{ContextID: contextID(&i.Operation, "leave"), Verb: i.Operation.Intent.Verb, Term: l.term}
	return goOn, l.postpone(ctx, i, i.Operation.Cause)
}

// postLeave asks the director for the deletion, unless it was asked already.
func (l *leader) postLeave(ctx context.Context, i *serviceforge.Instance, p *dispatch.Dispatcher) (next, error) {
	task, found, wait, err := l.find(ctx, p.Director, &i.Operation.Intent)
	switch {
	case err != nil:
		return goOn, err
	case wait > 0:
		return later(wait), nil
	case !found:
		whose, err := ownership.Of(ctx, l.Store, p.Director, i)
		switch {
		case err != nil:
			return goOn, err
		case whose == ownership.Nobody:
			return l.elsewhere(ctx, i)
		case whose != ownership.Ours && whose != ownership.Earlier:
			return goOn, serviceforge.Errorf(serviceforge.Unprocessable, "the deployment %s is not this broker's any more", i.Deployment)
		}
		sending, cancel := context.WithTimeout(ctx, l.PostTimeout)
		defer cancel()
		if task, err = p.Director.Delete(sending, i.Deployment, i.Operation.Intent.ContextID); serviceforge.CodeOf(err) == serviceforge.NotFound {
			return l.elsewhere(ctx, i)
		}
		if err != nil {
			return goOn, err
		}
	}
	return l.asked(ctx, i, p, task)
}

// elsewhere begins anew, in any pool but those that had no room. The write gives
// the claim back.
func (l *leader) elsewhere(ctx context.Context, i *serviceforge.Instance) (next, error) {
	if i.Operation.Intent.Verb != serviceforge.VerbReset { // that pool had room
		i.Operation.Tried = append(i.Operation.Tried, i.Pool)
	}
	i.Operation.Attempt++
	unplace(i)
	i.State = serviceforge.Initialized
	i.Operation.Step = serviceforge.Accepted
	return goOn, l.put(ctx, i)
}
