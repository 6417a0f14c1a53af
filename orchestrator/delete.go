package orchestrator

import (
	"context"
	"fmt"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator/director"
	"github.com/serviceforge/serviceforge/orchestrator/dispatch"
	"github.com/serviceforge/serviceforge/orchestrator/ownership"
	"github.com/serviceforge/serviceforge/orchestrator/verdict"
	"github.com/serviceforge/serviceforge/releases"
)

func (l *leader) deleteStep(ctx context.Context, i *serviceforge.Instance) (next, error) {
	if i.Pool == "" {
		return goOn, l.bury(ctx, i) // no director ever heard of it
	}
	switch i.Operation.Step {
	case serviceforge.Accepted:
		return l.endSuperseded(ctx, i)
	case serviceforge.Placed:
		return l.intendDelete(ctx, i)
	case serviceforge.Errand:
		return l.errandStep(ctx, i)
	case serviceforge.Rendered:
		return l.submit(ctx, i)
	case serviceforge.Submitted:
		return l.awaitDelete(ctx, i)
	}
	return goOn, serviceforge.Errorf(serviceforge.Internal, "step %q is unknown", i.Operation.Step)
}

// endSuperseded cancels what the operation before this one had asked, and
// waits for its end: a director accepts a delete beside a running deploy and
// fails it on the lock.
func (l *leader) endSuperseded(ctx context.Context, i *serviceforge.Instance) (next, error) {
	p, err := l.dispatcher(i.Pool)
	if err != nil {
		return goOn, err
	}
	old := &i.Operation.Superseded
	if old.Verb == "" {
		return l.advance(ctx, i, serviceforge.Placed)
	}
	if old.Task == 0 {
		task, found, wait, err := l.find(ctx, p.Director, old)
		switch {
		case err != nil:
			return goOn, err
		case wait > 0:
			return later(wait), nil
		case !found:
			return l.advance(ctx, i, serviceforge.Placed)
		}
		old.Task = task
		return goOn, l.put(ctx, i)
	}
	task, err := p.Task(i.ID, old)
	switch {
	case serviceforge.CodeOf(err) == serviceforge.NotFound:
		return l.advance(ctx, i, serviceforge.Placed)
	case err != nil:
		return goOn, err
	case !task.Running():
		return l.advance(ctx, i, serviceforge.Placed)
	case task.State != director.TaskCancelling:
		if err := p.Director.Cancel(ctx, old.Task); err != nil {
			return goOn, err
		}
	}
	return l.untilDue(i), nil
}

// intendDelete makes sure that the deployment is ours, runs the errands that
// come before its end, if it ever stood, and stores the wish to have it deleted.
func (l *leader) intendDelete(ctx context.Context, i *serviceforge.Instance) (next, error) {
	p, err := l.dispatcher(i.Pool)
	if err != nil {
		return goOn, err
	}
	if !p.Admit(i, serviceforge.VerbDelete) {
		return l.inLine(ctx, i)
	}
	whose, err := ownership.Of(ctx, l.Store, p.Director, i)
	switch {
	case err != nil:
		return goOn, err
	case whose == ownership.Nobody:
		return goOn, l.bury(ctx, i)
	case whose != ownership.Ours && i.Secrets.Empty(): // nothing was ever posted for this instance; its tombstone knows an earlier one's orphan
		return goOn, l.bury(ctx, i)
	case whose != ownership.Ours && whose != ownership.Earlier: // both of those were deleted by whoever ordered them
		return goOn, serviceforge.Errorf(serviceforge.Unprocessable, "the deployment %s was not made by this broker for this instance; it is left alone: `serviceforge explain` says what to do", i.Deployment)
	}
	if e, some, err := l.nextErrand(i); err == nil && some && len(i.Facts) > 0 {
		return l.intendErrand(ctx, i, p, e)
	}
	i.Operation.Intent = serviceforge.Intent{ContextID: contextID(&i.Operation, serviceforge.VerbDelete), Verb: serviceforge.VerbDelete, Term: l.term}
	if n, err := l.advance(ctx, i, serviceforge.Rendered); err != nil {
		return n, err
	}
	return l.postDelete(ctx, i, p)
}

func (l *leader) postDelete(ctx context.Context, i *serviceforge.Instance, p *dispatch.Dispatcher) (next, error) {
	n, err := l.post(ctx, i, p, func(ctx context.Context) (int, error) {
		return p.Director.Delete(ctx, i.Deployment, i.Operation.Intent.ContextID)
	})
	if serviceforge.CodeOf(err) == serviceforge.NotFound {
		return goOn, l.bury(ctx, i)
	}
	return n, err
}

func (l *leader) awaitDelete(ctx context.Context, i *serviceforge.Instance) (next, error) {
	p, err := l.dispatcher(i.Pool)
	if err != nil {
		return goOn, err
	}
	task, err := p.Task(i.ID, &i.Operation.Intent)
	forgotten := serviceforge.CodeOf(err) == serviceforge.NotFound
	switch {
	case err != nil && !forgotten:
		return goOn, err
	case !forgotten && task.Running() && l.overdue(i):
		return goOn, l.fail(ctx, i, "The deletion took too long; delete it again", fmt.Sprintf("task %d of the director still runs", task.ID))
	case !forgotten && task.Running():
		return l.untilDue(i), nil
	case !forgotten && task.State == director.TaskDone:
		return goOn, l.bury(ctx, i)
	}
	cause := "the director has forgotten the task"
	if !forgotten {
		cause = l.reason(ctx, p.Director, i, task)
	}
	if l.overdue(i) {
		return goOn, l.fail(ctx, i, "The deletion failed: "+verdict.Of(cause).Message+"; delete it again", cause)
	}
	i.Operation.Attempt++
	i.Operation.Step = serviceforge.Placed // look again whose it is: it may be gone
	return goOn, l.postpone(ctx, i, cause)
}

// bury ends the operation and forgets the instance.
func (l *leader) bury(ctx context.Context, i *serviceforge.Instance) error {
	if service, ok, err := releases.UsersOf(i.Access); err == nil && ok {
		l.Users.Forget(service)
	}
	i.State = serviceforge.Destroyed
	i.Operation.State = serviceforge.Succeeded
	i.Operation.FinishedAt = l.Now().UTC()
	if err := l.Store.BuryInstance(ctx, i, l.term); err != nil {
		return err
	}
	l.progress.Forget(i.ID)
	return nil
}
