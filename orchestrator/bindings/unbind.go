package bindings

import (
	"cmp"
	"context"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/releases"
	"github.com/serviceforge/serviceforge/store"
)

// Unbind revokes the binding's user and forgets the binding, in any state of
// it. A service that does not answer is no error: the user is revoked when it is
// back. Errors: Gone (no such binding), Invalid, Busy, Unavailable (no store).
func (k *Keeper) Unbind(ctx context.Context, r UnbindRequest) (Unbound, error) {
	for {
		i, b, err := k.bindingOf(ctx, r.Caller, r.InstanceID, r.BindingID)
		if serviceforge.CodeOf(err) == serviceforge.NotFound || err == nil && b.Revision == 0 {
			return Unbound{}, serviceforge.Wrap(err, serviceforge.Gone, "there is no service binding %q", r.BindingID)
		}
		if err != nil {
			return Unbound{}, err
		}
		if err := i.CheckIDs(r.ServiceID, r.PlanID); err != nil {
			return Unbound{}, err
		}
		if b.State != serviceforge.BindingDeleting {
			unbound, err := k.takeBack(ctx, &r, &i, &b)
			if serviceforge.CodeOf(err) == serviceforge.Conflict {
				continue // somebody wrote since: look again
			}
			if err != nil || unbound.Done {
				return unbound, err
			}
		}
		if r.AcceptsIncomplete {
			return Unbound{Operation: b.Operation.ID}, nil
		}
		err = k.revoke(ctx, &i, &b)
		k.end(&b, serviceforge.Succeeded)
		stays := err != nil
		write := k.gone(&i, &b, !stays)
		ctx = context.WithoutCancel(ctx)
		err = k.finish(ctx, &b, func() error { return k.Store.DeleteBinding(ctx, &b, write) })
		return Unbound{Done: err == nil, UserStays: stays}, err
	}
}

// takeBack stores the wish that a binding ends, in whatever state it is; one
// that has no user in the service ends with it.
func (k *Keeper) takeBack(ctx context.Context, r *UnbindRequest, i *serviceforge.Instance, b *serviceforge.Binding) (Unbound, error) {
	hasUser := false
	if i.LostKey == "" { // else the user dies with the service, when that is reset or deleted
		var err error
		if _, hasUser, err = releases.UsersOf(i.Access); err == nil && !hasUser {
			hasUser, err = stands(i, b.User)
		}
		if err != nil {
			return Unbound{}, err
		}
	}
	before := b.State
	b.State, b.Operation = serviceforge.BindingDeleting, r.Caller.Begins(k.NewID(), serviceforge.Unbind, k.Now())
	if !hasUser || before == serviceforge.BindingFailed || i.State == serviceforge.Destroying {
		k.end(b, serviceforge.Succeeded)
		return Unbound{Done: true}, k.Store.DeleteBinding(ctx, b, store.BindingWrite{Told: []serviceforge.Change{k.told(i, b)}})
	}
	if !r.AcceptsIncomplete {
		b.Operation.NotBefore = k.Now().UTC().Add(atOnce)
	}
	return Unbound{}, k.Store.PutBinding(ctx, b, store.BindingWrite{})
}

// revoke takes the binding's user out of the service. Users of an instance
// that is being deleted die with it.
func (k *Keeper) revoke(ctx context.Context, i *serviceforge.Instance, b *serviceforge.Binding) error {
	service, hasUser, err := releases.UsersOf(i.Access)
	if err != nil || i.State == serviceforge.Destroying {
		return err
	}
	if there, err := stands(i, b.User); err != nil || there {
		return cmp.Or(err, spent())
	}
	if !hasUser {
		return nil
	}
	return k.Users.Revoke(ctx, service, b.User)
}

// gone is what goes with the end of a binding: its line of history, and, where
// its user may be there or come to be there, the revocation. That is so if the
// service did not answer, and if the binding was never ready: a call that makes
// the user may be under way on another replica.
func (k *Keeper) gone(i *serviceforge.Instance, b *serviceforge.Binding, revoked bool) store.BindingWrite {
	w := store.BindingWrite{Told: []serviceforge.Change{k.told(i, b)}}
	if (!revoked || b.Credentials.Empty()) && i.State != serviceforge.Destroying {
		now := k.Now().UTC()
		w.Revoke = serviceforge.Revocation{InstanceID: b.InstanceID, User: b.User, Since: now, At: now.Add(secondLook)}
	}
	return w
}
