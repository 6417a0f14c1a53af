package orchestrator

import (
	"context"
	"encoding/json"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/catalog"
	pools "github.com/serviceforge/serviceforge/infrastructure_pools"
	"github.com/serviceforge/serviceforge/store"
)

// candidates lists the pools that can take the wish now, the best one first:
// what they carry is known from memory, what operators decided from marks.
func (e *Engine) candidates(w pools.Wish, marks map[string]store.PoolMark) ([]pools.Pool, error) {
	return e.Pools.Candidates(w, func(pool string) pools.Use {
		instances, ofPlan := e.Store.PoolUse(pool, w.Plan.ID)
		return pools.Use{Instances: instances, OfPlan: ofPlan, State: pools.State(marks[pool].State)}
	})
}

// wishFor makes a pools.Wish of a plan and the request's parameters, which
// were checked against the plan's schema.
func wishFor(plan catalog.Plan, parameters string) (pools.Wish, error) {
	w := pools.Wish{Plan: plan}
	if !plan.Pools.Parameter || parameters == "" {
		return w, nil
	}
	var given map[string]json.RawMessage
	if err := json.Unmarshal([]byte(parameters), &given); err != nil {
		return w, serviceforge.Wrap(err, serviceforge.Invalid, "parameters is not a JSON object")
	}
	if named, ok := given[catalog.PoolParameter]; ok {
		if err := json.Unmarshal(named, &w.Named); err != nil {
			return w, serviceforge.Wrap(err, serviceforge.Invalid, "parameter %s must be of type string", catalog.PoolParameter)
		}
	}
	return w, nil
}

// mayPlace says, before anything is stored, whether there is room for a new
// instance beside those that wait already. It asks nobody; the last word has
// the transaction that places. Errors: Invalid (the named pool), Exhausted.
func (e *Engine) mayPlace(i *serviceforge.Instance) error {
	_, plan, err := e.Catalog.Plan(i.ServiceID, i.PlanID)
	if err != nil {
		return err
	}
	w, err := wishFor(plan, i.Parameters.Reveal())
	if err != nil {
		return err
	}
	_, w.Ahead = e.Store.PoolUse("", plan.ID)
	_, err = e.candidates(w, e.Store.PoolMarks())
	return err
}

// place chooses the pool. The transaction that stores it claims the place in the pool. One instance is placed at a time, so
// that each sees the ones before it.
func (l *leader) place(ctx context.Context, i *serviceforge.Instance) (next, error) {
	_, plan, err := l.Catalog.Plan(i.ServiceID, i.PlanID)
	if err != nil {
		return goOn, err
	}
	w, err := wishFor(plan, i.Parameters.Reveal())
	if err != nil {
		return goOn, err
	}
	w.Not = i.Operation.Tried
	l.placing.Lock()
	defer l.placing.Unlock()
	marks, err := l.Store.ReadPoolMarks(ctx)
	if err != nil {
		return goOn, err
	}
	fit, err := l.candidates(w, marks)
	if err != nil {
		return goOn, err
	}
	for _, pool := range fit {
		if err = l.placeIn(ctx, i, pool); serviceforge.CodeOf(err) != serviceforge.Exhausted {
			return goOn, err
		}
	}
	return goOn, serviceforge.Wrap(err, serviceforge.Exhausted, "no infrastructure pool can take plan %s now", plan.Name)
}

// placeIn places the instance in the pool, if a place is free. Errors:
// Exhausted, those of the store.
func (l *leader) placeIn(ctx context.Context, i *serviceforge.Instance, pool pools.Pool) error {
	i.Pool, i.Slot, i.Infrastructure, i.Versions = pool.Name, "", pool.Infrastructure, l.Versions
	taken := map[string]bool{} // by claims that memory does not know of
	for {
		if pool.Limited() {
			n := l.Store.FreePlace(pool.Name, pool.Size(), pool.Place, taken)
			if n < 0 {
				return serviceforge.Errorf(serviceforge.Exhausted, "the infrastructure pool %s is full", pool.Name)
			}
			i.Slot = pool.Place(n)
		}
		_, err := l.advance(ctx, i, serviceforge.Placed)
		if serviceforge.CodeOf(err) != serviceforge.Busy {
			return err
		}
		taken[i.Slot] = true
	}
}

// unplace takes the choice of a pool back; the write that stores it gives the
// claim back. No director may have anything of the instance any more.
func unplace(i *serviceforge.Instance) {
	i.Pool, i.Slot, i.Infrastructure, i.Secrets = "", "", "", serviceforge.Secret{}
	i.Secrets = serviceforge.Secret{}
	i.Operation.Intent = serviceforge.Intent{}
}
