package orchestrator

import (
	"context"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator/ownership"
)

// Strays lists the deployments on all directors that look like ours and have no
// instance, and the directors that did not answer. Errors: as Finder's.
func (e *Engine) Strays(ctx context.Context) ([]ownership.Stray, []ownership.Silence, error) {
	return e.strays.List(ctx)
}

// DeleteStray has a stray deployment deleted and returns the director's task.
// Errors: as Finder's.
func (e *Engine) DeleteStray(ctx context.Context, c serviceforge.Caller, pool, deployment string, grace time.Duration, own bool) (task int, err error) {
	return e.strays.Delete(ctx, c.Actor, pool, deployment, grace, own)
}
