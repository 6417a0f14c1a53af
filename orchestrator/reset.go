package orchestrator

import (
	"context"

	"github.com/serviceforge/serviceforge"
)

// Reset gives an instance new secrets: its deployment is deleted, with all
// data, and made anew from the same plan. Parameters are kept unless the key
// that closed them is lost; then the plan's defaults are taken. Bindings made
// before are of no use afterwards. It is for operators.
// Errors: NotFound, Busy (an operation runs), Unprocessable, Unavailable.
func (e *Engine) Reset(ctx context.Context, c serviceforge.Caller, instanceID string) (Accepted, error) {
	return e.change(ctx, c, instanceID, func(i *serviceforge.Instance) (settled bool, err error) {
		if i.Busy() && i.LostKey == "" { // else it waits for the key, for ever
			return false, serviceforge.Errorf(serviceforge.Busy, "the %s of service instance %q is in progress", i.Operation.Kind, i.ID)
		}
		if i.State == serviceforge.Destroying {
			return false, serviceforge.Errorf(serviceforge.Unprocessable, "service instance %q is being deleted, for which no secrets are needed", i.ID)
		}
		return false, e.begin(i, c)
	})
}

// begin makes of the instance one that is to be provisioned, after what stands
// in its pool was deleted.
func (e *Engine) begin(i *serviceforge.Instance, c serviceforge.Caller) error {
	if len(i.Holds) == 0 {
		plan, err := e.Shelf.PlanOf(i)
		if err != nil {
			return err
		}
		i.Hold(plan.ID, plan.Costs)
	}
	i.Secrets, i.Access, i.Facts = serviceforge.Secret{}, serviceforge.Secret{}, nil
	i.LostKey, i.Unfinished = "", ""
	i.State, i.Operation = serviceforge.Initialized, c.Begins(e.NewID(), serviceforge.Provision, e.Now())
	if i.Pool != "" {
		i.State = serviceforge.Deploying
		i.Operation.Step = serviceforge.Leaving
		i.Operation.Intent = serviceforge.Intent{ContextID: contextID(&i.Operation, serviceforge.VerbReset), Verb: serviceforge.VerbReset}
	}
	i.Operations = append(i.Operations, i.Operation.ID)
	i.UpdatedAt = e.Now().UTC()
	return nil
}
