package orchestrator

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator/work"
	"github.com/serviceforge/serviceforge/store"
)

// toldBoard is what the leader told of each pool: the same on all replicas.
type toldBoard struct {
	mu    sync.RWMutex
	pools map[string]told
}

// told is what is told of one pool, with the places looked up.
type told struct {
	store.Told
	places map[uint64]int // by store.LineName of the operation
}

func (b *toldBoard) set(pool string, t store.Told) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pools == nil {
		b.pools = map[string]told{}
	}
	b.pools[pool] = told{t, t.Places()}
}

// standingInLine is where an operation waits.
type standingInLine struct {
	pool      string
	place, of int           // from 1; 0 = not in a line, or too far back
	in        time.Duration // about when it is its turn; 0 = not known
	trouble   bool          // the pool's breaker is open
}

// place says where an operation waits; pool "" = in no line that is known of.
func (b *toldBoard) place(operation string) standingInLine {
	b.mu.RLock()
	defer b.mu.RUnlock()
	name := store.LineName(operation)
	for pool, t := range b.pools {
		at := t.places[name]
		if at == 0 {
			continue
		}
		s := standingInLine{pool: pool, place: at, of: t.Waiting, trouble: t.Trouble}
		if n, exact := slices.BinarySearchFunc(t.Turns, at, func(turn store.Turn, at int) int { return turn.Place - at }); exact {
			s.in = t.Turns[n].In
		} else if n > 0 {
			s.in = t.Turns[n-1].In
		}
		return s
	}
	return standingInLine{}
}

// task says how far the task of an operation is.
func (b *toldBoard) task(pool, operation string) (store.ToldTask, bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	t, known := b.pools[pool].Tasks[operation]
	return t, known
}

// waiting counts those who wait in the line of a pool.
func (b *toldBoard) waiting(pool string) int {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.pools[pool].Waiting
}

// hear takes what the leader tells, until ctx ends.
func (e *Engine) hear(ctx context.Context) {
	e.Store.FollowTold(ctx, func(pool string, t store.Told) {
		e.lines.set(pool, t)
		e.progress.tell()
	})
}

// lookAgain is how often the leader is told that somebody still looks.
const lookAgain = interest / 2

// reportLooks tells the leader, where this replica does not lead, at which
// instances somebody looks: when that changed, at most every tellEvery.
func (e *Engine) reportLooks(ctx context.Context) {
	replica := e.NewID()
	var before []string
	var at time.Time
	for ctx.Err() == nil {
		looked := e.tasksLookedAt()
		switch {
		case len(looked) == 0 || e.leading.Load() != nil:
			before = nil
			select {
			case <-ctx.Done():
				return
			case <-e.progress.looked:
			}
			continue
		case e.Now().Sub(at) < lookAgain && !slices.ContainsFunc(looked, func(id string) bool { return !slices.Contains(before, id) }):
		default:
			if err := e.Store.PutLooks(ctx, replica, looked, interest); err != nil && ctx.Err() == nil {
				e.Log.Warn("the leader was not told who looks", "error", serviceforge.DetailOf(err))
			}
			before, at = looked, e.Now()
		}
		work.Pause(ctx, tellEvery)
	}
}

// looksMost bounds what one replica reports: progress of so many cannot be read anyway.
const looksMost = 500

// tasksLookedAt are the instances with a task at whose progress somebody looks.
func (e *Engine) tasksLookedAt() []string {
	looked := slices.DeleteFunc(e.progress.wanted(), func(id string) bool {
		s, found, _ := e.Store.Summary(id)
		return !found || !s.HasTask()
	})
	return looked[:min(len(looked), looksMost)]
}

// hearLooks notes at what somebody looks through other replicas.
func (l *leader) hearLooks(ctx context.Context) {
	l.Store.FollowLooks(ctx, func(instances []string) {
		for _, id := range instances {
			if s, found, _ := l.Store.Summary(id); found && s.Busy() {
				l.progress.ask(id, s.OperationID, waitingFor[s.Step].percent)
			}
		}
	})
}
