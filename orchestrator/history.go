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
