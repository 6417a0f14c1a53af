package broker

import (
	"context"
	"encoding/json"

	"github.com/pivotal-cf/brokerapi/v10/domain"

	"github.com/serviceforge/serviceforge"
)

// GetInstance answers GET /v2/service_instances/:id (OSB "Fetching a Service
// Instance"): 404 until its provision has succeeded, 422 while it is updated.
func (v verbs) GetInstance(ctx context.Context, escapedID string, _ domain.FetchInstanceDetails) (domain.GetInstanceDetailsSpec, error) {
	var spec domain.GetInstanceDetailsSpec
	id, err := pathID("the service instance id", escapedID)
	if err != nil {
		return spec, v.osbError(ctx, err)
	}
	instance, err := v.engine.Instance(ctx, callOf(ctx).caller, id)
	if err == nil {
		err = fetchable(&instance)
	}
	if err != nil {
		return spec, v.osbError(ctx, err)
	}
	return domain.GetInstanceDetailsSpec{
		ServiceID:    instance.ServiceID,
		PlanID:       instance.PlanID,
		DashboardURL: v.dashboardURL(id),
		Parameters:   reveal(instance.Parameters),
	}, nil
}

// fetchable says whether OSB lets an instance be seen now.
func fetchable(i *serviceforge.Instance) error {
	switch {
	case i.Operation.Kind == serviceforge.Provision && i.Operation.State != serviceforge.Succeeded:
		return serviceforge.Errorf(serviceforge.NotFound, "service instance %q is not provisioned (state %s)", i.ID, i.State)
	case i.Operation.Kind == serviceforge.Update && i.Busy():
		return serviceforge.Errorf(serviceforge.Busy, "service instance %q is being updated", i.ID)
	}
	return nil
}

// GetBinding answers GET /v2/service_instances/:id/service_bindings/:bid (OSB
// "Fetching a Service Binding").
func (v verbs) GetBinding(ctx context.Context, escapedID, escapedBindingID string, _ domain.FetchBindingDetails) (domain.GetBindingSpec, error) {
	var spec domain.GetBindingSpec
	instanceID, bindingID, err := pathIDs(escapedID, escapedBindingID)
	if err != nil {
		return spec, v.osbError(ctx, err)
	}
	c := callOf(ctx)
	binding, err := v.engine.Binding(ctx, c.caller, instanceID, bindingID)
	if err != nil {
		return spec, v.osbError(ctx, err)
	}
	tellBinding(c, &binding)
	return domain.GetBindingSpec{
		Credentials: credentials(&binding),
		Parameters:  reveal(binding.Parameters),
	}, nil
}

// reveal returns a platform's own parameters to it; nil leaves the key out.
func reveal(parameters serviceforge.Secret) any {
	if parameters.Empty() {
		return nil
	}
	return json.RawMessage(parameters.Reveal())
}
