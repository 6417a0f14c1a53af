package orchestrator

import (
	"context"
	"fmt"
	"reflect"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator/director"
	"github.com/serviceforge/serviceforge/orchestrator/ownership"
	"github.com/serviceforge/serviceforge/store"
)

// verifyAttempts is how often a director or a service may stay silent before a
// verification says so: an operator waits for it.
const verifyAttempts = 3

// Repair begins anew what failed, with the same pins: the creation or the
// deletion of an instance. Of a running instance it verifies that deployment
// and service are there, and learns its addresses again. It is for operators.
// Errors: NotFound, Busy (an operation runs), Unavailable.
func (e *Engine) Repair(ctx context.Context, c serviceforge.Caller, instanceID string) (Accepted, error) {
	return e.change(ctx, c, instanceID, func(i *serviceforge.Instance) (settled bool, err error) {
		if i.Busy() {
			return false, serviceforge.Errorf(serviceforge.Busy,
				"the %s of service instance %q is in progress: `serviceforge explain` tells what it waits for", i.Operation.Kind, i.ID)
		}
		return false, e.anew(i, c)
	})
}

// anew makes the operation that an instance in its present state needs.
func (e *Engine) anew(i *serviceforge.Instance, c serviceforge.Caller) error {
	before := i.Operation
	if before.Intent.Verb == serviceforge.VerbReset && i.State != serviceforge.Destroying {
		return e.begin(i, c)
	}
	switch i.State {
	case serviceforge.Destroying:
		e.takeOver(i, c)
		return nil
	case serviceforge.Running:
		i.Operation = c.Begins(e.NewID(), serviceforge.Repair, e.Now())
		switch {
		case before.Kind == serviceforge.Repair:
			i.Operation.Before = before.Before
		case before.State == serviceforge.Failed:
			i.Operation.Before = &serviceforge.Outcome{Kind: before.Kind, State: before.State, Message: before.Message, Aftermath: before.Aftermath}
		}
	case serviceforge.FailedCreation, serviceforge.FailedDeployment:
		i.Operation = c.Begins(e.NewID(), serviceforge.Provision, e.Now())
		i.State = serviceforge.Initialized
		if len(i.Holds) == 0 { // given back when nothing was left of it
			plan, err := e.Shelf.PlanOf(i)
			if err != nil {
				return err
			}
			i.Hold(plan.ID, plan.Costs)
		}
		if i.Pool != "" { // its pool and its secrets stay; that the name is free, or ours, is known if it was posted
			i.Operation.Step, i.Operation.Intent = serviceforge.Placed, before.Intent
			i.State = serviceforge.Deploying
		}
	default:
		return serviceforge.Errorf(serviceforge.Unprocessable, "service instance %q is %s: there is nothing to repair", i.ID, i.State)
	}
	i.Operations = append(i.Operations, i.Operation.ID)
	i.UpdatedAt = e.Now().UTC()
	return nil
}

// verifyStep looks after a running instance: first at its deployment, then at
// its service. Nothing is posted to the director.
func (l *leader) verifyStep(ctx context.Context, i *serviceforge.Instance) (next, error) {
	var err error
	switch i.Operation.Step {
	case serviceforge.Accepted:
		err = l.verifyDeployment(ctx, i)
	case serviceforge.Deployed:
		err = l.verifyService(ctx, i)
	default:
		err = serviceforge.Errorf(serviceforge.Internal, "step %q is unknown", i.Operation.Step)
	}
	if serviceforge.CodeOf(err) == serviceforge.Unavailable && i.Operation.Repeats+1 >= verifyAttempts {
		err = l.fail(ctx, i, "Not verified: "+serviceforge.MessageOf(err), serviceforge.DetailOf(err))
	}
	return goOn, err
}

// verifyDeployment makes sure that the deployment is there and ours, and learns
// its addresses and what hangs on them.
func (l *leader) verifyDeployment(ctx context.Context, i *serviceforge.Instance) error {
	p, err := l.dispatcher(i.Pool)
	if err != nil {
		return err
	}
	whose, err := ownership.Of(ctx, l.Store, p.Director, i)
	switch {
	case err != nil:
		return err
	case whose == ownership.Nobody:
		return serviceforge.Errorf(serviceforge.Unprocessable, "the deployment %s is gone from pool %s: delete the service instance", i.Deployment, i.Pool)
	case whose != ownership.Ours:
		return serviceforge.Errorf(serviceforge.Unprocessable, "the deployment %s is not this broker's for this instance any more; it is left alone", i.Deployment)
	}
	vms, err := p.Director.Instances(ctx, i.Deployment)
	if err != nil {
		return err
	}
	addresses := director.Addresses(vms)
	if len(addresses) == 0 {
		return serviceforge.Errorf(serviceforge.Unprocessable, "the deployment %s has no VMs: look with `bosh -d %s instances`", i.Deployment, i.Deployment)
	}
	i.Operation.Message = "The deployment is there"
	if !reflect.DeepEqual(addresses, i.Facts) {
		i.Operation.Message = fmt.Sprintf("The addresses moved from %v to %v: bindings made before hold the old ones", i.Facts, addresses)
	}
	i.Facts = addresses
	if i.Access, err = l.access(ctx, i); err != nil {
		return err
	}
	_, err = l.advance(ctx, i, serviceforge.Deployed)
	return err
}

func (l *leader) verifyService(ctx context.Context, i *serviceforge.Instance) error {
	if err := l.answers(ctx, i); err != nil {
		return err
	}
	i.Operation.Message += ". The service answers."
	i.Operation.State, i.Operation.FinishedAt = serviceforge.Succeeded, l.Now().UTC()
	_, err := l.advance(ctx, i, serviceforge.Ready)
	return err
}

// aside says whether a poll is about an operation that ended before a
// verification began, which only operators know of.
func aside(s *store.Summary, asked string, c serviceforge.Caller) bool {
	return s.Kind == serviceforge.Repair && asked != s.OperationID && (asked != "" || c.Platform != "")
}

// before is the answer to such a poll. Only running instances are verified, so
// that the operation succeeded, unless it was an update that failed.
func before(s *store.Summary) serviceforge.Progress {
	if b := s.Before; b != nil {
		return serviceforge.Progress{Kind: b.Kind, State: b.State, Step: serviceforge.Ready, Description: b.Message, Aftermath: b.Aftermath}
	}
	return serviceforge.Progress{
		Kind: serviceforge.Provision, State: serviceforge.Succeeded, Step: serviceforge.Ready,
		Description: "The service instance is ready", Percent: 100,
	}
}
