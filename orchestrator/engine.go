// Package orchestrator is the engine: it records wishes and fulfils them. The
// faces (OSB, admin, dashboard) call its request methods on every replica; on
// the leader, reconcile moves an instance one repeatable step at a time to
// where it should be.
package orchestrator

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/serviceforge/serviceforge"
	pools "github.com/serviceforge/serviceforge/infrastructure_pools"
	"github.com/serviceforge/serviceforge/orchestrator/bindings"
	"github.com/serviceforge/serviceforge/orchestrator/director"
	"github.com/serviceforge/serviceforge/orchestrator/ownership"
	"github.com/serviceforge/serviceforge/orchestrator/progress"
	"github.com/serviceforge/serviceforge/orchestrator/shelf"
	"github.com/serviceforge/serviceforge/orchestrator/work"
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
	progress *progress.Board
	strays   *ownership.Finder
	bindings *bindings.Keeper
	gate     *work.Gate
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
	strays := &ownership.Finder{
		Store: o.Store, Shelf: o.Shelf, Pools: o.Pools, Directors: o.Directors, Log: o.Log, Now: o.Now, NewID: o.NewID, PostTimeout: o.PostTimeout,
	}
	bindings := &bindings.Keeper{Store: o.Store, Shelf: o.Shelf, Users: o.Users, Log: o.Log, Now: o.Now, NewID: o.NewID}
	return &Engine{Options: o, strays: strays, bindings: bindings, progress: progress.New(o.Store, o.Now), gate: work.NewGate()}
}

// Run leads whenever this replica may, until ctx ends. It returns when nothing
// of it runs any more; a request to a director that is under way is given up
// and found again by its context id.
func (e *Engine) Run(ctx context.Context) {
	var beside sync.WaitGroup
	defer beside.Wait()
	beside.Go(func() { e.announce(ctx) })
	beside.Go(func() { e.Store.Announce(ctx, e.Name) })
	beside.Go(func() { e.progress.Hear(ctx) })
	beside.Go(func() { e.progress.ReportLooks(ctx, e.NewID(), e.leads, e.Log) })
	beside.Go(func() { e.Store.FollowSwitch(ctx, e.gate.Set) })
	for ctx.Err() == nil {
		term, err := e.Store.Lead(ctx, e.Name)
		if err != nil {
			if ctx.Err() == nil {
				e.Log.Warn("cannot lead", "error", serviceforge.DetailOf(err))
			}
			work.Pause(ctx, leadAgain)
			continue
		}
		e.Log.Info("leading", "term", term.Number)
		e.lead(ctx, term)
		term.Resign()
		e.Log.Info("leading no more", "term", term.Number)
	}
}

// leads says whether this replica leads.
func (e *Engine) leads() bool { return e.leading.Load() != nil }

// announce tells those who wait for progress of every change of a record.
func (e *Engine) announce(ctx context.Context) {
	feed := e.Store.Feed()
	defer feed.Close()
	for {
		if _, err := feed.Next(ctx); err != nil {
			return
		}
		e.progress.Tell()
	}
}
