// Package dispatch gives a pool's director its work: no more tasks at a time than
// it may have, in a fair order, and none while its breaker is open. It watches
// those tasks until they end, and tells all replicas how the line stands.
package dispatch

import (
	"context"
	"log/slog"
	"sync"
	"time"

	pools "github.com/serviceforge/serviceforge/infrastructure_pools"
	"github.com/serviceforge/serviceforge/orchestrator/breaker"
	"github.com/serviceforge/serviceforge/orchestrator/director"
	"github.com/serviceforge/serviceforge/orchestrator/line"
	"github.com/serviceforge/serviceforge/orchestrator/progress"
	"github.com/serviceforge/serviceforge/orchestrator/work"
	"github.com/serviceforge/serviceforge/store"
)

// Dispatcher gives the director of one pool its work. It asks its director once
// for all tasks of the pool, and not at all while nothing is in flight.
type Dispatcher struct {
	Pool     pools.Pool
	Director director.Director // the breaker hears of its answers; nil = the pool has none
	Breaker  *breaker.Breaker

	common   *Common
	kept     store.Breaker // what of the breaker is stored; of KeepBreaker only
	budget   *budget       // of the director's, shared by its pools
	wake     chan struct{} // holds one token when something is expected
	news     chan struct{} // holds one token when there may be something to tell
	looks    chan look     // unbuffered: what cannot be read now is asked for again
	restored store.Told    // what was told last, by whichever leader

	mu       sync.Mutex
	inFlight map[string]flight     // by instance: who holds one of the pool's slots
	line     *line.Line            // instances that wait for a slot
	took     line.Durations        // of tasks
	expected map[int]string        // unfinished task -> instance
	due      map[string]time.Time  // instance -> when the time of its operation is over
	live     map[int]director.Task // what the last list said of them
	results  map[int]outcome       // ended tasks nobody has asked for yet
}

// Common is what all dispatchers of a leader share.
type Common struct {
	Store       *store.Store
	Term        int64
	Gate        *work.Gate
	Queue       *work.Queue // of instances that are to be looked at
	Board       *progress.Board
	Promises    *Promises
	Turned      chan struct{} // gets a token when a breaker opened or closed, if it has room
	Now         func() time.Time
	Log         *slog.Logger
	PostTimeout time.Duration
}

// New makes one for each pool. Those of one director share what it may
// be asked.
func New(shared *Common, set *pools.Set, directors map[string]director.Director) map[string]*Dispatcher {
	all := map[string]*Dispatcher{}
	for _, group := range set.ByDirector() {
		b := newBudget()
		for _, name := range group {
			if pool, err := set.Pool(name); err == nil {
				all[name] = newDispatcher(shared, pool, directors[name], b)
			}
		}
	}
	return all
}

// outcome is what became of an ended task.
type outcome struct {
	instance string
	task     director.Task
	err      error
}

func newDispatcher(shared *Common, pool pools.Pool, d director.Director, b *budget) *Dispatcher {
	p := &Dispatcher{
		common: shared, Pool: pool, budget: b, wake: make(chan struct{}, 1), news: make(chan struct{}, 1), looks: make(chan look),
		inFlight: map[string]flight{}, line: line.New(), took: line.Durations{}, expected: map[int]string{}, due: map[string]time.Time{}, live: map[int]director.Task{}, results: map[int]outcome{},
	}
	p.Breaker = breaker.New(shared.Now, p.turned)
	if d != nil {
		p.Director = p.Breaker.Hear(d)
	}
	return p
}

// Run watches the pool's tasks, reads their events, and tells of its line, until
// ctx ends.
func (p *Dispatcher) Run(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() { p.watch(ctx) })
	all.Go(func() { p.tell(ctx) })
	all.Go(func() { p.read(ctx) })
}
