package broker

import (
	"context"

	"github.com/pivotal-cf/brokerapi/v10/domain"

	"github.com/serviceforge/serviceforge/orchestrator"
)

// Unbind answers DELETE /v2/service_instances/:id/service_bindings/:bid (OSB
// "Unbinding"), synchronously: 200 and {}.
func (v verbs) Unbind(ctx context.Context, escapedID, escapedBindingID string, d domain.UnbindDetails, _ bool) (domain.UnbindSpec, error) {
	instanceID, bindingID, err := pathIDs(escapedID, escapedBindingID)
	if err != nil {
		return domain.UnbindSpec{}, v.osbError(ctx, err)
	}
	err = v.engine.Unbind(ctx, orchestrator.UnbindRequest{
		Caller:     callOf(ctx).caller,
		InstanceID: instanceID,
		BindingID:  bindingID,
		ServiceID:  given(d.ServiceID),
		PlanID:     given(d.PlanID),
	})
	if err != nil {
		return domain.UnbindSpec{}, v.osbError(ctx, err)
	}
	return domain.UnbindSpec{}, nil
}
