package bindings

import (
	"context"
	"slices"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator/work"
	"github.com/serviceforge/serviceforge/releases"
	"github.com/serviceforge/serviceforge/users"
)

const (
	// replaceAgain is how long after an update that failed another one is asked
	// for by which prepared users are replaced: each moves VMs.
	replaceAgain = 30 * time.Minute
	// replaceLook is how often it is looked whether a user is replaced, at least.
	replaceLook = 5 * time.Second
)

// Where the users of a service are prepared, the deployment is made with some.
// A binding takes one of them, in the transaction that stores it. One that was
// unbound is spent: the next update replaces it, and unbind asks for one. Spent
// are the users of bindings that are being deleted, and those on the list of
// revocations.

// storeBinding stores a new binding. One that takes a prepared user writes its
// instance as well, so that no other takes the same one.
func (k *Keeper) storeBinding(ctx context.Context, i *serviceforge.Instance, b *serviceforge.Binding, told ...serviceforge.Change) error {
	_, prepared, err := releases.Prepared(i.Access)
	switch {
	case err != nil:
		return err
	case prepared:
		return k.Store.CreateBindingOf(ctx, b, i, told...)
	}
	return k.Store.CreateBinding(ctx, b, i.Revision, told...)
}

// freeUser chooses a prepared user that no binding has, and none had. Errors:
// Exhausted.
func (k *Keeper) freeUser(ctx context.Context, i *serviceforge.Instance, prepared []users.User) (users.User, error) {
	taken, err := k.takenUsers(ctx, i.ID)
	if err != nil {
		return users.User{}, err
	}
	for _, u := range prepared {
		if _, is := taken[u.Name]; !is {
			return u, nil
		}
	}
	return users.User{}, serviceforge.Errorf(serviceforge.Exhausted,
		"all %d users of service instance %q are given out: unbind something, and bind again when the update that follows has replaced its user", len(prepared), i.ID)
}

// takenUsers are the users that bindings have or had; true = it is spent.
// The bindings are read first: one that ends meanwhile is in both.
func (k *Keeper) takenUsers(ctx context.Context, id string) (map[string]bool, error) {
	taken := map[string]bool{}
	bindings, err := k.Store.Bindings(ctx, id)
	if err != nil {
		return nil, err
	}
	for n := range bindings {
		taken[bindings[n].User] = bindings[n].State == serviceforge.BindingDeleting
	}
	due, err := k.Store.Due(ctx, id)
	for _, d := range due {
		if d.Revoke.User != "" {
			taken[d.Revoke.User] = true
		}
	}
	return taken, err
}

// Spent lists the prepared users that an update of the instance replaces.
func (k *Keeper) Spent(ctx context.Context, i *serviceforge.Instance) (spent []string, err error) {
	if _, prepared, err := releases.Prepared(i.Access); err != nil || !prepared {
		return nil, err
	}
	taken, err := k.takenUsers(ctx, i.ID)
	for user, is := range taken {
		if is {
			spent = append(spent, user)
		}
	}
	slices.Sort(spent)
	return spent, err
}

// replaces says whether the running operation changes nothing but users:
// bindings may be made meanwhile.
func replaces(i *serviceforge.Instance) bool {
	return i.Operation.Kind == serviceforge.Update && i.Operation.Wish.SameDeployment(i.Present())
}

// stands says whether a user of that name is in the deployment as a prepared one.
func stands(i *serviceforge.Instance, user string) (bool, error) {
	all, _, err := releases.Prepared(i.Access)
	return slices.ContainsFunc(all, func(u users.User) bool { return u.Name == user }), err
}

// replace ends a binding whose user was a prepared one, when an update has
// replaced that; where the update failed it stays on the list of revocations.
func (v *visit) replace(ctx context.Context, b *serviceforge.Binding) error {
	there, err := stands(v.instance, b.User)
	if err != nil {
		return err
	}
	asked := there && !v.failedSince(b.Operation.StartedAt)
	if asked {
		if asked, err = v.askForUpdate(ctx); err != nil {
			return err
		}
	}
	if asked {
		o := &b.Operation
		o.Message = "Waiting for the update that replaces the user"
		o.NotBefore = v.Now().UTC().Add(min(work.Backoff(o.Repeats), replaceLook))
		o.Repeats++
		return v.keep(ctx, b)
	}
	v.end(b, serviceforge.Succeeded)
	w := v.gone(v.instance, b, !there)
	w.Term = v.term
	return v.Store.DeleteBinding(ctx, b, w)
}

// failedSince says whether the instance's last operation was an update that was
// to replace users, and failed after a time.
func (v *visit) failedSince(at time.Time) bool {
	o := &v.instance.Operation
	return replaces(v.instance) && o.State == serviceforge.Failed && o.FinishedAt.After(at)
}

// askForUpdate makes an update of the instance that replaces its spent users,
// unless an operation runs. false = it cannot be updated at this time.
func (v *visit) askForUpdate(ctx context.Context) (bool, error) {
	i := *v.instance
	switch {
	case i.Busy():
		return true, nil
	case i.State != serviceforge.Running || i.LostKey != "" || i.Unfinished != "" && i.Unfinished != i.PlanID:
		return false, nil
	case v.failedSince(v.Now().Add(-replaceAgain)):
		return false, nil
	}
	operation := serviceforge.Caller{Actor: bindingsActor}.Begins(v.NewID(), serviceforge.Update, v.Now())
	operation.Step, operation.Wish = serviceforge.Placed, i.Present()
	i.Operation, i.Operations = operation, append(slices.Clip(i.Operations), operation.ID)
	i.UpdatedAt = v.Now().UTC()
	if err := v.Store.PutInstance(ctx, &i, v.term); err != nil {
		return false, err
	}
	v.Log.Info("an update replaces users that were unbound", "instance", i.ID, "operation", operation.ID)
	*v.instance = i
	return true, nil
}

// replaced works off one entry of the list whose user was a prepared one.
func (v *visit) replaced(ctx context.Context, r serviceforge.Revocation) error {
	there, err := stands(v.instance, r.User)
	if err != nil {
		return err
	}
	if !there {
		return v.Store.DeleteRevocation(ctx, r, v.term)
	}
	asked, err := v.askForUpdate(ctx)
	if err != nil {
		return err
	}
	rest := min(work.Backoff(r.Repeats), replaceLook)
	if !asked {
		rest = work.BackoffMost
	}
	r.At = v.Now().UTC().Add(rest)
	r.Repeats++
	return v.Store.PutRevocation(ctx, r, v.term)
}

// spent is what unbind answers itself where it does not wait: the user goes
// with the next update.
func spent() error {
	return serviceforge.Errorf(serviceforge.Unavailable, "the user goes with the next update")
}
