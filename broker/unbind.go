package broker

import (
	"context"

	"github.com/pivotal-cf/brokerapi/v10/domain"

	"github.com/serviceforge/serviceforge/orchestrator/bindings"
)

// Unbind answers DELETE /v2/service_instances/:id/service_bindings/:bid (OSB
// "Unbinding"): 202 where the service has to be asked and the platform polls,
// else 200 and {}.
func (v verbs) Unbind(ctx context.Context, escapedID, escapedBindingID string, d domain.UnbindDetails, async bool) (domain.UnbindSpec, error) {
	instanceID, bindingID, err := pathIDs(escapedID, escapedBindingID)
	if err != nil {
		return domain.UnbindSpec{}, v.osbError(ctx, err)
	}
	c := callOf(ctx)
	unbound, err := v.engine.Unbind(ctx, bindings.UnbindRequest{
		Caller:            c.caller,
		InstanceID:        instanceID,
		BindingID:         bindingID,
		ServiceID:         given(d.ServiceID),
		PlanID:            given(d.PlanID),
		AcceptsIncomplete: async && c.minor >= 14, // where bindings can be polled
	})
	if err != nil {
		return domain.UnbindSpec{}, v.osbError(ctx, err)
	}
	return domain.UnbindSpec{IsAsync: !unbound.Done, OperationData: unbound.Operation}, nil
}
