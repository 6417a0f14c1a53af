package bindings

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/catalog"
	"github.com/serviceforge/serviceforge/releases"
	"github.com/serviceforge/serviceforge/releases/parameters"
	"github.com/serviceforge/serviceforge/store"
	"github.com/serviceforge/serviceforge/users"
)

const (
	// atOnce is how long a replica has for a binding whose platform waits for
	// the answer; then the engine takes the binding up. It is more than a request
	// can take, and well below the 60 s after which platforms give up.
	atOnce = 30 * time.Second
	// secondLook is when a user whose making was given up is revoked (again): by
	// then no call that may have been under way can still make it.
	secondLook = 15 * time.Second
)

// Bind makes credentials: one user of the service per binding. It asks no
// director. Where the service has to be asked and the request accepts an
// incomplete answer, the wish is stored and the engine fulfils it; else the user
// is made before Bind returns. Errors: Invalid, NotFound (no instance), NotReady
// (not running; message "Service Instance not ready for binding; state …"),
// Conflict, Busy, AppRequired, Unavailable (the service does not answer: nothing
// is left of the binding).
func (k *Keeper) Bind(ctx context.Context, r BindRequest) (Bound, error) {
	for {
		i, existing, err := k.bindingOf(ctx, r.Caller, r.InstanceID, r.BindingID)
		if err != nil {
			return Bound{}, err
		}
		plan, err := k.checkBind(&r, &i)
		if err != nil {
			return Bound{}, err
		}
		if existing.Revision > 0 {
			return k.rebind(ctx, &r, &i, &existing)
		}
		b, err := k.bindingWish(ctx, &r, &i, plan)
		if err != nil {
			return Bound{}, err
		}
		var told []serviceforge.Change
		if b.State == serviceforge.BindingReady {
			told = append(told, k.told(&i, b))
		}
		err = k.storeBinding(ctx, &i, b, told...)
		if serviceforge.CodeOf(err) == serviceforge.Conflict {
			continue // the instance or the binding changed meanwhile: look again
		}
		if err != nil {
			return Bound{}, err
		}
		return k.bound(ctx, &r, &i, b)
	}
}

// bindingOf reads an instance that the caller may see, and a binding of it;
// the binding's Revision is 0 if there is none.
func (k *Keeper) bindingOf(ctx context.Context, c serviceforge.Caller, instanceID, bindingID string) (i serviceforge.Instance, b serviceforge.Binding, err error) {
	if err = serviceforge.CheckID("the instance id", instanceID); err != nil {
		return i, b, err
	}
	if err = serviceforge.CheckID("the binding id", bindingID); err != nil {
		return i, b, err
	}
	i, b, err = k.Store.InstanceAndBinding(ctx, instanceID, bindingID)
	if err == nil && !c.Sees(i.Platform) {
		err = serviceforge.Errorf(serviceforge.NotFound, "there is no service instance %q", instanceID)
	}
	return i, b, err
}

// checkBind checks what can be told without looking at bindings. A rotation
// need not repeat the ids of offering and plan.
func (k *Keeper) checkBind(r *BindRequest, i *serviceforge.Instance) (catalog.Plan, error) {
	if r.Predecessor != "" {
		r.ServiceID, r.PlanID = cmp.Or(r.ServiceID, i.ServiceID), cmp.Or(r.PlanID, i.PlanID)
	}
	if _, _, err := k.Shelf.Known(r.ServiceID, r.PlanID); err != nil {
		return catalog.Plan{}, err
	}
	if err := i.CheckIDs(r.ServiceID, r.PlanID); err != nil {
		return catalog.Plan{}, err
	}
	offering, plan, err := k.Shelf.Plan(i.Release, i.ServiceID, i.PlanID)
	if err != nil {
		return plan, err
	}
	if err := i.CheckKey(); err != nil {
		return plan, err
	}
	if !catalog.Bindable(offering, plan) {
		return plan, serviceforge.Errorf(serviceforge.Invalid, "plan %s is not bindable", plan.Name)
	}
	if err := parameters.CheckObject("context", r.Context); err != nil {
		return plan, err
	}
	if err := parameters.CheckObject("parameters", r.Parameters); err != nil {
		return plan, err
	}
	switch {
	case r.Predecessor != "" && !serviceforge.EmptyJSON(r.Parameters):
		return plan, serviceforge.Errorf(serviceforge.Invalid, "a rotated binding has the parameters of its predecessor; it takes none")
	case r.Predecessor != "" && !plan.Bindings.Rotatable:
		return plan, serviceforge.Errorf(serviceforge.Invalid, "bindings of plan %s cannot be rotated", plan.Name)
	case r.Predecessor == r.BindingID:
		return plan, serviceforge.Errorf(serviceforge.Invalid, "a service binding cannot be its own predecessor")
	case plan.Bindings.RequiresApp && r.AppGUID == "" && r.Predecessor == "":
		return plan, serviceforge.Errorf(serviceforge.AppRequired, "plan %s is bound to apps only", plan.Name)
	case r.Route != "" && !slices.Contains(offering.Requires, "route_forwarding"):
		return plan, serviceforge.Errorf(serviceforge.Invalid, "%s cannot be bound to a route: it does not require route_forwarding", offering.Name)
	case r.Predecessor != "":
		return plan, nil
	}
	release, err := k.Shelf.Release(i.Release)
	if err != nil {
		return plan, err
	}
	return plan, release.CheckParameters(plan, parameters.Bind, r.Parameters)
}

// bindingWish makes the record, with the user's name and password: the wish is
// stored before the user is made. Where the service has no users, or they are
// prepared, the binding is ready at once.
func (k *Keeper) bindingWish(ctx context.Context, r *BindRequest, i *serviceforge.Instance, plan catalog.Plan) (*serviceforge.Binding, error) {
	notReady := serviceforge.Errorf(serviceforge.NotReady, "Service Instance not ready for binding; state %s", i.State)
	if i.State != serviceforge.Running {
		return nil, notReady
	}
	pairs, prepared, err := releases.Prepared(i.Access)
	switch {
	case err != nil:
		return nil, err
	case i.Busy() && i.Operation.Kind != serviceforge.Repair && !(prepared && replaces(i)):
		return nil, notReady
	}
	user, now := users.NewUser(), k.Now().UTC()
	if prepared {
		if user, err = k.freeUser(ctx, i, pairs); err != nil {
			return nil, err
		}
	}
	b := &serviceforge.Binding{
		ID: r.BindingID, InstanceID: r.InstanceID, ServiceID: r.ServiceID, PlanID: r.PlanID, Platform: i.Platform, Predecessor: r.Predecessor,
		AppGUID: r.AppGUID, Route: r.Route, Context: serviceforge.NewSecret(string(r.Context)), Parameters: serviceforge.NewSecret(string(r.Parameters)),
		State: serviceforge.BindingCreating, Operation: r.Caller.Begins(k.NewID(), serviceforge.Bind, k.Now()),
		User: user.Name, Password: user.Password, CreatedAt: now,
	}
	if rule := plan.Bindings; rule.Valid > 0 {
		b.ExpiresAt = now.Add(rule.Valid)
		if rule.Renew > 0 {
			b.RenewBefore = now.Add(rule.Renew)
		}
	}
	if err := k.inherit(ctx, b); err != nil {
		return nil, err
	}
	_, needsUser, err := releases.UsersOf(i.Access)
	switch {
	case err != nil:
		return nil, err
	case !needsUser:
		return b, k.complete(i, b)
	case !r.AcceptsIncomplete:
		b.Operation.NotBefore = now.Add(atOnce)
	}
	return b, nil
}

// inherit gives a rotated binding what its predecessor was made for (OSB
// "Binding Rotation").
func (k *Keeper) inherit(ctx context.Context, b *serviceforge.Binding) error {
	if b.Predecessor == "" {
		return nil
	}
	if err := serviceforge.CheckID("predecessor_binding_id", b.Predecessor); err != nil {
		return err
	}
	p, err := k.Store.Binding(ctx, b.InstanceID, b.Predecessor)
	switch {
	case serviceforge.CodeOf(err) == serviceforge.NotFound:
		return serviceforge.Wrap(err, serviceforge.Invalid, "the predecessor %q is no binding of service instance %q", b.Predecessor, b.InstanceID)
	case err != nil:
		return err
	case p.State == serviceforge.BindingCreating:
		return serviceforge.Errorf(serviceforge.Busy, "the predecessor %q is being created", p.ID)
	case p.State != serviceforge.BindingReady || p.Expired(k.Now()):
		return serviceforge.Errorf(serviceforge.Invalid, "the predecessor %q is not valid any more", p.ID)
	}
	b.AppGUID, b.Route, b.Parameters = p.AppGUID, p.Route, p.Parameters
	if b.Context.Empty() {
		b.Context = p.Context
	}
	return nil
}

// rebind answers a request whose id is taken; one that was cut off is finished.
func (k *Keeper) rebind(ctx context.Context, r *BindRequest, i *serviceforge.Instance, existing *serviceforge.Binding) (Bound, error) {
	wish := &serviceforge.Binding{ServiceID: r.ServiceID, PlanID: r.PlanID, AppGUID: r.AppGUID, Route: r.Route, Predecessor: r.Predecessor,
		Parameters: serviceforge.NewSecret(string(r.Parameters))}
	if r.Predecessor != "" {
		wish.AppGUID, wish.Route, wish.Parameters = existing.AppGUID, existing.Route, existing.Parameters
	}
	differs := existing.Differs(wish)
	switch {
	case len(differs) > 0:
		return Bound{}, serviceforge.Errorf(serviceforge.Conflict, "service binding %q exists with other attributes: %s", existing.ID, strings.Join(differs, ", "))
	case existing.State == serviceforge.BindingDeleting || i.State == serviceforge.Destroying:
		return Bound{}, serviceforge.Errorf(serviceforge.Busy, "service binding %q is being deleted", existing.ID)
	case existing.State == serviceforge.BindingFailed:
		return Bound{}, serviceforge.Errorf(serviceforge.Conflict, "service binding %q exists, but its creation failed: delete it first", existing.ID)
	case existing.State == serviceforge.BindingReady:
		return Bound{Binding: *existing, Existed: true}, nil
	}
	return k.bound(ctx, r, i, existing)
}

// bound answers with what is stored, or, where the platform waits, with what
// came of it. If the service does not answer nothing is left of the binding.
func (k *Keeper) bound(ctx context.Context, r *BindRequest, i *serviceforge.Instance, b *serviceforge.Binding) (Bound, error) {
	if b.State != serviceforge.BindingCreating || r.AcceptsIncomplete {
		return Bound{Binding: *b}, nil
	}
	service, _, err := releases.UsersOf(i.Access)
	if err == nil {
		err = k.Users.Create(ctx, service, userOf(b))
	}
	if err == nil {
		err = k.complete(i, b)
	}
	if err != nil {
		k.Log.Warn("a binding was not made", "instance", i.ID, "binding", b.ID, "error", serviceforge.DetailOf(err))
		b.Operation.State, b.Operation.Message, b.Operation.Cause = serviceforge.Failed, serviceforge.MessageOf(err), serviceforge.Cut(serviceforge.DetailOf(err))
		ctx = context.WithoutCancel(ctx) // the platform may have gone away: then more than ever
		if err := k.finish(ctx, b, func() error { return k.Store.DeleteBinding(ctx, b, k.gone(i, b, false)) }); err != nil {
			k.Log.Warn("the engine will finish it", "instance", i.ID, "binding", b.ID, "error", serviceforge.DetailOf(err))
		}
		return Bound{}, err
	}
	err = k.finish(ctx, b, func() error {
		return k.Store.PutBinding(ctx, b, store.BindingWrite{Told: []serviceforge.Change{k.told(i, b)}})
	})
	if err != nil {
		return Bound{}, err
	}
	return Bound{Binding: *b}, nil
}

// complete makes a binding ready whose user is made.
func (k *Keeper) complete(i *serviceforge.Instance, b *serviceforge.Binding) (err error) {
	if b.Credentials, err = releases.Credentials(i.Access, userOf(b)); err != nil {
		return err
	}
	if b.Delegated, err = releases.Delegated(i.Access, userOf(b), b.Route != ""); err != nil {
		return err
	}
	if b.Endpoints, err = releases.Endpoints(i.Access); err != nil {
		return err
	}
	b.State = serviceforge.BindingReady
	k.end(b, serviceforge.Succeeded)
	return nil
}

// end ends the binding's operation.
func (k *Keeper) end(b *serviceforge.Binding, s serviceforge.OperationState) {
	o := &b.Operation
	o.State, o.FinishedAt, o.NotBefore, o.Repeats = s, k.Now().UTC(), time.Time{}, 0
	if s == serviceforge.Succeeded {
		o.Message, o.Cause = "", ""
	}
}

// finish writes what came of a binding's operation for which a platform waits.
// That somebody wrote meanwhile without ending the operation, as a rotation of
// keys does, is no change. Errors: Busy (the platform may try again), Unavailable.
func (k *Keeper) finish(ctx context.Context, b *serviceforge.Binding, write func() error) error {
	for {
		err := write()
		if serviceforge.CodeOf(err) != serviceforge.Conflict {
			return err
		}
		now, lost := k.Store.Binding(ctx, b.InstanceID, b.ID)
		if lost != nil || now.Operation.ID != b.Operation.ID || now.Operation.Done() {
			return serviceforge.Wrap(err, serviceforge.Busy, "service binding %q was changed meanwhile", b.ID)
		}
		b.Revision = now.Revision
	}
}

// Get returns one finished binding with its credentials.
func (k *Keeper) Get(ctx context.Context, c serviceforge.Caller, instanceID, bindingID string) (serviceforge.Binding, error) {
	_, b, err := k.bindingOf(ctx, c, instanceID, bindingID)
	if err == nil && b.State != serviceforge.BindingReady {
		return serviceforge.Binding{}, serviceforge.Errorf(serviceforge.NotFound, "there is no finished service binding %q", bindingID)
	}
	if err == nil && b.LostKey != "" {
		return serviceforge.Binding{}, serviceforge.Errorf(serviceforge.Unavailable,
			"the credentials of service binding %q were sealed with key %s, which this broker has not got: unbind and bind again", bindingID, b.LostKey)
	}
	return b, err
}

// userOf is the service's user of a binding.
func userOf(b *serviceforge.Binding) users.User {
	return users.User{Name: b.User, Password: b.Password}
}

// Of lists an instance's bindings by id, without credentials.
func (k *Keeper) Of(ctx context.Context, i *serviceforge.Instance) ([]serviceforge.Binding, error) {
	all, err := k.Store.Bindings(ctx, i.ID)
	for n := range all {
		b := &all[n]
		b.Stale = Stale(i, b)
		b.Credentials, b.Password = serviceforge.Secret{}, serviceforge.Secret{}
	}
	return all, err
}

// Stale says whether a binding holds other credentials than it would be given
// now: the addresses moved since, or an update changed them.
func Stale(i *serviceforge.Instance, b *serviceforge.Binding) bool {
	if b.State != serviceforge.BindingReady {
		return false
	}
	now, err := releases.Credentials(i.Access, userOf(b))
	if err != nil || !serviceforge.SameJSON(now.Reveal(), b.Credentials.Reveal()) {
		return err == nil
	}
	delegated, err := releases.Delegated(i.Access, userOf(b), b.Route != "")
	return err == nil && !serviceforge.SameJSON(delegated.Reveal(), b.Delegated.Reveal())
}
