package orchestrator

import (
	"context"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator/work"
	"github.com/serviceforge/serviceforge/store"
)

// next says what a step leaves to do.
type next struct {
	wait  bool
	after time.Duration // with wait: look again then; 0 = when something happens
}

var goOn = next{}

func later(d time.Duration) next { return next{wait: true, after: d} }

// untilWoken waits for the end of a task, or for a slot.
var untilWoken = next{wait: true}

// reconcile moves an instance on until it has to wait, and says when to look
// again. It may run at any time, any number of times: every step is stored
// before the next begins, and a write that lost a race is simply read again.
// Only errors of the store are returned; everything else is the operation's.
func (l *leader) reconcile(ctx context.Context, id string) (time.Duration, error) {
	i, err := l.Store.Instance(ctx, id)
	for err == nil && i.Busy() {
		if err := l.gate.Wait(ctx); err != nil {
			return 0, err
		}
		if early := i.Operation.NotBefore.Sub(l.Now()); early > 0 {
			return early, nil
		}
		var n next
		n, err = l.step(ctx, &i)
		if ctx.Err() != nil {
			return 0, ctx.Err() // nothing is lost: the next leader goes on
		}
		switch {
		case serviceforge.CodeOf(err) == serviceforge.Conflict:
			i, err = l.Store.Instance(ctx, id)
		case err != nil:
			err = l.troubled(ctx, &i, err)
			if serviceforge.CodeOf(err) == serviceforge.Conflict {
				i, err = l.Store.Instance(ctx, id)
			}
		case n.wait:
			return n.after, nil
		}
	}
	if serviceforge.CodeOf(err) == serviceforge.NotFound {
		return 0, nil
	}
	return 0, err
}

// step does the one next thing.
func (l *leader) step(ctx context.Context, i *serviceforge.Instance) (next, error) {
	if err := i.CheckKey(); err != nil && i.Operation.Kind != serviceforge.Deprovision {
		return goOn, err
	}
	switch i.Operation.Kind {
	case serviceforge.Provision, serviceforge.Update:
		return l.deployStep(ctx, i)
	case serviceforge.Deprovision:
		return l.deleteStep(ctx, i)
	case serviceforge.Repair:
		return l.verifyStep(ctx, i)
	}
	return goOn, serviceforge.Errorf(serviceforge.Internal, "operation %q is unknown", i.Operation.Kind)
}

// put stores a step, and what else is told of it; another leader, or a request that came between, wins.
func (l *leader) put(ctx context.Context, i *serviceforge.Instance, told ...serviceforge.Change) error {
	i.UpdatedAt = l.Now().UTC()
	err := l.Store.PutInstance(ctx, i, l.term, told...)
	if err == nil {
		l.pulse.Beat(l.Now())
	}
	return err
}

// advance stores that the operation has reached a step.
func (l *leader) advance(ctx context.Context, i *serviceforge.Instance, s serviceforge.Step, told ...serviceforge.Change) (next, error) {
	if s == serviceforge.Deployed || s == serviceforge.Errand {
		i.Operation.Since = l.Now().UTC()
	}
	i.Operation.Step = s
	i.Operation.Repeats, i.Operation.NotBefore, i.Operation.Cause = 0, time.Time{}, ""
	return goOn, l.put(ctx, i, told...)
}

// troubled stores what came of an error: a request that did not get through is
// repeated after a while, until the deadline; anything else is final. Where it
// was the store that did not answer, i may say what was never stored, such as
// the operation's end: it is given up and read again.
func (l *leader) troubled(ctx context.Context, i *serviceforge.Instance, err error) error {
	if store.IsAway(err) {
		return err
	}
	l.Log.Warn("a step did not succeed", "instance", i.ID, "operation", i.Operation.ID,
		"step", i.Operation.Step, "error", serviceforge.DetailOf(err))
	if serviceforge.CodeOf(err) != serviceforge.Unavailable {
		return l.fail(ctx, i, serviceforge.MessageOf(err), serviceforge.DetailOf(err))
	}
	if l.overdue(i) {
		return l.fail(ctx, i, "It took too long; a part that is needed does not answer", serviceforge.DetailOf(err))
	}
	return l.postpone(ctx, i, serviceforge.DetailOf(err))
}

// postpone stores when the present step may be tried again.
func (l *leader) postpone(ctx context.Context, i *serviceforge.Instance, cause string) error {
	o := &i.Operation
	o.Cause = serviceforge.Cut(cause)
	o.NotBefore = l.Now().UTC().Add(work.Backoff(o.Repeats))
	o.Repeats++
	return l.put(ctx, i)
}

// fail ends the operation. message is for the app developer, cause for the operator.
func (l *leader) fail(ctx context.Context, i *serviceforge.Instance, message, cause string) error {
	o := &i.Operation
	switch {
	case o.Kind == serviceforge.Deprovision: // stays destroying: a DELETE tries again
		o.Unusable = true
	case o.Kind == serviceforge.Update: // the record is what it was; the deployment may not be
		i.Settle(false)
		l.leftBehind(ctx, i)
	case o.Kind == serviceforge.Repair: // nothing was changed: it may serve all the same
	case o.Intent.Verb == "":
		i.State = serviceforge.FailedCreation
		i.GiveBack()
		if i.Pool != "" { // no director has anything of it
			cause = "pool " + i.Pool + ": " + cause
			unplace(i)
		}
	default:
		i.State = serviceforge.FailedDeployment
	}
	o.State, o.Message, o.Cause = serviceforge.Failed, message, serviceforge.Cut(cause)
	o.FinishedAt = l.Now().UTC()
	l.Log.Error("operation failed", "instance", i.ID, "operation", o.ID, "kind", o.Kind, "cause", cause)
	return l.put(ctx, i)
}
