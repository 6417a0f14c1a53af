package bindings

import (
	"context"
	"slices"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator/line"
)

// remembered is how long it is known that a binding was deleted.
const remembered = 24 * time.Hour

// lastOperation answers a poll for a binding by one linearizable read.
func (k *Keeper) LastOperation(ctx context.Context, c serviceforge.Caller, instanceID, bindingID string) (serviceforge.Progress, error) {
	_, b, err := k.bindingOf(ctx, c, instanceID, bindingID)
	if serviceforge.CodeOf(err) == serviceforge.NotFound || err == nil && b.Revision == 0 {
		return k.afterBinding(ctx, c, instanceID, bindingID, err == nil)
	}
	if err != nil {
		return serviceforge.Progress{}, err
	}
	p := serviceforge.Progress{Kind: b.Operation.Kind, State: b.Operation.State, Step: b.Operation.Step, RetryAfter: line.AskAgain}
	switch {
	case b.State == serviceforge.BindingReady:
		p.State, p.Description, p.Percent, p.RetryAfter = serviceforge.Succeeded, "The service binding is ready", 100, 0
	case b.State == serviceforge.BindingFailed:
		p.Description, p.RetryAfter = "The service binding was not made: "+b.Operation.Message, 0
	case b.State == serviceforge.BindingDeleting && b.Operation.Message != "":
		p.Description = b.Operation.Message
	case b.Operation.Repeats > 0:
		p.Description = "The service does not answer; trying again"
	case b.State == serviceforge.BindingDeleting:
		p.Description = "Revoking the credentials"
	default:
		p.Description = "Making credentials"
	}
	return p, nil
}

// afterBinding answers a poll for a binding that is not there, from the
// instance's history: for a day it is known that the binding was deleted.
func (k *Keeper) afterBinding(ctx context.Context, c serviceforge.Caller, instanceID, bindingID string, instanceThere bool) (serviceforge.Progress, error) {
	unknown := serviceforge.Errorf(serviceforge.NotFound, "there is no service binding %q", bindingID)
	if !instanceThere {
		stone, err := k.Store.Tombstone(ctx, instanceID)
		if err != nil {
			return serviceforge.Progress{}, err
		}
		if !c.Sees(stone.Platform) {
			return serviceforge.Progress{}, unknown
		}
	}
	changes, err := k.Store.History(ctx, instanceID)
	if err != nil {
		return serviceforge.Progress{}, err
	}
	for _, change := range slices.Backward(changes) {
		switch {
		case change.Binding != bindingID:
		case change.What == string(serviceforge.Unbind) && k.Now().Sub(change.At) < remembered:
			return serviceforge.Progress{
				Kind: serviceforge.Unbind, State: serviceforge.Succeeded, Step: serviceforge.Accepted,
				Description: "The service binding is deleted", Percent: 100,
			}, nil
		case !instanceThere:
			return serviceforge.Progress{}, serviceforge.Errorf(serviceforge.Gone, "service binding %q was deleted with its service instance", bindingID)
		default:
			return serviceforge.Progress{}, unknown
		}
	}
	return serviceforge.Progress{}, unknown
}
