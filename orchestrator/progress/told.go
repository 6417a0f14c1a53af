package progress

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/serviceforge/serviceforge/orchestrator/line"
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

// InLine is where an operation waits.
type InLine struct {
	Pool      string
	Place, Of int           // from 1; 0 = not in a line, or too far back
	In        time.Duration // about when it is its turn; 0 = not known
	trouble   bool          // the pool's breaker is open
}

// Place says where an operation waits; pool "" = in no line that is known of.
func (b *toldBoard) Place(operation string) InLine {
	b.mu.RLock()
	defer b.mu.RUnlock()
	name := store.LineName(operation)
	for pool, t := range b.pools {
		at := t.places[name]
		if at == 0 {
			continue
		}
		s := InLine{Pool: pool, Place: at, Of: t.Waiting, trouble: t.Trouble}
		if n, exact := slices.BinarySearchFunc(t.Turns, at, func(turn store.Turn, at int) int { return turn.Place - at }); exact {
			s.In = t.Turns[n].In
		} else if n > 0 {
			s.In = t.Turns[n-1].In
		}
		return s
	}
	return InLine{}
}

// Task says how far the task of an operation is.
func (b *toldBoard) Task(pool, operation string) (store.ToldTask, bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	t, known := b.pools[pool].Tasks[operation]
	return t, known
}

// Waiting counts those who wait in the line of a pool.
func (b *toldBoard) Waiting(pool string) int {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.pools[pool].Waiting
}

// Words tells where somebody waits, and for how long.
func (s *InLine) Words() string {
	where := fmt.Sprintf("%s of %d in line", line.Ordinal(s.Place), s.Of)
	switch {
	case s.trouble:
		return "Waiting until the infrastructure is well again: " + where
	case s.In > 0:
		where += ", " + line.About(s.In)
	}
	return "Waiting for a worker of the director: " + where
}
