package orchestrator

import (
	"context"
	"maps"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/store"
)

// restoreBreakers takes over what the leader before knew of the directors.
func (l *leader) restoreBreakers(ctx context.Context) {
	known, err := l.Store.Breakers(ctx)
	if err != nil {
		l.Log.Warn("the breakers begin closed", "error", serviceforge.DetailOf(err))
		return
	}
	for pool, b := range known {
		if p := l.dispatchers[pool]; p != nil {
			p.RestoreBreaker(b)
		}
	}
}

// restoreTold takes over what the leader before told of the pools.
func (l *leader) restoreTold(ctx context.Context) {
	all, err := l.Store.AllTold(ctx)
	if err != nil {
		l.Log.Warn("how long tasks take is to be learned anew", "error", serviceforge.DetailOf(err))
		return
	}
	for pool, t := range all {
		if p := l.dispatchers[pool]; p != nil {
			p.RestoreTold(t)
		}
	}
}

// keepBreakers stores breakers that turned, until ctx ends. What is not stored
// is lost with this leader, and costs an operation no more than time.
func (l *leader) keepBreakers(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.turned:
		}
		for pool, p := range l.dispatchers {
			if err := p.KeepBreaker(ctx); err != nil && ctx.Err() == nil {
				l.Log.Warn("a breaker was not stored", "pool", pool, "error", serviceforge.DetailOf(err))
			}
		}
	}
}

// Breakers tells of the breakers that are open, by pool: from memory where this
// replica leads, else as the leader stored them. Errors: Unavailable.
func (e *Engine) Breakers(ctx context.Context) (map[string]store.Breaker, error) {
	l := e.leading.Load()
	if l == nil {
		all, err := e.Store.Breakers(ctx)
		maps.DeleteFunc(all, func(_ string, b store.Breaker) bool { return !b.Open() })
		return all, err
	}
	open := map[string]store.Breaker{}
	for pool, p := range l.dispatchers {
		if b := p.Breaker.State(); b.Open() {
			open[pool] = b
		}
	}
	return open, nil
}
