package orchestrator

import (
	"sync"
	"time"
)

// queue holds ids to be worked on, each at most once, and never gives one out
// while it is being worked on. It is a hint, not a memory: the store knows
// what is to be done.
type queue struct {
	mu      sync.Mutex
	ready   sync.Cond
	waiting []string
	queued  map[string]bool // in waiting, or to be put there when done
	working map[string]bool
	timers  map[string]*time.Timer
	closed  bool
}

func newQueue() *queue {
	q := &queue{queued: map[string]bool{}, working: map[string]bool{}, timers: map[string]*time.Timer{}}
	q.ready.L = &q.mu
	return q
}

// add asks for work on id, now or as soon as the present work on it is done.
func (q *queue) add(id string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.addLocked(id)
}

func (q *queue) addLocked(id string) {
	if q.closed || q.queued[id] {
		return
	}
	q.queued[id] = true
	if !q.working[id] {
		q.waiting = append(q.waiting, id)
		q.ready.Signal()
	}
}

// next waits for an id; false = the queue is closed.
func (q *queue) next() (string, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.waiting) == 0 && !q.closed {
		q.ready.Wait()
	}
	if q.closed {
		return "", false
	}
	id := q.waiting[0]
	q.waiting = q.waiting[1:]
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
		q.waiting = append(q.waiting, id)
		q.ready.Signal()
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
	q.ready.Broadcast()
}
