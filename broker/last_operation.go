package broker

import (
	"context"

	"github.com/pivotal-cf/brokerapi/v10/domain"

	"github.com/serviceforge/serviceforge"
)

// LastOperation answers GET /v2/service_instances/:id/last_operation (OSB
// "Polling Last Operation for Service Instances"). service_id and plan_id are
// hints that are not looked at.
func (v verbs) LastOperation(ctx context.Context, escapedID string, d domain.PollDetails) (domain.LastOperation, error) {
	id, err := pathID("the service instance id", escapedID)
	if err != nil {
		return domain.LastOperation{}, v.osbError(ctx, err)
	}
	c := callOf(ctx)
	progress, err := v.engine.LastOperation(ctx, c.caller, id, d.OperationData)
	if err != nil {
		return domain.LastOperation{}, v.osbError(ctx, err)
	}
	if progress.State == serviceforge.InProgress {
		c.retryAfter(progress.RetryAfter)
	}
	return domain.LastOperation{
		State:       domain.LastOperationState(progress.State),
		Description: progress.Description,
	}, nil
}

// LastBindingOperation answers GET …/service_bindings/:bid/last_operation.
// Bindings are made and deleted synchronously: one that is there has succeeded.
func (v verbs) LastBindingOperation(ctx context.Context, escapedID, escapedBindingID string, _ domain.PollDetails) (domain.LastOperation, error) {
	instanceID, bindingID, err := pathIDs(escapedID, escapedBindingID)
	if err != nil {
		return domain.LastOperation{}, v.osbError(ctx, err)
	}
	if _, err := v.engine.Binding(ctx, callOf(ctx).caller, instanceID, bindingID); err != nil {
		return domain.LastOperation{}, v.osbError(ctx, err)
	}
	return domain.LastOperation{State: domain.Succeeded}, nil
}
