package orchestrator

import (
	"context"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/store"
)

// EngineStatus tells whether the engine works, and where.
type EngineStatus struct {
	Switch store.Switch
	Leader string // the replica that leads; "" = none does at the moment
}

// Pause stops the engine on all replicas after the steps it is at: directors
// are asked nothing, no record is moved on. Requests are accepted and bindings
// made as before. Errors: Unavailable.
func (e *Engine) Pause(ctx context.Context, c serviceforge.Caller, reason string) error {
	return e.turn(ctx, store.Switch{Paused: true, Actor: c.Actor, Reason: reason})
}

// Resume lets the engine work again. Errors: Unavailable.
func (e *Engine) Resume(ctx context.Context, c serviceforge.Caller) error {
	return e.turn(ctx, store.Switch{Actor: c.Actor})
}

func (e *Engine) turn(ctx context.Context, w store.Switch) error {
	w.At = e.Now().UTC()
	e.Log.Warn("an operator turned the engine's switch", "paused", w.Paused, "actor", w.Actor, "reason", w.Reason)
	return e.Store.TurnSwitch(ctx, w)
}

// Status tells whether the engine works. Errors: Unavailable.
func (e *Engine) Status(ctx context.Context) (EngineStatus, error) {
	w, err := e.Store.ReadSwitch(ctx)
	if err != nil {
		return EngineStatus{}, err
	}
	leader, err := e.Store.Leader(ctx)
	return EngineStatus{Switch: w, Leader: leader}, err
}
