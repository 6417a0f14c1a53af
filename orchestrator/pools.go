package orchestrator

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/serviceforge/serviceforge"
	pools "github.com/serviceforge/serviceforge/infrastructure_pools"
	"github.com/serviceforge/serviceforge/orchestrator/readiness"
	"github.com/serviceforge/serviceforge/store"
)

// PoolStatus is what operators see of an infrastructure pool.
type PoolStatus struct {
	Name, Director string
	State          pools.State
	Reason, Actor  string // of the operator who set the state; empty = the pool file did
	Since          time.Time
	Instances      int // placed there, whatever their state
	Limited        bool
	Size           int // how many it takes, when it is limited
	Free           int // places that nobody claims, when it is limited
	InFlight       int // tasks of ours, running or about to be posted
	MaxInFlight    int
	Queued         int    // operations that wait for a worker
	Healthy        bool   // the director answers and lets us in
	Health         string // "ok", or what is wrong
	Breaker        string // why the breaker is open: new work waits; "" = it is closed
}

// PoolStatuses looks at all pools and asks each director who it is. The answer
// is the same on every replica. Errors: Unavailable (no store).
func (e *Engine) PoolStatuses(ctx context.Context) ([]PoolStatus, error) {
	marks, err := e.Store.ReadPoolMarks(ctx)
	if err != nil {
		return nil, err
	}
	claims, err := e.Store.Claims(ctx)
	if err != nil {
		return nil, err
	}
	breakers, err := e.Breakers(ctx)
	if err != nil {
		return nil, err
	}
	all := e.Pools.All()
	statuses := make([]PoolStatus, len(all))
	at := make(map[string]*PoolStatus, len(all))
	var asking sync.WaitGroup
	for n := range all {
		statuses[n] = statusOf(&all[n], marks[all[n].Name])
		at[all[n].Name] = &statuses[n]
		asking.Go(func() { _, statuses[n].Health = readiness.Health(ctx, e.Directors[all[n].Name]) })
	}
	asking.Wait()
	summaries := e.Store.Summaries()
	for n := range summaries {
		if s := at[summaries[n].Pool]; s != nil {
			s.count(&summaries[n])
		}
	}
	for n := range all {
		s := &statuses[n]
		s.Queued = e.progress.Waiting(s.Name)
		s.Healthy = s.Health == "ok"
		if b := breakers[s.Name]; b.Open() {
			s.Breaker = b.Cause
		}
		s.Free = freePlaces(&all[n], s.Instances, claims)
	}
	return statuses, nil
}

func statusOf(p *pools.Pool, m store.PoolMark) PoolStatus {
	s := PoolStatus{
		Name: p.Name, Director: p.Director.URL, State: p.State, Limited: p.Limited(), Size: p.Size(), MaxInFlight: p.MaxInFlight,
	}
	if m.State != "" {
		s.State, s.Reason, s.Actor, s.Since = pools.State(m.State), m.Reason, m.Actor, m.At
	}
	return s
}

// count adds an instance of the pool.
func (s *PoolStatus) count(i *store.Summary) {
	s.Instances++
	if i.Busy() && i.AtDirector() {
		s.InFlight++
	}
}

// freePlaces counts the places that a new instance could claim.
func freePlaces(p *pools.Pool, instances int, claims map[serviceforge.Claim]string) int {
	free := 0
	for n := range p.Size() {
		if _, taken := claims[serviceforge.Claim{Pool: p.Name, Slot: p.Place(n)}]; !taken {
			free++
		}
	}
	return min(free, max(0, p.Size()-instances))
}

// SetPoolState closes a pool for new instances (cordoned, draining) or opens it
// (active), on all replicas, whatever its file says. Errors: NotFound, Invalid,
// Unavailable.
func (e *Engine) SetPoolState(ctx context.Context, c serviceforge.Caller, pool, state, reason string) error {
	p, err := e.Pools.Pool(pool)
	wanted := pools.State(state)
	switch {
	case err != nil:
		return err
	case !wanted.Valid():
		return serviceforge.Errorf(serviceforge.Invalid, "the state of a pool is %s, %s or %s", pools.Active, pools.Cordoned, pools.Draining)
	case wanted != pools.Active && reason == "":
		return serviceforge.Errorf(serviceforge.Invalid, "say why: the others will ask")
	case len(reason) > maxReason:
		return serviceforge.Errorf(serviceforge.TooLarge, "the reason is longer than %d bytes", maxReason)
	}
	e.Log.Info("the state of a pool is set", "pool", pool, "state", state, "reason", reason, "actor", c.Actor)
	now := e.Now().UTC()
	mark := store.PoolMark{State: state, Reason: reason, Actor: c.Actor, At: now, Stalls: store.Remember(closures(e.Store.PoolMarks()[pool], now))}
	if wanted == pools.Active && p.State == pools.Active {
		mark = store.PoolMark{At: now, Stalls: mark.Stalls}
	}
	return e.Store.MarkPool(ctx, pool, mark)
}

// closures are the times during which operators had closed the pool, to this moment.
func closures(m store.PoolMark, now time.Time) []store.Stall {
	all := slices.Clone(m.Stalls)
	if m.State != "" && m.State != string(pools.Active) {
		all = append(all, store.Stall{From: m.At, To: now})
	}
	return all
}

const maxReason = 1 << 10

// CheckPool looks whether a pool can serve what is offered. Errors: NotFound.
func (e *Engine) CheckPool(ctx context.Context, pool string) ([]readiness.Finding, error) {
	p, err := e.Pools.Pool(pool)
	if err != nil {
		return nil, err
	}
	return readiness.Check(ctx, e.Directors[pool], &p, e.Shelf), nil
}
