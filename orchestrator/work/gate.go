package work

import (
	"context"
	"sync"

	"github.com/serviceforge/serviceforge/store"
)

// Gate stops the engine between two steps while an operator has paused it. It
// is shut until it is known what the operator wants.
type Gate struct {
	mu    sync.Mutex
	known store.Switch
	pass  chan struct{} // closed while the engine may work
}

// NewGate returns a gate that is shut.
func NewGate() *Gate { return &Gate{pass: make(chan struct{})} }

// Set takes what the store says.
func (g *Gate) Set(w store.Switch) {
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

// Wait returns when the engine may work, or with ctx's error.
func (g *Gate) Wait(ctx context.Context) error {
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

// Paused says whether an operator has paused the engine, or may have.
func (g *Gate) Paused() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-g.pass:
		return false
	default:
		return true
	}
}

// Stalls are the times during which the engine was paused.
func (g *Gate) Stalls() []store.Stall {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.known.Stalls
}
