package dispatch

import (
	"context"
	"reflect"

	"github.com/serviceforge/serviceforge/store"
)

// RestoreBreaker takes over what the leader before knew of the director.
func (p *Dispatcher) RestoreBreaker(b store.Breaker) {
	p.Breaker.Restore(b)
	p.kept = b
}

// KeepBreaker stores the pool's breaker if it turned since it was stored.
func (p *Dispatcher) KeepBreaker(ctx context.Context) error {
	known := p.Breaker.State()
	if reflect.DeepEqual(known, p.kept) {
		return nil
	}
	if err := p.common.Store.PutBreaker(ctx, p.Pool.Name, known, p.common.Term); err != nil {
		return err
	}
	p.kept = known
	return nil
}
