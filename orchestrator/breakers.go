package orchestrator

import (
	"context"
	"maps"
	"reflect"

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
		if p := l.pollers[pool]; p != nil {
			p.breaker.Restore(b)
			p.kept = b
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
		for pool, p := range l.pollers {
			if err := p.keep(ctx); err != nil && ctx.Err() == nil {
				l.Log.Warn("a breaker was not stored", "pool", pool, "error", serviceforge.DetailOf(err))
			}
		}
	}
}

// keep stores the pool's breaker if it turned since it was stored.
func (p *poller) keep(ctx context.Context) error {
	known := p.breaker.State()
	if reflect.DeepEqual(known, p.kept) {
		return nil
	}
	if err := p.leader.Store.PutBreaker(ctx, p.pool.Name, known, p.leader.term); err != nil {
		return err
	}
	p.kept = known
	return nil
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
	for pool, p := range l.pollers {
		if b := p.breaker.State(); b.Open() {
			open[pool] = b
		}
	}
	return open, nil
}
