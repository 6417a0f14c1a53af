package orchestrator

import (
	"context"

	"github.com/serviceforge/serviceforge"
)

// History returns what is kept of an instance's changes, oldest first, also of
// an instance that was deleted. It is for operators. Errors: Invalid, NotFound,
// Unavailable.
func (e *Engine) History(ctx context.Context, instanceID string) ([]serviceforge.Change, error) {
	if err := serviceforge.CheckID("the instance id", instanceID); err != nil {
		return nil, err
	}
	return e.Store.History(ctx, instanceID)
}

// told is the line of history of a binding's change; the store writes those of
// instances by itself.
func (e *Engine) told(i *serviceforge.Instance, b *serviceforge.Binding) serviceforge.Change {
	o := &b.Operation
	return serviceforge.Change{
		At: e.Now().UTC(), What: string(o.Kind), Operation: o.ID, Binding: b.ID, Before: i.State, After: i.State, Result: o.State,
		Actor: o.Actor, Identity: o.Identity, Message: o.Message, Cause: o.Cause, Pool: i.Pool,
	}
}
