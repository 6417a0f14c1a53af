package orchestrator

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator/work"
	"github.com/serviceforge/serviceforge/store"
)

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
	for _, p := range l.pollers {
		all.Go(func() { p.run(ctx) })
		all.Go(func() { p.tell(ctx) })
		all.Go(func() { p.read(ctx) })
	}
	for _, group := range l.directorGroups() {
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

// leader is one term of leadership: what it knows is rebuilt from the store.
type leader struct {
	*Engine
	term     int64
	since    time.Time
	queue    *work.Queue // instances to be reconciled
	due      *work.Queue // instances with bindings to look after
	placing  sync.Mutex  // held while a pool is chosen
	promises *promises
	pollers  map[string]*poller // by pool name
	turned   chan struct{}      // holds one token when a breaker opened or closed
	pulse    work.Pulse
}

func newLeader(e *Engine, term int64) *leader {
	l := &leader{
		Engine: e, term: term, since: e.Now(), due: work.NewQueue(work.OneLane), promises: newPromises(),
		pollers: map[string]*poller{}, turned: make(chan struct{}, 1),
	}
	budgets := map[string]*budget{} // by pool
	for _, group := range e.directorGroups() {
		shared := newBudget()
		for _, pool := range group {
			budgets[pool] = shared
		}
	}
	for _, p := range e.Pools.All() {
		l.pollers[p.Name] = newPoller(l, p, e.Directors[p.Name], budgets[p.Name])
	}
	l.queue = work.NewQueue(l.laneOf, slices.Collect(maps.Keys(l.pollers))...)
	return l
}

// laneOf is the pool that an instance is in, or in whose line it stands.
func (l *leader) laneOf(id string) string {
	summary, _, _ := l.Store.Summary(id)
	return cmp.Or(summary.Pool, l.promises.pool(id))
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
				l.promises.make(id, "", "")
			}
			for _, p := range l.pollers {
				p.observe(id, summary, found)
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
