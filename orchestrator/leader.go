package orchestrator

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator/dispatch"
	"github.com/serviceforge/serviceforge/orchestrator/work"
	"github.com/serviceforge/serviceforge/store"
)

// binders is how many instances' bindings are looked after at the same time.
const binders = 16

// stuckAfter is how long work may be due without a step being made: longer than
// any step takes that waits for a director, a service and the store in turn.
const stuckAfter = time.Minute

// lead works until ctx ends or the term is lost.
func (e *Engine) lead(ctx context.Context, term *store.Term) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l := newLeader(e, term.Number)
	l.restoreBreakers(ctx)
	l.restoreTold(ctx)
	e.leading.Store(l)
	defer e.leading.Store(nil)
	var all sync.WaitGroup
	all.Go(func() {
		select {
		case <-term.Lost():
			cancel()
		case <-ctx.Done():
		}
	})
	for _, p := range l.dispatchers {
		all.Go(func() { p.Run(ctx) })
	}
	for _, group := range l.Pools.ByDirector() {
		all.Go(func() { l.newSweeper(group).run(ctx) })
	}
	all.Go(func() { l.follow(ctx) })
	all.Go(func() { l.look(ctx) })
	all.Go(func() { l.hearLooks(ctx) })
	all.Go(func() { l.keepBreakers(ctx) })
	all.Go(func() { l.Store.KeepQuotas(ctx, l.term) })
	all.Go(func() { l.watchPulse(ctx, func() { term.Resign(); cancel() }) })
	for _, lane := range l.queue.Lanes() { // a director that hangs holds its own workers only
		for range workers {
			all.Go(func() { l.work(ctx, l.queue, lane, l.reconcile) })
		}
	}
	all.Go(func() {
		defer l.due.Close()
		l.Store.FollowDue(ctx, l.due.Add)
	})
	for range binders {
		all.Go(func() { l.work(ctx, l.due, "", l.tend) })
	}
	all.Wait()
}

// tend looks after the bindings of an instance.
func (l *leader) tend(ctx context.Context, id string) (time.Duration, error) {
	return l.bindings.Tend(ctx, l.term, id)
}

// leader is one term of leadership: what it knows is rebuilt from the store.
type leader struct {
	*Engine
	term        int64
	since       time.Time
	queue       *work.Queue // instances to be reconciled
	due         *work.Queue // instances with bindings to look after
	placing     sync.Mutex  // held while a pool is chosen
	promises    *dispatch.Promises
	dispatchers map[string]*dispatch.Dispatcher // by pool name
	turned      chan struct{}                   // holds one token when a breaker opened or closed
	pulse       work.Pulse
}

func newLeader(e *Engine, term int64) *leader {
	l := &leader{
		Engine: e, term: term, since: e.Now(), due: work.NewQueue(work.OneLane), promises: dispatch.NewPromises(), turned: make(chan struct{}, 1),
	}
	var names []string
	for _, p := range e.Pools.All() {
		names = append(names, p.Name)
	}
	l.queue = work.NewQueue(l.laneOf, names...)
	l.dispatchers = dispatch.New(&dispatch.Common{
		Store: e.Store, Term: term, Gate: e.gate, Queue: l.queue, Board: e.progress, Promises: l.promises, Turned: l.turned,
		Now: e.Now, Log: e.Log, PostTimeout: e.PostTimeout,
	}, e.Pools, e.Directors)
	return l
}

// dispatcher returns the dispatcher of a pool; an instance's pool may have been taken
// out of the configuration.
func (l *leader) dispatcher(pool string) (*dispatch.Dispatcher, error) {
	p, ok := l.dispatchers[pool]
	if !ok || p.Director == nil {
		return nil, serviceforge.Errorf(serviceforge.Unavailable, "the infrastructure pool %s is not configured", pool)
	}
	return p, nil
}

// laneOf is the pool that an instance is in, or in whose line it stands.
func (l *leader) laneOf(id string) string {
	summary, _, _ := l.Store.Summary(id)
	return cmp.Or(summary.Pool, l.promises.Pool(id))
}

// follow turns changes of records into work. The feed begins with everything
// there is, so nothing that was under way is forgotten.
func (l *leader) follow(ctx context.Context) {
	defer l.queue.Close()
	feed := l.Store.Feed()
	defer feed.Close()
	for {
		ids, err := feed.Next(ctx)
		if err != nil {
			return
		}
		for _, id := range l.byAge(ids) {
			summary, found, _ := l.Store.Summary(id)
			if !found || !summary.Busy() || summary.Pool != "" || summary.Kind != serviceforge.Provision {
				l.promises.Make(id, "", "")
			}
			for _, p := range l.dispatchers {
				p.Observe(id, summary, found)
			}
			if found && summary.Busy() && !l.lineUp(&summary) {
				l.queue.Add(id)
			}
		}
	}
}

// byAge sorts instances by the acceptance of their operations: so they get into
// the lines of a new leader.
func (l *leader) byAge(ids []string) []string {
	operations := make(map[string]string, len(ids))
	for _, id := range ids {
		summary, _, _ := l.Store.Summary(id)
		operations[id] = summary.OperationID
	}
	slices.SortFunc(ids, func(a, b string) int { return cmp.Compare(operations[a], operations[b]) })
	return ids
}

// work does what a lane of a queue asks for. do says when to look again; 0 = when the
// queue is told.
func (l *leader) work(ctx context.Context, q *work.Queue, lane string, do func(context.Context, string) (time.Duration, error)) {
	for {
		id, ok := q.Next(lane)
		if !ok {
			return
		}
		l.pulse.Begin(l.Now())
		again, err := do(ctx, id)
		l.pulse.End(l.Now(), err != nil)
		if err != nil && ctx.Err() == nil {
			l.Log.Error("an instance cannot be moved on; trying again", "instance", id, "error", serviceforge.DetailOf(err))
			again = leadAgain
		}
		q.Done(id, again)
	}
}

// watchPulse gives the leadership up when no step is made though work is due:
// another replica may be able to. It does not wait for what is stuck, which
// cannot write any more.
func (l *leader) watchPulse(ctx context.Context, resign func()) {
	tick := time.NewTicker(l.StuckAfter / 10)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if l.gate.Paused() {
			l.pulse.Beat(l.Now())
			continue
		}
		if silent := l.pulse.Silence(l.Now()); silent > l.StuckAfter {
			l.Log.Error("no step was made though work is due: another replica is to lead", "for", silent, "term", l.term)
			resign()
			return
		}
	}
}
