package orchestrator

import (
	"context"
	"sync"

	"github.com/serviceforge/serviceforge/store"
)

// gate stops the engine between two steps while an operator has paused it. It
// is shut until it is known what the operator wants.
type gate struct {
	mu    sync.Mutex
	known store.Switch
	pass  chan struct{} // closed while the engine may work
}

func newGate() *gate { return &gate{pass: make(chan struct{})} }

// set takes what the store says.
func (g *gate) set(w store.Switch) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.known = w
	open := false
	select {
	case <-g.pass:
		open = true
	default:
	}
	switch {
	case w.Paused && open:
		g.pass = make(chan struct{})
	case !w.Paused && !open:
		close(g.pass)
	}
}

// wait returns when the engine may work, or with ctx's error.
func (g *gate) wait(ctx context.Context) error {
	g.mu.Lock()
	pass := g.pass
	g.mu.Unlock()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-pass:
		return nil
	}
}

// paused says whether an operator has paused the engine, or may have.
func (g *gate) paused() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-g.pass:
		return false
	default:
		return true
	}
}

// stalls are the times during which the engine was paused.
func (g *gate) stalls() []store.Stall {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.known.Stalls
}

// EngineStatus tells whether the engine works, and where.
type EngineStatus struct {
	Switch store.Switch
	Leader string // the replica that leads; "" = none does at the moment
}

// Pause stops the engine on all replicas after the steps it is at: directors
// are asked nothing, no record is moved on. Requests are accepted and bindings
// made as before. Errors: Unavailable.
func (e *Engine) Pause(ctx context.Context, c Caller, reason string) error {
	return e.turn(ctx, store.Switch{Paused: true, Actor: c.Actor, Reason: reason})
}

// Resume lets the engine work again. Errors: Unavailable.
func (e *Engine) Resume(ctx context.Context, c Caller) error {
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
