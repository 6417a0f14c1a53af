package orchestrator

import (
	"context"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/catalog"
	"github.com/serviceforge/serviceforge/releases"
	"github.com/serviceforge/serviceforge/users"
)

func (e *Engine) bind(ctx context.Context, r BindRequest) (Bound, error) {
	if err := serviceforge.CheckID("the binding id", r.BindingID); err != nil {
		return Bound{}, err
	}
	for {
		i, err := e.visible(ctx, r.Caller, r.InstanceID)
		if err != nil {
			return Bound{}, err
		}
		wish, err := e.bindingWish(r, &i)
		if err != nil {
			return Bound{}, err
		}
		existing, err := e.Store.CreateBinding(ctx, wish, i.Revision)
		switch serviceforge.CodeOf(err) {
		case "":
			return e.finishBinding(ctx, r.Caller, &i, wish)
		case serviceforge.Conflict:
			return e.rebind(ctx, r.Caller, &i, wish, &existing)
		case serviceforge.Busy:
			continue // the instance changed between the read and the write
		}
		return Bound{}, err
	}
}

// bindingWish checks the request and makes the record, with the user's name
// and password: the wish is stored before the user is made.
func (e *Engine) bindingWish(r BindRequest, i *serviceforge.Instance) (*serviceforge.Binding, error) {
	offering, plan, err := e.Catalog.Plan(r.ServiceID, r.PlanID)
	if err != nil {
		return nil, err
	}
	if err := sameService(i, r.ServiceID, r.PlanID); err != nil {
		return nil, err
	}
	if !catalog.Bindable(offering, plan) {
		return nil, serviceforge.Errorf(serviceforge.Invalid, "plan %s is not bindable", plan.Name)
	}
	if err := checkObject("context", r.Context); err != nil {
		return nil, err
	}
	if err := checkObject("parameters", r.Parameters); err != nil {
		return nil, err
	}
	release, err := e.release(i.Release)
	if err != nil {
		return nil, err
	}
	if err := release.CheckParameters(plan, releases.Bind, r.Parameters); err != nil {
		return nil, err
	}
	if i.State != serviceforge.Running || i.Busy() && i.Operation.Kind != serviceforge.Repair {
		return nil, serviceforge.Errorf(serviceforge.NotReady, "Service Instance not ready for binding; state %s", i.State)
	}
	user := users.NewUser()
	return &serviceforge.Binding{
		ID: r.BindingID, InstanceID: r.InstanceID, ServiceID: r.ServiceID, PlanID: r.PlanID, Platform: i.Platform,
		AppGUID: r.AppGUID, Context: serviceforge.NewSecret(string(r.Context)), Parameters: serviceforge.NewSecret(string(r.Parameters)),
		State: serviceforge.BindingCreating, User: user.Name, Password: user.Password, CreatedAt: e.Now().UTC(),
	}, nil
}

// rebind answers a request whose id is taken; one that was cut off is finished.
func (e *Engine) rebind(ctx context.Context, c Caller, i *serviceforge.Instance, wish, existing *serviceforge.Binding) (Bound, error) {
	switch {
	case !existing.SameOrder(wish):
		return Bound{}, serviceforge.Errorf(serviceforge.Conflict, "service binding %q exists with other attributes", existing.ID)
	case existing.State == serviceforge.BindingReady:
		return Bound{Binding: *existing, Existed: true}, nil
	case existing.State == serviceforge.BindingDeleting:
		return Bound{}, serviceforge.Errorf(serviceforge.Busy, "service binding %q is being deleted", existing.ID)
	}
	return e.finishBinding(ctx, c, i, existing)
}

// finishBinding makes the user and completes the record. It may be repeated.
func (e *Engine) finishBinding(ctx context.Context, c Caller, i *serviceforge.Instance, b *serviceforge.Binding) (Bound, error) {
	user := users.User{Name: b.User, Password: b.Password}
	service, ok, err := releases.UsersOf(i.Access)
	if err != nil {
		return Bound{}, err
	}
	if ok {
		if err := e.Users.Create(ctx, service, user); err != nil {
			return Bound{}, err
		}
	}
	if b.Credentials, err = releases.Credentials(i.Access, user); err != nil {
		return Bound{}, err
	}
	b.State = serviceforge.BindingReady
	if err := e.Store.PutBinding(ctx, b, e.told("bind", c, i, b)); err != nil {
		return Bound{}, busyOn(err, b.ID)
	}
	return Bound{Binding: *b}, nil
}

func (e *Engine) unbind(ctx context.Context, r UnbindRequest) error {
	if err := serviceforge.CheckID("the binding id", r.BindingID); err != nil {
		return err
	}
	i, err := e.visible(ctx, r.Caller, r.InstanceID)
	if err == nil {
		err = sameService(&i, r.ServiceID, r.PlanID)
	}
	var b serviceforge.Binding
	if err == nil {
		b, err = e.Store.Binding(ctx, r.InstanceID, r.BindingID)
	}
	if serviceforge.CodeOf(err) == serviceforge.NotFound {
		return serviceforge.Wrap(err, serviceforge.Gone, "there is no service binding %q", r.BindingID)
	}
	if err != nil {
		return err
	}
	b.State = serviceforge.BindingDeleting
	if err := e.Store.PutBinding(ctx, &b); err != nil {
		return busyOn(err, b.ID)
	}
	service, ok, err := releases.UsersOf(i.Access)
	if err != nil {
		return err
	}
	if ok && i.State == serviceforge.Running { // else the users die with the instance
		if err := e.Users.Revoke(ctx, service, b.User); err != nil {
			return err
		}
	}
	return busyOn(e.Store.DeleteBinding(ctx, &b, e.told("unbind", r.Caller, &i, &b)), b.ID)
}

// busyOn words a lost race on a binding for the platform: it may try again.
func busyOn(err error, id string) error {
	if serviceforge.CodeOf(err) == serviceforge.Conflict {
		return serviceforge.Wrap(err, serviceforge.Busy, "service binding %q was changed meanwhile", id)
	}
	return err
}

func (e *Engine) binding(ctx context.Context, c Caller, instanceID, bindingID string) (serviceforge.Binding, error) {
	if _, err := e.visible(ctx, c, instanceID); err != nil {
		return serviceforge.Binding{}, err
	}
	b, err := e.Store.Binding(ctx, instanceID, bindingID)
	if err == nil && b.State != serviceforge.BindingReady {
		return serviceforge.Binding{}, serviceforge.Errorf(serviceforge.NotFound, "service binding %q is not finished", bindingID)
	}
	return b, err
}

func (e *Engine) bindings(ctx context.Context, c Caller, instanceID string) ([]serviceforge.Binding, error) {
	if _, err := e.visible(ctx, c, instanceID); err != nil {
		return nil, err
	}
	all, err := e.Store.Bindings(ctx, instanceID)
	for i := range all {
		all[i].Credentials, all[i].Password = serviceforge.Secret{}, serviceforge.Secret{}
	}
	return all, err
}

// empty says that a JSON object holds nothing.
func empty(document []byte) bool {
	s := string(document)
	return s == "" || s == "null" || s == "{}"
}
