package orchestrator

import (
	"sync"
	"time"
)

// queue holds ids to be worked on, each at most once, and never gives one out
// while it is being worked on. It is a hint, not a memory: the store knows
// what is to be done. Ids wait in lanes, each with workers of its own: what one
// lane's work waits for does not hold up the others.
type queue struct {
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

// newQueue makes a queue of the lane "" and those that are named.
func newQueue(laneOf func(id string) string, lanes ...string) *queue {
	q := &queue{
		laneOf: laneOf, lanes: map[string]*lane{},
		queued: map[string]bool{}, working: map[string]bool{}, timers: map[string]*time.Timer{},
	}
	for _, name := range append(lanes, "") {
		q.lanes[name] = &lane{ready: sync.Cond{L: &q.mu}}
	}
	return q
}

// oneLane is a laneOf.
func oneLane(string) string { return "" }

// add asks for work on id, now or as soon as the present work on it is done.
func (q *queue) add(id string) {
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
func (q *queue) wait(id string) {
	at := q.lanes[q.laneOf(id)]
	if at == nil {
		at = q.lanes[""]
	}
	at.waiting = append(at.waiting, id)
	at.ready.Signal()
}

// next waits for an id of the lane; false = the queue is closed.
func (q *queue) next(name string) (string, bool) {
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

// done ends the work on id; above zero, again asks for more after that time.
func (q *queue) done(id string, again time.Duration) {
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
		q.timers[id] = time.AfterFunc(again, func() { q.add(id) })
	}
}

// after asks for work on id after that time, unless that is asked for already.
func (q *queue) after(id string, d time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed && q.timers[id] == nil {
		q.timers[id] = time.AfterFunc(d, func() { q.add(id) })
	}
}

// close makes every next return; work under way goes on.
func (q *queue) close() {
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
