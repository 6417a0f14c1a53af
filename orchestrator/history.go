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
func (e *Engine) told(what string, c Caller, i *serviceforge.Instance, b *serviceforge.Binding) serviceforge.Change {
	return serviceforge.Change{
		At: e.Now().UTC(), What: what, Binding: b.ID, Before: i.State, After: i.State, Result: serviceforge.Succeeded,
		Actor: c.Actor, Identity: c.Identity, Pool: i.Pool,
	}
}
