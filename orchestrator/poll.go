package orchestrator

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/serviceforge/serviceforge"
	pools "github.com/serviceforge/serviceforge/infrastructure_pools"
	"github.com/serviceforge/serviceforge/store"
)

const (
	taskHold     = time.Second      // how long the director may hold an answer while nothing happens
	sulk         = 10 * time.Second // longest pause after a director that does not answer
	harvestLeast = 50               // ended tasks asked for at once
)

// poller is the one watcher of a director's tasks. It asks once for all of
// them, and not at all while nothing is in flight.
type poller struct {
	leader   *leader
	pool     pools.Pool
	director Director
	pace     pace
	wake     chan struct{} // holds one token when something is expected

	mu       sync.Mutex
	inFlight map[string]struct{} // instances that hold one of the pool's slots
	waiting  []string            // instances that wait for a slot, in order
	expected map[int]string      // unfinished task -> instance
	live     map[int]Task        // what the last list said of them
	results  map[int]outcome     // ended tasks nobody has asked for yet
}

// outcome is what became of an ended task.
type outcome struct {
	instance string
	task     Task
	err      error
}

func newPoller(l *leader, pool pools.Pool, d Director) *poller {
	return &poller{
		leader: l, pool: pool, director: d, wake: make(chan struct{}, 1),
		inFlight: map[string]struct{}{}, expected: map[int]string{}, live: map[int]Task{}, results: map[int]outcome{},
	}
}

// poller returns the poller of a pool; an instance's pool may have been taken
// out of the configuration.
func (l *leader) poller(pool string) (*poller, error) {
	p, ok := l.pollers[pool]
	if !ok || p.director == nil {
		return nil, serviceforge.Errorf(serviceforge.Unavailable, "the infrastructure pool %s is not configured", pool)
	}
	return p, nil
}

// admit gives an instance one of the pool's slots, or a place in the line.
func (p *poller) admit(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, has := p.inFlight[id]; has {
		return true
	}
	at := slices.Index(p.waiting, id)
	if free := p.pool.MaxInFlight - len(p.inFlight); free > 0 && (at >= 0 && at < free || at < 0 && len(p.waiting) < free) {
		p.inFlight[id] = struct{}{}
		if at >= 0 {
			p.waiting = slices.Delete(p.waiting, at, at+1)
		}
		return true
	}
	if at < 0 {
		p.waiting = append(p.waiting, id)
	}
	return false
}

// observe learns from a record that changed: who holds a slot, who is done.
func (p *poller) observe(id string, s store.Summary, found bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case found && s.Busy() && s.Pool == p.pool.Name && (s.Step == serviceforge.Rendered || s.Step == serviceforge.Submitted):
		p.inFlight[id] = struct{}{}
	case !found || !s.Busy() || s.Step == serviceforge.Deployed:
		p.release(id, !found || !s.Busy())
	}
}

// release frees the instance's slot for the next in line; over = nothing of it
// is of interest any more. p.mu is held.
func (p *poller) release(id string, over bool) {
	delete(p.inFlight, id)
	if over {
		p.waiting = slices.DeleteFunc(p.waiting, func(w string) bool { return w == id })
		for task, owner := range p.expected {
			if owner == id {
				delete(p.expected, task)
				delete(p.live, task)
			}
		}
		for task, o := range p.results {
			if o.instance == id {
				delete(p.results, task)
			}
		}
	}
	for n := range min(len(p.waiting), max(0, p.pool.MaxInFlight-len(p.inFlight))) {
		p.leader.queue.add(p.waiting[n])
	}
}

// position is the instance's place in the line, from 1; 0 = it is not in it.
func (p *poller) position(id string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Index(p.waiting, id) + 1
}

// expect watches a task for an instance.
func (p *poller) expect(instance string, task int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.results[task]; known {
		return
	}
	p.expected[task] = instance
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// result returns what is known of a task without asking the director. The
// owner of a running task is woken when it ends. NotFound = the director does
// not know the task.
func (p *poller) result(instance string, task int) (Task, error) {
	p.mu.Lock()
	o, ended := p.results[task]
	last, listed := p.live[task]
	p.mu.Unlock()
	if ended {
		return o.task, o.err
	}
	p.expect(instance, task) // also when listed: a list names tasks that nobody expects
	if listed {
		return last, nil
	}
	return Task{ID: task, State: TaskProcessing}, nil
}

// run polls until ctx ends. While the director does not answer it asks ever
// more seldom; only its own instances wait for that.
func (p *poller) run(ctx context.Context) {
	trouble := time.Duration(0)
	for {
		expected := p.waitForWork(ctx)
		if ctx.Err() != nil || p.pace.wait(ctx) != nil {
			return
		}
		err := p.poll(ctx, expected)
		if err == nil {
			trouble = 0
			continue
		}
		if ctx.Err() != nil {
			return
		}
		trouble = min(max(2*trouble, time.Second), sulk)
		p.leader.Log.Warn("a director does not answer", "pool", p.pool.Name, "again_in", trouble, "error", serviceforge.DetailOf(err))
		pause(ctx, trouble)
	}
}

// waitForWork returns the tasks expected now, and waits while there are none.
func (p *poller) waitForWork(ctx context.Context) []int {
	for {
		p.mu.Lock()
		tasks := make([]int, 0, len(p.expected))
		for task := range p.expected {
			tasks = append(tasks, task)
		}
		p.mu.Unlock()
		if len(tasks) > 0 {
			return tasks
		}
		select {
		case <-ctx.Done():
			return nil
		case <-p.wake:
		}
	}
}

// poll asks once: for the one task that is expected, or for all unfinished
// ones. Those expected that are not among them have ended, and are asked for
// together.
func (p *poller) poll(ctx context.Context, expected []int) error {
	if len(expected) == 1 {
		return p.lookUp(ctx, expected[0], taskHold)
	}
	asking, cancel := context.WithTimeout(ctx, p.leader.PostTimeout+taskHold)
	defer cancel()
	tasks, err := p.director.Tasks(asking, TaskQuery{States: unfinished, Wait: taskHold})
	if err != nil {
		return err
	}
	listed := map[int]Task{}
	for _, t := range tasks {
		listed[t.ID] = t
	}
	var ended []int
	for _, task := range expected {
		if _, runs := listed[task]; !runs {
			ended = append(ended, task)
		}
	}
	p.mu.Lock()
	p.live = listed
	p.mu.Unlock()
	if len(ended) == 0 {
		return nil
	}
	if err := p.pace.wait(ctx); err != nil {
		return err
	}
	return p.harvest(ctx, ended)
}

// lookUp asks for one task and takes what has become of it.
func (p *poller) lookUp(ctx context.Context, id int, hold time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, p.leader.PostTimeout+hold)
	defer cancel()
	task, err := p.director.Task(ctx, id, hold)
	switch {
	case err != nil && serviceforge.CodeOf(err) != serviceforge.NotFound:
		return err
	case err == nil && task.running():
		p.mu.Lock()
		defer p.mu.Unlock()
		p.live[id] = task
		return nil
	}
	p.ended(id, task, err)
	return nil
}

// harvest learns how tasks ended: in one call for all that ended lately, and
// one by one for the rest.
func (p *poller) harvest(ctx context.Context, ended []int) error {
	asking, cancel := context.WithTimeout(ctx, p.leader.PostTimeout)
	defer cancel()
	tasks, err := p.director.Tasks(asking, TaskQuery{States: finished, Limit: max(harvestLeast, 2*len(ended))})
	if err != nil {
		return err
	}
	known := map[int]Task{}
	for _, t := range tasks {
		known[t.ID] = t
	}
	for _, id := range ended {
		if task, ok := known[id]; ok {
			p.ended(id, task, nil)
			continue
		}
		if err := p.pace.wait(ctx); err != nil {
			return err
		}
		if err := p.lookUp(ctx, id, 0); err != nil {
			return err
		}
	}
	return nil
}

// ended keeps an outcome and wakes the instance it belongs to.
func (p *poller) ended(id int, task Task, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	instance, ok := p.expected[id]
	if !ok {
		return
	}
	delete(p.expected, id)
	delete(p.live, id)
	p.results[id] = outcome{instance: instance, task: task, err: err}
	p.leader.queue.add(instance)
}
