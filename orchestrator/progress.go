package orchestrator

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"time"

	"github.com/serviceforge/serviceforge/orchestrator/work"
	"github.com/serviceforge/serviceforge/store"
)

const (
	// eventReads bounds what progress may cost a director: two reads a second.
	eventReads = 2
	// interest is how long after a poll somebody counts as looking.
	interest = 30 * time.Second
	// lookEvery is the pause between reads for one instance.
	lookEvery = 300 * time.Millisecond
)

// standing is how far a director has come with an instance's task.
type standing struct {
	operation string
	task      int
	read      int64 // bytes of event output read so far
	asked     time.Time
	stage     string
	node      string
	percent   int
}

// progressBoard holds standings of the instances somebody looks at. It is a
// convenience and may be lost: the record knows the step.
type progressBoard struct {
	now func() time.Time

	mu        sync.Mutex
	standings map[string]*standing
	demand    chan struct{} // holds one token after somebody asked
	looked    chan struct{} // and so does this
	changed   chan struct{} // closed and replaced at every change
}

func newProgressBoard(now func() time.Time) *progressBoard {
	return &progressBoard{now: now, standings: map[string]*standing{}, demand: make(chan struct{}, 1), looked: make(chan struct{}, 1), changed: make(chan struct{})}
}

// ask returns what is known and notes that somebody looks. least is how far the
// operation is by its step; what was shown once never falls.
func (b *progressBoard) ask(id, operation string, least int) standing {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.standings[id]
	if s == nil || s.operation != operation {
		s = &standing{operation: operation}
		b.standings[id] = s
	}
	s.asked = b.now()
	s.percent = max(s.percent, least)
	for _, wake := range []chan struct{}{b.demand, b.looked} {
		select {
		case wake <- struct{}{}:
		default:
		}
	}
	return *s
}

// at is what is known of an operation, whoever looks.
func (b *progressBoard) at(id, operation string) standing {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.standings[id]; s != nil && s.operation == operation {
		return *s
	}
	return standing{operation: operation}
}

// learn takes what the leader told of an operation.
func (b *progressBoard) learn(id, operation string, t store.ToldTask) standing {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.standings[id]
	if s == nil || s.operation != operation {
		s = &standing{operation: operation}
	}
	s.stage, s.node, s.percent = t.Stage, t.Node, max(s.percent, t.Percent)
	return *s
}

func (b *progressBoard) forget(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.standings, id)
}

// wanted lists the instances somebody looked at lately, and drops the others.
func (b *progressBoard) wanted() []string {
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

// from says from which byte on the events of a task are to be read.
func (b *progressBoard) from(id string, task int) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.standings[id]
	if s == nil {
		return 0
	}
	if s.task != task {
		*s = standing{operation: s.operation, asked: s.asked, percent: s.percent, task: task}
	}
	return s.read
}

// take applies event lines, as far as they are complete.
func (b *progressBoard) take(id string, task int, events []byte) {
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

func (b *progressBoard) tell() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tellLocked()
}

func (b *progressBoard) tellLocked() {
	close(b.changed)
	b.changed = make(chan struct{})
}

func (b *progressBoard) change() <-chan struct{} {
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

func (s *standing) apply(e event) {
	s.stage, s.node = e.Stage, nodeOf(e.Task)
	span, ok := spans[e.Stage]
	if !ok || e.Total == 0 {
		return
	}
	done := e.Index - 1
	if e.State == "finished" {
		done = e.Index
	}
	s.percent = max(s.percent, span.from+(span.to-span.from)*min(done, e.Total)/e.Total)
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

// look reads events for the instances somebody looks at, until ctx ends.
func (l *leader) look(ctx context.Context) {
	for {
		ids := l.progress.wanted()
		if len(ids) == 0 {
			select {
			case <-ctx.Done():
				return
			case <-l.progress.demand:
				continue
			}
		}
		if l.gate.Wait(ctx) != nil {
			return
		}
		for _, id := range ids {
			summary, found, _ := l.Store.Summary(id)
			p, err := l.poller(summary.Pool)
			if !found || err != nil || !summary.HasTask() {
				continue
			}
			select {
			case p.looks <- look{id, summary.Task}:
			default: // its budget is used up, or its director is slow
			}
		}
		work.Pause(ctx, lookEvery)
		if ctx.Err() != nil {
			return
		}
	}
}

// look is an instance whose task's events are to be read.
type look struct {
	instance string
	task     int
}

// read reads the events that are looked at, within the budget, until ctx ends.
func (p *poller) read(ctx context.Context) {
	for p.budget.events.Wait(ctx) == nil {
		select {
		case <-ctx.Done():
			return
		case at := <-p.looks:
			p.readEvents(ctx, at)
			p.changed()
		}
	}
}

func (p *poller) readEvents(ctx context.Context, at look) {
	ctx, cancel := context.WithTimeout(ctx, p.leader.PostTimeout)
	defer cancel()
	board := p.leader.progress
	events, err := p.director.Events(ctx, at.task, board.from(at.instance, at.task))
	if err == nil && len(events) > 0 {
		board.take(at.instance, at.task, events)
	}
}
