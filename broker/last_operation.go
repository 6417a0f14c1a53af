package broker

import (
	"context"
	"net/http"

	"github.com/pivotal-cf/brokerapi/v10/domain"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator"
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
	if progress.State == serviceforge.Failed {
		c.answer.replace = func(w http.ResponseWriter) { writeJSON(w, http.StatusOK, failureOf(progress)) }
	}
	return domain.LastOperation{
		State:       domain.LastOperationState(progress.State),
		Description: progress.Description,
	}, nil
}

// failure is the answer to a poll for an operation that failed; brokerapi has
// no fields for what it left (OSB "Polling Last Operation: Body").
type failure struct {
	State            serviceforge.OperationState `json:"state"`
	Description      string                      `json:"description,omitempty"`
	InstanceUsable   *bool                       `json:"instance_usable,omitempty"`   // of updates and deprovisions only
	UpdateRepeatable *bool                       `json:"update_repeatable,omitempty"` // of updates only
}

func failureOf(p orchestrator.Progress) failure {
	told := failure{State: p.State, Description: p.Description}
	usable, repeatable := !p.Unusable, !p.Unrepeatable
	switch p.Kind {
	case serviceforge.Update:
		told.InstanceUsable, told.UpdateRepeatable = &usable, &repeatable
	case serviceforge.Deprovision:
		told.InstanceUsable = &usable
	}
	return told
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
