package bindings

import (
	"context"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator/work"
	"github.com/serviceforge/serviceforge/releases"
	"github.com/serviceforge/serviceforge/store"
	"github.com/serviceforge/serviceforge/users"
)

const (
	// bindDeadline is how long a binding is tried that its platform polls for.
	bindDeadline = 10 * time.Minute
	// unbindPatience is how long a platform that polls waits for a service that
	// does not answer; then the user goes onto the list of revocations.
	unbindPatience = time.Minute
)

// bindingsActor ends bindings whose time is over.
const bindingsActor = "serviceforge"

// visit looks after everything that is due for one instance: bindings to be
// made, revoked or ended, and users to be revoked. A service that did not
// answer during a visit is not asked again in it, so that a dead one holds up
// one worker for one patience. No director is asked, so a paused engine goes on
// with it.
type visit struct {
	*Keeper
	term     int64
	instance *serviceforge.Instance
	service  users.Service
	hasUsers bool // a driver makes them
	prepared bool // they are made with the deployment
	away     error
}

// Tend visits an instance, for the leader of the term, and says when to look
// again; the store tells what changes meanwhile.
func (k *Keeper) Tend(ctx context.Context, term int64, instanceID string) (time.Duration, error) {
	due, err := k.Store.Due(ctx, instanceID)
	if err != nil || len(due) == 0 {
		return 0, err
	}
	i, err := k.Store.Instance(ctx, instanceID)
	if serviceforge.CodeOf(err) == serviceforge.NotFound {
		return 0, nil
	}
	v := &visit{Keeper: k, term: term, instance: &i}
	if err == nil {
		if v.service, v.hasUsers, err = releases.UsersOf(i.Access); err == nil {
			_, v.prepared, err = releases.Prepared(i.Access)
		}
	}
	var soonest time.Duration
	for _, d := range due {
		if err != nil || ctx.Err() != nil {
			return 0, err
		}
		if early := d.At.Sub(k.Now()); early > 0 {
			if soonest == 0 || early < soonest {
				soonest = early
			}
			continue
		}
		if d.Binding != "" {
			err = v.binding(ctx, d.Binding)
		} else {
			err = v.revocation(ctx, d.Revoke)
		}
		switch serviceforge.CodeOf(err) {
		case serviceforge.NotFound:
			err = nil
		case serviceforge.Conflict: // the store tells of what somebody wrote since, but not of what was sealed anew
			soonest, err = work.Backoff(0), nil
		}
	}
	return soonest, err
}

// ask calls the service, unless it was silent in this visit.
func (v *visit) ask(call func() error) error {
	if v.away != nil {
		return v.away
	}
	err := call()
	if serviceforge.CodeOf(err) == serviceforge.Unavailable {
		v.away = err
	}
	return err
}

func (v *visit) binding(ctx context.Context, id string) error {
	b, err := v.Store.Binding(ctx, v.instance.ID, id)
	switch {
	case err != nil:
		return err
	case b.State == serviceforge.BindingCreating:
		return v.make(ctx, &b)
	case b.State == serviceforge.BindingDeleting:
		return v.unmake(ctx, &b)
	case b.State == serviceforge.BindingReady && b.Expired(v.Now()):
		b.State, b.Operation = serviceforge.BindingDeleting, serviceforge.Caller{Actor: bindingsActor}.Begins(v.NewID(), serviceforge.Unbind, v.Now())
		b.Operation.Message = "its time is over"
		return v.keep(ctx, &b)
	}
	return nil
}

// make makes the user of a binding.
func (v *visit) make(ctx context.Context, b *serviceforge.Binding) error {
	err := v.ask(func() error {
		if v.instance.State == serviceforge.Destroying {
			return serviceforge.Errorf(serviceforge.Unprocessable, "the service instance is being deleted")
		}
		return v.Users.Create(ctx, v.service, userOf(b))
	})
	if err == nil {
		err = v.complete(v.instance, b)
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err() // nothing is lost: the next leader goes on
	case err == nil:
		return v.keep(ctx, b, v.told(v.instance, b))
	case serviceforge.CodeOf(err) == serviceforge.Unavailable && !v.late(b):
		return v.tryLater(ctx, b, err)
	}
	v.Log.Error("a binding was not made", "instance", b.InstanceID, "binding", b.ID, "error", serviceforge.DetailOf(err))
	b.State = serviceforge.BindingFailed
	v.end(b, serviceforge.Failed)
	b.Operation.Message, b.Operation.Cause = serviceforge.MessageOf(err), serviceforge.Cut(serviceforge.DetailOf(err))
	w := v.gone(v.instance, b, false)
	w.Term = v.term
	return v.Store.PutBinding(ctx, b, w)
}

// unmake revokes the user of a binding and forgets the binding.
func (v *visit) unmake(ctx context.Context, b *serviceforge.Binding) error {
	if v.prepared && v.instance.State != serviceforge.Destroying {
		return v.replace(ctx, b)
	}
	err := v.ask(func() error { return v.revoke(ctx, v.instance, b) })
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if serviceforge.CodeOf(err) == serviceforge.Unavailable && v.Now().Sub(b.Operation.StartedAt) < unbindPatience {
		return v.tryLater(ctx, b, err)
	}
	if err != nil {
		v.Log.Warn("a user will be revoked when the service is back", "instance", b.InstanceID, "binding", b.ID, "user", b.User, "error", serviceforge.DetailOf(err))
	}
	v.end(b, serviceforge.Succeeded)
	w := v.gone(v.instance, b, err == nil)
	w.Term = v.term
	return v.Store.DeleteBinding(ctx, b, w)
}

// revocation works off one entry of the list, until it gets through or the
// instance ends.
func (v *visit) revocation(ctx context.Context, r serviceforge.Revocation) error {
	if v.prepared {
		return v.replaced(ctx, r)
	}
	if !v.hasUsers {
		return v.Store.DeleteRevocation(ctx, r, v.term)
	}
	err := v.ask(func() error { return v.Users.Revoke(ctx, v.service, r.User) })
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err == nil {
		return v.Store.DeleteRevocation(ctx, r, v.term)
	}
	v.Log.Debug("a user is not revoked yet", "instance", r.InstanceID, "user", r.User, "since", r.Since, "error", serviceforge.DetailOf(err))
	r.At = v.Now().UTC().Add(work.Backoff(r.Repeats))
	r.Repeats++
	return v.Store.PutRevocation(ctx, r, v.term)
}

// late says whether a binding has had its time, which is less than its
// platform polls.
func (v *visit) late(b *serviceforge.Binding) bool {
	deadline := bindDeadline
	if plan, err := v.Shelf.PlanOf(v.instance); err == nil && plan.MaximumPollingDuration > 0 {
		deadline = min(deadline, plan.Patience())
	}
	return v.Now().Sub(b.Operation.StartedAt) > deadline
}

// tryLater stores when the binding's operation is tried again.
func (v *visit) tryLater(ctx context.Context, b *serviceforge.Binding, cause error) error {
	o := &b.Operation
	o.Cause = serviceforge.Cut(serviceforge.DetailOf(cause))
	o.NotBefore = v.Now().UTC().Add(work.Backoff(o.Repeats))
	o.Repeats++
	return v.keep(ctx, b)
}

// keep stores a binding, if nobody has written it since.
func (v *visit) keep(ctx context.Context, b *serviceforge.Binding, told ...serviceforge.Change) error {
	return v.Store.PutBinding(ctx, b, store.BindingWrite{Term: v.term, Told: told})
}
