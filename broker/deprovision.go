package broker

import (
	"context"

	"github.com/pivotal-cf/brokerapi/v10/domain"

	"github.com/serviceforge/serviceforge/orchestrator"
)

// Deprovision answers DELETE /v2/service_instances/:id (OSB "Deprovisioning").
// Bindings that still exist are deleted with the instance.
func (v verbs) Deprovision(ctx context.Context, escapedID string, d domain.DeprovisionDetails, async bool) (domain.DeprovisionServiceSpec, error) {
	var spec domain.DeprovisionServiceSpec
	id, err := pathID("the service instance id", escapedID)
	if err != nil {
		return spec, v.osbError(ctx, err)
	}
	c := callOf(ctx)
	accepted, err := v.engine.Deprovision(ctx, orchestrator.DeprovisionRequest{
		Caller:            c.caller,
		InstanceID:        id,
		ServiceID:         given(d.ServiceID),
		PlanID:            given(d.PlanID),
		AcceptsIncomplete: async || c.async,
	})
	if err != nil {
		return spec, v.osbError(ctx, err)
	}
	return domain.DeprovisionServiceSpec{IsAsync: !accepted.Done, OperationData: accepted.Operation}, nil
}
