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
	tellAftermath(c, &progress)
	return domain.LastOperation{
		State:       domain.LastOperationState(progress.State),
		Description: progress.Description,
	}, nil
}

// tellAftermath adds what a failed operation left (OSB "Polling Last Operation:
// Body"), which brokerapi has no room for.
func tellAftermath(c *call, p *serviceforge.Progress) {
	if p.State != serviceforge.Failed {
		return
	}
	if p.Kind == serviceforge.Update || p.Kind == serviceforge.Deprovision {
		c.answer.add("instance_usable", !p.Unusable)
	}
	if p.Kind == serviceforge.Update {
		c.answer.add("update_repeatable", !p.Unrepeatable)
	}
}

// LastBindingOperation answers GET …/service_bindings/:bid/last_operation (OSB
// "Polling Last Operation for Service Bindings"). operation is a hint: a
// binding has one operation at a time.
func (v verbs) LastBindingOperation(ctx context.Context, escapedID, escapedBindingID string, _ domain.PollDetails) (domain.LastOperation, error) {
	instanceID, bindingID, err := pathIDs(escapedID, escapedBindingID)
	if err != nil {
		return domain.LastOperation{}, v.osbError(ctx, err)
	}
	c := callOf(ctx)
	progress, err := v.engine.LastBindingOperation(ctx, c.caller, instanceID, bindingID)
	if err != nil {
		return domain.LastOperation{}, v.osbError(ctx, err)
	}
	c.retryAfter(progress.RetryAfter)
	return domain.LastOperation{
		State:       domain.LastOperationState(progress.State),
		Description: progress.Description,
	}, nil
}
