// Package orchestrator is the engine: it records wishes and fulfils them. The
// faces (OSB, admin, dashboard) call its request methods on every replica; on
// the leader, reconcile moves an instance one repeatable step at a time to
// where it should be.
package orchestrator

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/serviceforge/serviceforge"
	pools "github.com/serviceforge/serviceforge/infrastructure_pools"
	"github.com/serviceforge/serviceforge/orchestrator/director"
	"github.com/serviceforge/serviceforge/orchestrator/shelf"
	"github.com/serviceforge/serviceforge/releases/spiff"
	"github.com/serviceforge/serviceforge/store"
	"github.com/serviceforge/serviceforge/users"
)

const (
	workers = 8 // instances of one pool reconciled at the same time
	// DefaultDeadline is how long an operation is tried when its plan says nothing.
	DefaultDeadline = time.Hour
	// DefaultPostTimeout bounds one request to a director; it is well inside
	// the leader's lease.
	DefaultPostTimeout = 8 * time.Second
	leadAgain          = time.Second // pause before trying to lead again after an error
)

// Options are what an Engine needs; all fields but the last group are required.
type Options struct {
	Store     *store.Store
	Shelf     *shelf.Shelf // what is on offer, and what instances are made with
	Pools     *pools.Set
	Directors map[string]director.Director // by pool name
	Users     *users.Drivers
	Spiff     *spiff.Renderer
	Log       *slog.Logger
	Now       func() time.Time
	NewID     func() string // sortable, unique, ≤ 32 characters (ULID)

	Name        string        // this replica's name, shown to operators
	PostTimeout time.Duration // default DefaultPostTimeout
	// StrangerWait is how long a new leader waits before it repeats a request
	// that its predecessor may just have sent. Default: the lease and the post
	// timeout. Zero is right only where the predecessor and the director are
	// known to be dead: pass a negative value for that.
	StrangerWait time.Duration
	// Sweep is how long a look through all instances of a director takes, at
	// least; 0 = none is made.
	Sweep time.Duration
	// StuckAfter is how long a leader may make no step while work is due before
	// it gives the leadership up. Default: a minute.
	StuckAfter time.Duration
}

// Engine accepts requests on every replica and fulfils them on the leader.
type Engine struct {
	Options
	progress *progressBoard
	lines    toldBoard
	gate     *gate
	leading  atomic.Pointer[leader] // nil = another replica leads
}

// New returns an engine that accepts requests; Run makes it fulfil them.
func New(o Options) *Engine {
	if o.PostTimeout == 0 {
		o.PostTimeout = DefaultPostTimeout
	}
	o.StuckAfter = cmp.Or(o.StuckAfter, stuckAfter)
	switch {
	case o.StrangerWait == 0:
		o.StrangerWait = store.DefaultLease + o.PostTimeout
	case o.StrangerWait < 0:
		o.StrangerWait = 0
	}
	return &Engine{Options: o, progress: newProgressBoard(o.Now), gate: newGate()}
}

// Run leads whenever this replica may, until ctx ends. It returns when nothing
// of it runs any more; a request to a director that is under way is given up
// and found again by its context id.
func (e *Engine) Run(ctx context.Context) {
	var beside sync.WaitGroup
	defer beside.Wait()
	beside.Go(func() { e.announce(ctx) })
	beside.Go(func() { e.Store.Announce(ctx, e.Name) })
	beside.Go(func() { e.hear(ctx) })
	beside.Go(func() { e.reportLooks(ctx) })
	beside.Go(func() { e.Store.FollowSwitch(ctx, e.gate.set) })
	for ctx.Err() == nil {
		term, err := e.Store.Lead(ctx, e.Name)
		if err != nil {
			if ctx.Err() == nil {
				e.Log.Warn("cannot lead", "error", serviceforge.DetailOf(err))
			}
			pause(ctx, leadAgain)
			continue
		}
		e.Log.Info("leading", "term", term.Number)
		e.lead(ctx, term)
		term.Resign()
		e.Log.Info("leading no more", "term", term.Number)
	}
}

// announce tells those who wait for progress of every change of a record.
func (e *Engine) announce(ctx context.Context) {
	feed := e.Store.Feed()
	defer feed.Close()
	for {
		if _, err := feed.Next(ctx); err != nil {
			return
		}
		e.progress.tell()
	}
}

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
	for lane := range l.queue.lanes { // a director that hangs holds its own workers only
		for range workers {
			all.Go(func() { l.work(ctx, l.queue, lane, l.reconcile) })
		}
	}
	all.Go(func() {
		defer l.due.close()
		l.Store.FollowDue(ctx, l.due.add)
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
	queue    *queue     // instances to be reconciled
	due      *queue     // instances with bindings to look after
	placing  sync.Mutex // held while a pool is chosen
	promises *promises
	pollers  map[string]*poller // by pool name
	turned   chan struct{}      // holds one token when a breaker opened or closed
	pulse    pulse
}

func newLeader(e *Engine, term int64) *leader {
	l := &leader{
		Engine: e, term: term, since: e.Now(), due: newQueue(oneLane), promises: newPromises(),
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
	l.queue = newQueue(l.laneOf, slices.Collect(maps.Keys(l.pollers))...)
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
	defer l.queue.close()
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
				l.queue.add(id)
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
func (l *leader) work(ctx context.Context, q *queue, lane string, do func(context.Context, string) (time.Duration, error)) {
	for {
		id, ok := q.next(lane)
		if !ok {
			return
		}
		l.pulse.begin(l.Now())
		again, err := do(ctx, id)
		l.pulse.end(l.Now(), err != nil)
		if err != nil && ctx.Err() == nil {
			l.Log.Error("an instance cannot be moved on; trying again", "instance", id, "error", serviceforge.DetailOf(err))
			again = leadAgain
		}
		q.done(id, again)
	}
}

// pause waits, or returns early when ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
