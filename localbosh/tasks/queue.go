package tasks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/serviceforge/serviceforge/localbosh/bosherr"
	"github.com/serviceforge/serviceforge/localbosh/durable"
)

type handler func(ctx context.Context, r *Run, args json.RawMessage) (string, error)

func decoding[A any](fn func(context.Context, *Run, A) (string, error)) handler {
	return func(ctx context.Context, r *Run, raw json.RawMessage) (string, error) {
		var args A
		if err := json.Unmarshal(raw, &args); err != nil {
			return "", fmt.Errorf("arguments of task %d: %w", r.ID(), err)
		}
		return fn(ctx, r, args)
	}
}

// Queue runs tasks. Its methods are safe for concurrent use.
type Queue struct {
	opts     Options
	log      *slog.Logger
	boot     int64
	handlers map[Type]handler
	workers  sync.WaitGroup

	mu      sync.Mutex
	work    *sync.Cond // signalled when a task is queued or the queue stops
	stopped bool
	cancel  context.CancelCauseFunc
	tasks   map[int]*task
	last    int
	queued  []*task
	version uint64
	changed chan struct{} // closed and replaced at every change of a state
	locks   map[string]*lock
	freed   chan struct{} // closed and replaced whenever a lock is released
}

// task is a row; all fields but args are guarded by Queue.mu.
type task struct {
	Task
	kind    Type
	args    json.RawMessage
	changed uint64 // Queue.version of the last change of State
	events  int64  // bytes of whole event lines while it runs, else -1
	ending  bool   // its end is being stored: too late to cancel
	cancel  context.CancelCauseFunc
}

var (
	errCancelled = errors.New("task cancelled")
	errStopping  = errors.New("director restarted")
)

// New opens the queue in o.Dir. Tasks that were running when the last director
// ended become timed out ("director restarted"); queued ones run after Start.
func New(o Options) (*Queue, error) {
	if o.Workers <= 0 {
		o.Workers = 3
	}
	if o.Keep <= 0 {
		o.Keep = 2000
	}
	if o.LockWait <= 0 {
		o.LockWait = 10 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	q := &Queue{
		opts: o, log: o.Log, boot: time.Now().UnixNano(),
		handlers: map[Type]handler{}, tasks: map[int]*task{}, locks: map[string]*lock{},
		changed: make(chan struct{}), freed: make(chan struct{}),
	}
	q.work = sync.NewCond(&q.mu)
	if err := q.load(); err != nil {
		return nil, err
	}
	return q, nil
}

// Start begins to run tasks; they end when Stop is called.
func (q *Queue) Start() {
	ctx, cancel := context.WithCancelCause(context.Background())
	q.mu.Lock()
	q.cancel = cancel
	q.mu.Unlock()
	for range q.opts.Workers {
		q.workers.Go(func() { q.worker(ctx, false) })
	}
	q.workers.Go(func() { q.worker(ctx, true) })
}

// Stop cancels the running tasks, which time out ("director restarted"),
// and waits for them. Queued tasks stay queued for the next director.
func (q *Queue) Stop() {
	q.mu.Lock()
	q.stopped = true
	cancel := q.cancel
	q.mu.Unlock()
	if cancel != nil {
		cancel(errStopping)
	}
	q.work.Broadcast()
	q.workers.Wait()
}

// Enqueue stores a task and queues it. When it returns without an error, the
// task survives the loss of power (if it is not read-only).
func (q *Queue) Enqueue(s Spec) (Task, error) {
	args, err := json.Marshal(s.Args)
	if err != nil {
		return Task{}, fmt.Errorf("arguments of %s: %w", s.Type, err)
	}
	q.mu.Lock()
	if q.stopped {
		q.mu.Unlock()
		return Task{}, errors.New("the director is stopping")
	}
	q.last++
	t := &task{kind: s.Type, args: args, events: -1, Task: Task{
		ID: q.last, State: Queued, Description: s.Description, User: s.User, ContextID: s.ContextID,
	}}
	if s.Deployment != "" {
		t.Deployment = &s.Deployment
	}
	q.mu.Unlock()

	if err := q.create(t); err != nil {
		return Task{}, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.tasks[t.ID] = t
	q.queued = append(q.queued, t)
	q.touch(t)
	q.work.Broadcast()
	return t.Task, nil
}

// Get returns task id, or an error with code 10000.
func (q *Queue) Get(id int) (Task, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	t, ok := q.tasks[id]
	if !ok {
		return Task{}, bosherr.New(bosherr.TaskNotFound, "Task %d not found", id)
	}
	return t.Task, nil
}

// List returns the selected tasks, newest first.
func (q *Queue) List(f Filter) []Task {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.list(f)
}

func (q *Queue) list(f Filter) []Task {
	out := []Task{}
	for _, t := range q.tasks {
		if f.matches(t) && (len(f.States) == 0 || slices.Contains(f.States, t.State)) {
			out = append(out, t.Task)
		}
	}
	slices.SortFunc(out, func(a, b Task) int { return b.ID - a.ID })
	if f.Limit > 0 && len(out) > f.Limit {
		out = out[:f.Limit]
	}
	return out
}

// matches leaves the state out, so that a task which just left the list counts.
func (f Filter) matches(t *task) bool {
	return (f.ReadOnly || !t.kind.ReadOnly()) &&
		(f.Deployment == nil || (t.Deployment != nil && *t.Deployment == *f.Deployment)) &&
		(f.ContextID == nil || t.ContextID == *f.ContextID)
}

// Cancel asks task id to end. A queued task is cancelled at once, a running one
// when its work has come to a stop. An ended one is an error with code 10002.
func (q *Queue) Cancel(id int) error {
	t, queued, err := q.cancelling(id)
	if queued {
		q.finish(t, "", errCancelled)
	}
	return err
}

// cancelling says whether the task was queued; it is taken from the queue then.
func (q *Queue) cancelling(id int) (t *task, queued bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	t, ok := q.tasks[id]
	if !ok {
		return nil, false, bosherr.New(bosherr.TaskNotFound, "Task %d not found", id)
	}
	switch {
	case t.ending, t.State == Cancelling:
	case t.State == Queued:
		q.queued = slices.DeleteFunc(q.queued, func(o *task) bool { return o == t })
		t.ending = true
		return t, true, nil
	case t.State == Processing:
		now := time.Now().Unix()
		t.State, t.Timestamp = Cancelling, &now
		q.touch(t)
		q.save(row{t.Task, t.kind, nil}, durable.Process)
		if t.cancel != nil {
			t.cancel(errCancelled)
		}
	default:
		return nil, false, bosherr.New(bosherr.TaskBadState, "Cannot cancel task %d: invalid state (%s)", id, t.State)
	}
	return t, false, nil
}

// touch makes a change of t's state known; q.mu is held.
func (q *Queue) touch(t *task) {
	q.version++
	t.changed = q.version
	close(q.changed)
	q.changed = make(chan struct{})
}

func (q *Queue) worker(ctx context.Context, readOnly bool) {
	for {
		t := q.take(readOnly)
		if t == nil {
			return
		}
		q.run(ctx, t)
	}
}

// take waits for the next task and marks it as running; nil when the queue
// stops.
func (q *Queue) take(readOnly bool) *task {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		if q.stopped {
			return nil
		}
		i := slices.IndexFunc(q.queued, func(t *task) bool { return t.kind.ReadOnly() == readOnly })
		if i < 0 {
			q.work.Wait()
			continue
		}
		t := q.queued[i]
		q.queued = slices.Delete(q.queued, i, i+1)
		now := time.Now().Unix()
		t.State, t.StartedAt, t.events = Processing, &now, 0
		q.touch(t)
		q.save(row{t.Task, t.kind, nil}, durable.Process)
		return t
	}
}

// Waiting returns the arguments of the queued tasks of type t.
func Waiting[A any](q *Queue, t Type) []A {
	q.mu.Lock()
	defer q.mu.Unlock()
	var out []A
	for _, w := range q.queued {
		var a A
		if w.kind == t && json.Unmarshal(w.args, &a) == nil {
			out = append(out, a)
		}
	}
	return out
}
