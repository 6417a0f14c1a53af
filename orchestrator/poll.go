package orchestrator

import (
	"context"
	"sync"
	"time"

	"github.com/serviceforge/serviceforge"
	pools "github.com/serviceforge/serviceforge/infrastructure_pools"
	"github.com/serviceforge/serviceforge/orchestrator/breaker"
	"github.com/serviceforge/serviceforge/orchestrator/director"
	"github.com/serviceforge/serviceforge/orchestrator/line"
	"github.com/serviceforge/serviceforge/orchestrator/work"
	"github.com/serviceforge/serviceforge/store"
)

const (
	taskHold     = time.Second      // how long the director may hold an answer while nothing happens
	sulk         = 10 * time.Second // longest pause after a director that does not answer
	harvestLeast = 50               // ended tasks asked for at once
)

// poller is the one watcher of a pool's tasks. It asks its director once for all
// of them, and not at all while nothing is in flight.
type poller struct {
	leader   *leader
	pool     pools.Pool
	director director.Director
	breaker  *breaker.Breaker
	kept     store.Breaker // what of it is stored; of keepBreakers only
	budget   *budget       // of the director's, shared by its pools
	wake     chan struct{} // holds one token when something is expected
	news     chan struct{} // holds one token when there may be something to tell
	looks    chan look     // unbuffered: what cannot be read now is asked for again
	restored store.Told    // what was told last, by whichever leader

	mu       sync.Mutex
	inFlight map[string]flight     // by instance: who holds one of the pool's slots
	line     *line.Line            // instances that wait for a slot
	took     line.Durations        // of tasks
	expected map[int]string        // unfinished task -> instance
	due      map[string]time.Time  // instance -> when the time of its operation is over
	live     map[int]director.Task // what the last list said of them
	results  map[int]outcome       // ended tasks nobody has asked for yet
}

// outcome is what became of an ended task.
type outcome struct {
	instance string
	task     director.Task
	err      error
}

func newPoller(l *leader, pool pools.Pool, d director.Director, b *budget) *poller {
	p := &poller{
		leader: l, pool: pool, budget: b, wake: make(chan struct{}, 1), news: make(chan struct{}, 1), looks: make(chan look),
		inFlight: map[string]flight{}, line: line.New(), took: line.Durations{}, expected: map[int]string{}, due: map[string]time.Time{}, live: map[int]director.Task{}, results: map[int]outcome{},
	}
	p.breaker = breaker.New(l.Now, p.turned)
	if d != nil {
		p.director = p.breaker.Hear(d)
	}
	return p
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

// result returns what is known of an intent's task without asking the director.
// The owner of a running task is woken when it ends. NotFound = the director
// does not know the task, or has another one under its number: it was set up anew.
func (p *poller) result(instance string, intent *serviceforge.Intent) (director.Task, error) {
	p.mu.Lock()
	o, ended := p.results[intent.Task]
	last, listed := p.live[intent.Task]
	p.mu.Unlock()
	switch {
	case ended && o.err != nil:
		return o.task, o.err
	case ended:
		last = o.task
	case !listed:
		last = director.Task{ID: intent.Task, State: director.TaskProcessing, ContextID: intent.ContextID}
	}
	if last.ContextID != intent.ContextID {
		p.forsake(intent.Task)
		return director.Task{}, serviceforge.Errorf(serviceforge.NotFound, "task %d of the director is somebody else's", intent.Task)
	}
	if !ended {
		p.expect(instance, intent.Task) // also when listed: a list names tasks that nobody expects
	}
	return last, nil
}

// forsake expects a task no more.
func (p *poller) forsake(task int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.expected, task)
}

// run polls until ctx ends. While the director does not answer it asks ever
// more seldom; only its own instances wait for that.
func (p *poller) run(ctx context.Context) {
	trouble := time.Duration(0)
	for {
		expected := p.waitForWork(ctx)
		if ctx.Err() != nil || p.leader.gate.Wait(ctx) != nil || p.budget.pace.wait(ctx) != nil {
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
		work.Pause(ctx, trouble)
	}
}

// waitForWork returns the tasks expected now, and waits while there are none.
// None with a live ctx: the director is away, and is to be asked how it is.
func (p *poller) waitForWork(ctx context.Context) []int {
	for {
		p.mu.Lock()
		due, some := p.breaker.TryIn()
		if some && due == 0 {
			p.wakeLine()
		}
		tasks := make([]int, 0, len(p.expected))
		for task := range p.expected {
			tasks = append(tasks, task)
		}
		p.mu.Unlock()
		if known := p.breaker.State(); len(tasks) > 0 || known.Away {
			return tasks
		}
		p.rest(ctx, due)
		if ctx.Err() != nil {
			return nil
		}
	}
}

// rest waits until something is expected, or for a time above zero.
func (p *poller) rest(ctx context.Context, most time.Duration) {
	if most > 0 {
		timer := time.NewTimer(most)
		defer timer.Stop()
		select {
		case <-ctx.Done():
		case <-p.wake:
		case <-timer.C:
		}
		return
	}
	select {
	case <-ctx.Done():
	case <-p.wake:
	}
}

// poll asks once: whether anybody is there, for the one task that is expected, or for all unfinished
// ones. Those expected that are not among them have ended, and are asked for
// together.
func (p *poller) poll(ctx context.Context, expected []int) error {
	if len(expected) == 1 {
		return p.lookUp(ctx, expected[0], taskHold)
	}
	asking, cancel := context.WithTimeout(ctx, p.leader.PostTimeout+taskHold)
	defer cancel()
	if len(expected) == 0 {
		_, err := p.director.Tasks(asking, director.TaskQuery{States: director.Unfinished, Limit: 1})
		return err
	}
	tasks, err := p.director.Tasks(asking, director.TaskQuery{States: director.Unfinished, Wait: taskHold})
	if err != nil {
		return err
	}
	listed := map[int]director.Task{}
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
	for id, task := range listed {
		p.heard(id, task)
	}
	p.live = listed
	p.mu.Unlock()
	if len(ended) == 0 {
		return nil
	}
	if err := p.budget.pace.wait(ctx); err != nil {
		return err
	}
	return p.harvest(ctx, ended)
}

// heard has the owner of a running task look at it when it is not what it was
// (it may be somebody else's now), or when its time is over. p.mu is held.
func (p *poller) heard(id int, task director.Task) {
	instance, ours := p.expected[id]
	if !ours {
		return
	}
	at, limited := p.due[instance]
	over := limited && !p.leader.Now().Before(at)
	if before := p.live[id]; over || before.ContextID != task.ContextID || before.State != task.State {
		p.leader.queue.Add(instance)
	}
}

// dueAt notes when the time of an instance's operation is over.
func (p *poller) dueAt(instance string, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.due[instance] = at
}

// lookUp asks for one task and takes what has become of it.
func (p *poller) lookUp(ctx context.Context, id int, hold time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, p.leader.PostTimeout+hold)
	defer cancel()
	task, err := p.director.Task(ctx, id, hold)
	switch {
	case err != nil && serviceforge.CodeOf(err) != serviceforge.NotFound:
		return err
	case err == nil && task.Running():
		p.mu.Lock()
		defer p.mu.Unlock()
		p.heard(id, task)
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
	tasks, err := p.director.Tasks(asking, director.TaskQuery{States: director.Ended, Limit: max(harvestLeast, 2*len(ended))})
	if err != nil {
		return err
	}
	known := map[int]director.Task{}
	for _, t := range tasks {
		known[t.ID] = t
	}
	for _, id := range ended {
		if task, ok := known[id]; ok {
			p.ended(id, task, nil)
			continue
		}
		if err := p.budget.pace.wait(ctx); err != nil {
			return err
		}
		if err := p.lookUp(ctx, id, 0); err != nil {
			return err
		}
	}
	return nil
}

// ended keeps an outcome and wakes the instance it belongs to.
func (p *poller) ended(id int, task director.Task, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	instance, ok := p.expected[id]
	if !ok {
		return
	}
	delete(p.expected, id)
	delete(p.live, id)
	p.results[id] = outcome{instance: instance, task: task, err: err}
	p.leader.queue.Add(instance)
}
