// Package progress knows how far operations are, and where they wait: what the
// leader told all replicas, and what a replica learned for those who look.
package progress

import (
	"encoding/json"
	"strings"
	"sync"
	"time"

	"github.com/serviceforge/serviceforge/store"
)

const (
	// interest is how long after a poll somebody counts as looking.
	interest = 30 * time.Second
)

// Standing is how far a director has come with an instance's task.
type Standing struct {
	operation string
	task      int
	read      int64 // bytes of event output read so far
	asked     time.Time
	Stage     string
	Node      string
	Percent   int
}

// Board knows how far operations are: the standings of the instances somebody
// looks at, and what the leader told of each pool. It is a convenience and may
// be lost: the record knows the step.
type Board struct {
	toldBoard
	store *store.Store
	now   func() time.Time

	mu        sync.Mutex
	standings map[string]*Standing
	demand    chan struct{} // holds one token after somebody asked: for a leader
	looked    chan struct{} // and so does this: for a replica that reports it
	changed   chan struct{} // closed and replaced at every change
}

// New returns a board that knows nothing.
func New(s *store.Store, now func() time.Time) *Board {
	return &Board{store: s, now: now, standings: map[string]*Standing{}, demand: make(chan struct{}, 1), looked: make(chan struct{}, 1), changed: make(chan struct{})}
}

// Ask returns what is known and notes that somebody looks. least is how far the
// operation is by its step; what was shown once never falls.
func (b *Board) Ask(id, operation string, least int) Standing {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.standings[id]
	if s == nil || s.operation != operation {
		s = &Standing{operation: operation}
		b.standings[id] = s
	}
	s.asked = b.now()
	s.Percent = max(s.Percent, least)
	for _, wake := range []chan struct{}{b.demand, b.looked} {
		select {
		case wake <- struct{}{}:
		default:
		}
	}
	return *s
}

// At is what is known of an operation, whoever looks.
func (b *Board) At(id, operation string) Standing {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.standings[id]; s != nil && s.operation == operation {
		return *s
	}
	return Standing{operation: operation}
}

// Learn takes what the leader told of an operation.
func (b *Board) Learn(id, operation string, t store.ToldTask) Standing {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.standings[id]
	if s == nil || s.operation != operation {
		s = &Standing{operation: operation}
	}
	s.Stage, s.Node, s.Percent = t.Stage, t.Node, max(s.Percent, t.Percent)
	return *s
}

// Forget drops what is known of an instance.
func (b *Board) Forget(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.standings, id)
}

// Wanted lists the instances somebody looked at lately, and drops the others.
func (b *Board) Wanted() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var ids []string
	for id, s := range b.standings {
		if b.now().Sub(s.asked) > interest {
			delete(b.standings, id)
			continue
		}
		ids = append(ids, id)
	}
	return ids
}

// From says from which byte on the events of a task are to be read.
func (b *Board) From(id string, task int) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.standings[id]
	if s == nil {
		return 0
	}
	if s.task != task {
		*s = Standing{operation: s.operation, asked: s.asked, Percent: s.Percent, task: task}
	}
	return s.read
}

// Take applies event lines, as far as they are complete.
func (b *Board) Take(id string, task int, events []byte) {
	whole := strings.LastIndexByte(string(events), '\n') + 1
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.standings[id]
	if s == nil || s.task != task || whole == 0 {
		return
	}
	s.read += int64(whole)
	for line := range strings.Lines(string(events[:whole])) {
		var e event
		if json.Unmarshal([]byte(line), &e) == nil && e.Stage != "" {
			s.apply(e)
		}
	}
	b.tellLocked()
}

// Tell tells those who wait for a change that there may be one.
func (b *Board) Tell() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tellLocked()
}

func (b *Board) tellLocked() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// Change is closed at the next change.
func (b *Board) Change() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.changed
}

// event is a line of a task's event output (WIRE.md, "Event lines").
type event struct {
	Stage string   `json:"stage"`
	Tags  []string `json:"tags"`
	Task  string   `json:"task"`
	Index int      `json:"index"`
	Total int      `json:"total"`
	State string   `json:"state"`
}

// spans says which part of the way a stage is, in percent.
var spans = map[string]struct{ from, to int }{
	"Preparing deployment": {5, 15},
	"Compiling packages":   {15, 30},
	"Creating missing vms": {30, 50},
	"Updating instance":    {50, 90},
	"Deleting instances":   {10, 70},
}

func (s *Standing) apply(e event) {
	s.Stage, s.Node = e.Stage, nodeOf(e.Task)
	span, ok := spans[e.Stage]
	if !ok || e.Total == 0 {
		return
	}
	done := e.Index - 1
	if e.State == "finished" {
		done = e.Index
	}
	s.Percent = max(s.Percent, span.from+(span.to-span.from)*min(done, e.Total)/e.Total)
}

// nodeOf shortens "etcd/5c7b… (0) (canary)" to "etcd/0"; other task names stay.
func nodeOf(task string) string {
	group, rest, ok := strings.Cut(task, "/")
	if !ok {
		return task
	}
	_, rest, ok = strings.Cut(rest, " (")
	index, _, closed := strings.Cut(rest, ")")
	if !ok || !closed {
		return task
	}
	return group + "/" + index
}

// Demand gives a token after somebody asked.
func (b *Board) Demand() <-chan struct{} { return b.demand }
