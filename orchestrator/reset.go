package orchestrator

import (
	"context"

	"github.com/serviceforge/serviceforge"
)

// reset is the verb of an intent to delete a deployment that is then made anew.
const reset = "reset"

// Reset gives an instance new secrets: its deployment is deleted, with all
// data, and made anew from the same plan. Parameters are kept unless the key
// that closed them is lost; then the plan's defaults are taken. Bindings made
// before are of no use afterwards. It is for operators.
// Errors: NotFound, Busy (an operation runs), Unprocessable, Unavailable.
func (e *Engine) Reset(ctx context.Context, c Caller, instanceID string) (Accepted, error) {
	for {
		i, err := e.visible(ctx, c, instanceID)
		if err != nil {
			return Accepted{}, err
		}
		if i.Busy() && i.LostKey == "" { // else it waits for the key, for ever
			return Accepted{}, serviceforge.Errorf(serviceforge.Busy, "the %s of service instance %q is in progress", i.Operation.Kind, i.ID)
		}
		if i.State == serviceforge.Destroying {
			return Accepted{}, serviceforge.Errorf(serviceforge.Unprocessable, "service instance %q is being deleted, for which no secrets are needed", i.ID)
		}
		if err := e.begin(&i, c); err != nil {
			return Accepted{}, err
		}
		err = e.Store.PutInstance(ctx, &i, 0)
		if serviceforge.CodeOf(err) == serviceforge.Conflict {
			continue // somebody wrote meanwhile: look again
		}
		if err != nil {
			return Accepted{}, err
		}
		return accepted(&i), nil
	}
}

// begin makes of the instance one that is to be provisioned, after what stands
// in its pool was deleted.
func (e *Engine) begin(i *serviceforge.Instance, c Caller) error {
	if len(i.Holds) == 0 {
		_, plan, err := e.Catalog.Plan(i.ServiceID, i.PlanID)
		if err != nil {
			return err
		}
		i.Hold(plan.ID, plan.Costs)
	}
	i.Secrets, i.Access, i.Facts = serviceforge.Secret{}, serviceforge.Secret{}, nil
	i.LostKey, i.Unfinished = "", ""
	i.State, i.Operation = serviceforge.Initialized, e.newOperation(serviceforge.Provision, c)
	if i.Pool != "" {
		i.State = serviceforge.Deploying
		i.Operation.Step = serviceforge.Leaving
		i.Operation.Intent = serviceforge.Intent{ContextID: contextID(&i.Operation, reset), Verb: reset}
	}
	i.Operations = append(i.Operations, i.Operation.ID)
	i.UpdatedAt = e.Now().UTC()
	return nil
}

// closed is the error of what needs the secrets of an instance whose key is
// not here; nil where it is.
func closed(i *serviceforge.Instance) error {
	if i.LostKey == "" {
		return nil
	}
	return serviceforge.Errorf(serviceforge.Unavailable,
		"the secrets of service instance %q were sealed with key %s, which this broker has not got: give it the key file, or, if it is lost, "+
			"make new secrets with `serviceforge keys reset-instance %s`", i.ID, i.LostKey, i.ID)
}
