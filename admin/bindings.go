package admin

import (
	"encoding/json"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator/bindings"
)

func (a *API) listBindings(q *request) (any, error) {
	id, err := q.id("instance")
	if err != nil {
		return nil, err
	}
	bindings, err := a.engine.Bindings(q.Context(), q.caller, id)
	if err != nil {
		return nil, err
	}
	told := make([]Binding, 0, len(bindings))
	for i := range bindings {
		told = append(told, Binding{ID: bindings[i].ID, InstanceID: id, CreatedAt: bindings[i].CreatedAt})
	}
	return told, nil
}

// createBinding binds for the platform that owns the instance, so that the
// platform can unbind it too.
func (a *API) createBinding(q *request) (any, error) {
	instanceID, bindingID, err := q.ids()
	if err != nil {
		return nil, err
	}
	var order BindingOrder
	if err := q.decode(&order); err != nil {
		return nil, err
	}
	parameters, err := objectOf(order.Parameters)
	if err != nil {
		return nil, err
	}
	instance, err := a.engine.Instance(q.Context(), q.caller, instanceID)
	if err != nil {
		return nil, err
	}
	bound, err := a.engine.Bind(q.Context(), bindings.BindRequest{
		Caller:     owner(q.caller, instance.Platform),
		InstanceID: instanceID,
		BindingID:  bindingID,
		ServiceID:  instance.ServiceID,
		PlanID:     instance.PlanID,
		Parameters: parameters,
	})
	if err != nil {
		return nil, err
	}
	told := ofBinding(&bound.Binding)
	told.Existed = bound.Existed
	return told, nil
}

func ofBinding(b *serviceforge.Binding) Binding {
	told := Binding{ID: b.ID, InstanceID: b.InstanceID, CreatedAt: b.CreatedAt, Credentials: json.RawMessage("{}")}
	if !b.Credentials.Empty() {
		told.Credentials = json.RawMessage(b.Credentials.Reveal())
	}
	return told
}

func (a *API) getBinding(q *request) (any, error) {
	instanceID, bindingID, err := q.ids()
	if err != nil {
		return nil, err
	}
	b, err := a.engine.Binding(q.Context(), q.caller, instanceID, bindingID)
	if err != nil {
		return nil, err
	}
	return ofBinding(&b), nil
}

func (a *API) deleteBinding(q *request) (any, error) {
	instanceID, bindingID, err := q.ids()
	if err != nil {
		return nil, err
	}
	unbound, err := a.engine.Unbind(q.Context(), bindings.UnbindRequest{Caller: q.caller, InstanceID: instanceID, BindingID: bindingID})
	return Unbound{UserStays: unbound.UserStays}, err
}
