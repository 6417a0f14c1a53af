package dispatch

import (
	"context"
	"maps"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator/director"
	"github.com/serviceforge/serviceforge/orchestrator/work"
)

const (
	taskHold     = time.Second      // how long the director may hold an answer while nothing happens
	sulk         = 10 * time.Second // longest pause after a director that does not answer
	harvestLeast = 50               // ended tasks asked for at once
)

// Expect watches a task for an instance.
func (p *Dispatcher) Expect(instance string, task int) {
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

// Task returns what is known of an intent's task without asking the director.
// The owner of a running task is woken when it ends. NotFound = the director
// does not know the task, or has another one under its number: it was set up anew.
func (p *Dispatcher) Task(instance string, intent *serviceforge.Intent) (director.Task, error) {
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
		p.Expect(instance, intent.Task) // also when listed: a list names tasks that nobody expects
	}
	return last, nil
}

// forsake expects a task no more.
func (p *Dispatcher) forsake(task int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.expected, task)
}

// watch polls until ctx ends. While the director does not answer it asks ever
// more seldom; only its own instances wait for that.
func (p *Dispatcher) watch(ctx context.Context) {
	trouble := time.Duration(0)
	for {
		expected := p.waitForWork(ctx)
		if ctx.Err() != nil || p.common.Gate.Wait(ctx) != nil || p.budget.pace.wait(ctx) != nil {
			return
		}
		asked := time.Now()
		news, err := p.poll(ctx, expected)
		if err == nil {
			trouble = 0
			if !news { // not every director holds its answer: to ask at once would only use up the calls
				work.Pause(ctx, taskHold-time.Since(asked))
			}
			continue
		}
		if ctx.Err() != nil {
			return
		}
		trouble = min(max(2*trouble, time.Second), sulk)
		p.common.Log.Warn("a director does not answer", "pool", p.Pool.Name, "again_in", trouble, "error", serviceforge.DetailOf(err))
		work.Pause(ctx, trouble)
	}
}

// waitForWork returns the tasks expected now, and waits while there are none.
// None with a live ctx: the director is away, and is to be asked how it is.
func (p *Dispatcher) waitForWork(ctx context.Context) []int {
	for {
		p.mu.Lock()
		due, some := p.Breaker.TryIn()
		if some && due == 0 {
			p.wakeLine()
		}
		tasks := make([]int, 0, len(p.expected))
		for task := range p.expected {
			tasks = append(tasks, task)
		}
		p.mu.Unlock()
		if known := p.Breaker.State(); len(tasks) > 0 || known.Away {
			return tasks
		}
		p.rest(ctx, due)
		if ctx.Err() != nil {
			return nil
		}
	}
}

// rest waits until something is expected, or for a time above zero.
func (p *Dispatcher) rest(ctx context.Context, most time.Duration) {
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
// together. news: something is not as it was.
func (p *Dispatcher) poll(ctx context.Context, expected []int) (news bool, err error) {
	if len(expected) == 1 {
		return p.lookUp(ctx, expected[0], taskHold)
	}
	asking, cancel := context.WithTimeout(ctx, p.common.PostTimeout+taskHold)
	defer cancel()
	if len(expected) == 0 {
		_, err := p.Director.Tasks(asking, director.TaskQuery{States: director.Unfinished, Limit: 1})
		return true, err
	}
	tasks, err := p.Director.Tasks(asking, director.TaskQuery{States: director.Unfinished, Wait: taskHold})
	if err != nil {
		return false, err
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
	news = !maps.Equal(listed, p.live)
	p.live = listed
	p.mu.Unlock()
	if len(ended) == 0 {
		return news, nil
	}
	if err := p.budget.pace.ahead(ctx); err != nil {
		return true, err
	}
	return true, p.harvest(ctx, ended)
}

// heard has the owner of a running task look at it when it is not what it was
// (it may be somebody else's now), or when its time is over. p.mu is held.
func (p *Dispatcher) heard(id int, task director.Task) {
	instance, ours := p.expected[id]
	if !ours {
		return
	}
	at, limited := p.due[instance]
	over := limited && !p.common.Now().Before(at)
	if before := p.live[id]; over || before.ContextID != task.ContextID || before.State != task.State {
		p.common.Queue.Add(instance)
	}
}

// DueAt notes when the time of an instance's operation is over.
func (p *Dispatcher) DueAt(instance string, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.due[instance] = at
}

// lookUp asks for one task and takes what has become of it; news: it is not as it was.
func (p *Dispatcher) lookUp(ctx context.Context, id int, hold time.Duration) (news bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, p.common.PostTimeout+hold)
	defer cancel()
	task, err := p.Director.Task(ctx, id, hold)
	switch {
	case err != nil && serviceforge.CodeOf(err) != serviceforge.NotFound:
		return false, err
	case err == nil && task.Running():
		p.mu.Lock()
		defer p.mu.Unlock()
		p.heard(id, task)
		news = p.live[id] != task
		p.live[id] = task
		return news, nil
	}
	p.ended(id, task, err)
	return true, nil
}

// harvest learns how tasks ended: in one call for all that ended lately, and
// one by one for the rest.
func (p *Dispatcher) harvest(ctx context.Context, ended []int) error {
	asking, cancel := context.WithTimeout(ctx, p.common.PostTimeout)
	defer cancel()
	tasks, err := p.Director.Tasks(asking, director.TaskQuery{States: director.Ended, Limit: max(harvestLeast, 2*len(ended))})
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
		if _, err := p.lookUp(ctx, id, 0); err != nil {
			return err
		}
	}
	return nil
}

// ended keeps an outcome and wakes the instance it belongs to.
func (p *Dispatcher) ended(id int, task director.Task, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	instance, ok := p.expected[id]
	if !ok {
		return
	}
	delete(p.expected, id)
	delete(p.live, id)
	p.results[id] = outcome{instance: instance, task: task, err: err}
	p.common.Queue.Add(instance)
}
