package orchestrator

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/catalog"
	pools "github.com/serviceforge/serviceforge/infrastructure_pools"
	"github.com/serviceforge/serviceforge/orchestrator/dispatch"
	"github.com/serviceforge/serviceforge/store"
)

// use is what memory knows of the use of a pool, and operators' marks.
func (e *Engine) use(pool, plan string, marks map[string]store.PoolMark) pools.Use {
	instances, ofPlan := e.Store.PoolUse(pool, plan)
	return pools.Use{Instances: instances, OfPlan: ofPlan, State: pools.State(marks[pool].State)}
}

// candidates lists the pools that can take the wish now, the best one first.
// The leader also knows what is promised, and which directors are in trouble.
func (l *leader) candidates(w pools.Wish, marks map[string]store.PoolMark) ([]pools.Pool, error) {
	return l.Pools.Candidates(w, func(pool string) pools.Use {
		u := l.use(pool, w.Plan.ID, marks)
		instances, ofPlan := l.promises.Use(pool, w.Plan.ID)
		u.Instances, u.OfPlan = u.Instances+instances, u.OfPlan+ofPlan
		known := l.dispatchers[pool].Breaker.State()
		u.Open = known.Open()
		return u
	})
}

// wishFor makes a pools.Wish of the plan of a service release's version and the
// request's parameters, which were checked against the plan's schema.
func (e *Engine) wishFor(release string, plan catalog.Plan, parameters string) (pools.Wish, error) {
	w := pools.Wish{Plan: plan, Ready: e.supplied(release)}
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

// supplied lists the pools that have what a version of a service release needs; nil = all.
func (e *Engine) supplied(release string) []string {
	edition, err := e.Shelf.Edition(release)
	if err != nil {
		return nil
	}
	return edition.Pools
}

// mayPlace says, before anything is stored, whether there is room for a new
// instance beside those that wait already. It asks nobody; the last word has
// the transaction that places. Errors: Invalid (the named pool), Exhausted.
func (e *Engine) mayPlace(i *serviceforge.Instance) error {
	plan, err := e.Shelf.PlanOf(i)
	if err != nil {
		return err
	}
	w, err := e.wishFor(i.Release, plan, i.Parameters.Reveal())
	if err != nil {
		return err
	}
	_, w.Ahead = e.Store.PoolUse("", plan.ID)
	marks := e.Store.PoolMarks()
	_, err = e.Pools.Candidates(w, func(pool string) pools.Use { return e.use(pool, plan.ID, marks) })
	return err
}

// place chooses the pool. Where one of the candidates has a limit, the
// transaction that stores the choice claims the place in the pool; one instance
// is placed at a time then, so that each sees the ones before it. Else nothing
// is stored before it is the instance's turn: the choice goes with the intent.
func (l *leader) place(ctx context.Context, i *serviceforge.Instance) (next, error) {
	plan, err := l.Shelf.PlanOf(i)
	if err != nil {
		return goOn, err
	}
	w, err := l.wishFor(i.Release, plan, i.Parameters.Reveal())
	if err != nil {
		return goOn, err
	}
	w.Not = i.Operation.Tried
	before := l.promises.Pool(i.ID)
	p, err := l.findPool(ctx, i, w)
	switch {
	case err != nil:
		return goOn, err
	case p == nil: // it is placed: a worker of its pool goes on
		return untilWoken, nil
	case p.Pool.Name != before:
		s := store.SummaryOf(i)
		p.Await(&s) // and so here: this worker is not that pool's
		return l.inLine(ctx, i)
	}
	if !p.Admit(i, serviceforge.VerbDeploy) {
		return l.inLine(ctx, i)
	}
	l.choose(i, &p.Pool)
	i.Operation.Step = serviceforge.Placed
	return l.intendDeploy(ctx, i)
}

// findPool stores the choice of a pool where that claims a place in it (nil
// then), else it returns the one in whose line the instance is to stand.
func (l *leader) findPool(ctx context.Context, i *serviceforge.Instance, w pools.Wish) (*dispatch.Dispatcher, error) {
	l.placing.Lock()
	defer l.placing.Unlock()
	marks, err := l.Store.ReadPoolMarks(ctx) // what operators want at this moment
	if err != nil {
		return nil, err
	}
	fit, err := l.candidates(w, marks)
	if err != nil {
		return nil, err
	}
	if !limited(fit) {
		return l.promise(i.ID, w.Plan.ID, fit)
	}
	for _, pool := range fit {
		if err = l.placeIn(ctx, i, &pool); serviceforge.CodeOf(err) != serviceforge.Exhausted {
			return nil, err
		}
	}
	return nil, serviceforge.Wrap(err, serviceforge.Exhausted, "no infrastructure pool can take plan %s now", w.Plan.Name)
}

// limited says whether a place in one of the pools must be claimed.
func limited(fit []pools.Pool) bool {
	return slices.ContainsFunc(fit, func(p pools.Pool) bool { return p.Limited() })
}

// lineUp gives an instance its place in a line from its summary alone, where a
// turn is all that it waits for. It says whether it did; else the record is read.
func (l *leader) lineUp(s *store.Summary) bool {
	if s.NotBefore.After(l.Now()) {
		return false
	}
	pool := s.Pool
	if s.Kind == serviceforge.Provision && s.Step == serviceforge.Accepted {
		_, plan, err := l.Shelf.Plan(s.Release, s.ServiceID, s.PlanID)
		if err != nil || plan.Pools.Parameter {
			return false
		}
		fit, err := l.candidates(pools.Wish{Plan: plan, Ready: l.supplied(s.Release)}, l.Store.PoolMarks())
		if err != nil || limited(fit) {
			return false
		}
		p, err := l.promise(s.ID, s.PlanID, fit)
		if err != nil {
			return false
		}
		pool = p.Pool.Name
	} else if s.Step != serviceforge.Placed {
		return false
	}
	p, err := l.dispatcher(pool)
	if err != nil {
		return false
	}
	p.Await(s)
	if left, limited := l.patience(s.Release, s.ServiceID, s.PlanID, s.StartedAt); limited {
		l.queue.After(s.ID, max(left, closest))
	}
	return true
}

// promise returns the pool in whose line the instance is to stand: where it
// stands already, unless that cannot take it any more or is in trouble while
// another one is not.
func (l *leader) promise(instance, plan string, fit []pools.Pool) (*dispatch.Dispatcher, error) {
	best, err := l.dispatcher(fit[0].Name)
	if err != nil {
		return nil, err
	}
	before := l.promises.Pool(instance)
	if l.dispatchers[before] != nil && before != best.Pool.Name {
		healthy := l.dispatchers[before].Breaker.State()
		if !healthy.Open() && slices.ContainsFunc(fit, func(p pools.Pool) bool { return p.Name == before }) {
			return l.dispatchers[before], nil
		}
		l.dispatchers[before].Forget(instance)
	}
	l.promises.Make(instance, best.Pool.Name, plan)
	return best, nil
}

// choose notes the pool on the record, and what hangs on it.
func (l *leader) choose(i *serviceforge.Instance, p *pools.Pool) {
	i.Pool, i.Slot, i.Infrastructure, i.Versions = p.Name, "", p.Infrastructure, nil
	if edition, err := l.Shelf.Edition(i.Release); err == nil {
		i.Versions = edition.Versions
	}
}

// placeIn places the instance in the pool, if a place is free. Errors:
// Exhausted, those of the store.
func (l *leader) placeIn(ctx context.Context, i *serviceforge.Instance, pool *pools.Pool) error {
	l.choose(i, pool)
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
	i.Pool, i.Slot, i.Infrastructure, i.Pins, i.Secrets = "", "", "", serviceforge.Pins{}, serviceforge.Secret{}
	i.Operation.Intent = serviceforge.Intent{}
}
