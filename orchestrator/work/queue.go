// Package work is what the workers of a leader go by: which id is next, whether
// they may go on, and whether they do.
package work

import (
	"maps"
	"slices"
	"sync"
	"time"
)

// Queue holds ids to be worked on, each at most once, and never gives one out
// while it is being worked on. It is a hint, not a memory: the store knows
// what is to be done. Ids wait in lanes, each with workers of its own: what one
// lane's work waits for does not hold up the others.
type Queue struct {
	laneOf func(id string) string // asked when an id begins to wait; "" for what it does not know

	mu      sync.Mutex
	lanes   map[string]*lane
	queued  map[string]bool // in a lane, or to be put there when done
	working map[string]bool
	timers  map[string]*time.Timer
	closed  bool
}

type lane struct {
	ready   sync.Cond
	waiting []string
}

// NewQueue makes a queue of the lane "" and those that are named.
func NewQueue(laneOf func(id string) string, lanes ...string) *Queue {
	q := &Queue{
		laneOf: laneOf, lanes: map[string]*lane{},
		queued: map[string]bool{}, working: map[string]bool{}, timers: map[string]*time.Timer{},
	}
	for _, name := range append(lanes, "") {
		q.lanes[name] = &lane{ready: sync.Cond{L: &q.mu}}
	}
	return q
}

// Lanes are the names of its lanes, each of which wants workers.
func (q *Queue) Lanes() []string { return slices.Collect(maps.Keys(q.lanes)) }

// OneLane is a laneOf.
func OneLane(string) string { return "" }

// Add asks for work on id, now or as soon as the present work on it is done.
func (q *Queue) Add(id string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || q.queued[id] {
		return
	}
	q.queued[id] = true
	if !q.working[id] {
		q.wait(id)
	}
}

// wait puts an id into its lane; q.mu is held.
func (q *Queue) wait(id string) {
	at := q.lanes[q.laneOf(id)]
	if at == nil {
		at = q.lanes[""]
	}
	at.waiting = append(at.waiting, id)
	at.ready.Signal()
}

// Next waits for an id of the lane; false = the queue is closed.
func (q *Queue) Next(name string) (string, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	from := q.lanes[name]
	for len(from.waiting) == 0 && !q.closed {
		from.ready.Wait()
	}
	if q.closed {
		return "", false
	}
	id := from.waiting[0]
	from.waiting = from.waiting[1:]
	delete(q.queued, id)
	q.working[id] = true
	return id, true
}

// Done ends the work on id; above zero, again asks for more after that time.
func (q *Queue) Done(id string, again time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.working, id)
	if t := q.timers[id]; t != nil {
		t.Stop()
		delete(q.timers, id)
	}
	switch {
	case q.closed:
	case q.queued[id]:
		q.wait(id)
	case again > 0:
		q.timers[id] = time.AfterFunc(again, func() { q.Add(id) })
	}
}

// After asks for work on id after that time, unless that is asked for already.
func (q *Queue) After(id string, d time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed && q.timers[id] == nil {
		q.timers[id] = time.AfterFunc(d, func() { q.Add(id) })
	}
}

// Close makes every next return; work under way goes on.
func (q *Queue) Close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for _, t := range q.timers {
		t.Stop()
	}
	for _, lane := range q.lanes {
		lane.ready.Broadcast()
	}
}
