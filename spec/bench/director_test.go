package bench_test

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator/director"
)

// inMemory is a director in memory: every call takes latency, tasks take
// duration, and while hang is on nothing is answered at all.
type inMemory struct {
	mu          sync.Mutex
	latency     time.Duration
	duration    time.Duration
	hang        bool
	calls       map[string]int
	deployments map[string][]byte // manifests
	tasks       []task            // by id, from 1
}

type task struct {
	director.Task
	ends time.Time
}

func newDirector() *inMemory {
	return &inMemory{calls: map[string]int{}, deployments: map[string][]byte{}}
}

// turn sets the knobs. Running tasks end duration from now.
func (d *inMemory) turn(latency, duration time.Duration, hang bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.latency, d.duration, d.hang = latency, duration, hang
	ends := time.Now().Add(duration)
	for i := range d.tasks {
		d.tasks[i].ends = ends
	}
}

func (d *inMemory) counts() map[string]int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.calls)
}

// call counts a call and takes the time it takes.
func (d *inMemory) call(ctx context.Context, name string, do func() error) error {
	d.mu.Lock()
	d.calls[name]++
	latency := d.latency
	if d.hang {
		latency = time.Hour
	}
	d.mu.Unlock()
	if !sleep(ctx, latency) {
		return serviceforge.Wrap(ctx.Err(), serviceforge.Unavailable, "the director does not answer")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return do()
}

// sleep says whether the time was over before ctx.
func sleep(ctx context.Context, t time.Duration) bool {
	if t <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(t)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// begin adds a task; d.mu is held.
func (d *inMemory) begin(deployment, contextID string) int {
	id := len(d.tasks) + 1
	d.tasks = append(d.tasks, task{
		director.Task{ID: id, State: director.TaskProcessing, Deployment: deployment, ContextID: contextID},
		time.Now().Add(d.duration),
	})
	return id
}

// at is a task as it stands; d.mu is held.
func (d *inMemory) at(i int, now time.Time) director.Task {
	t := d.tasks[i].Task
	if !now.Before(d.tasks[i].ends) {
		t.State = director.TaskDone
	}
	return t
}

func (d *inMemory) Deploy(ctx context.Context, manifest []byte, contextID string) (id int, err error) {
	err = d.call(ctx, "Deploy", func() error {
		name := nameOf(manifest)
		d.deployments[name] = manifest
		id = d.begin(name, contextID)
		return nil
	})
	return id, err
}

func nameOf(manifest []byte) string {
	for line := range bytes.Lines(manifest) {
		if rest, ok := strings.CutPrefix(string(line), `"name": `); ok {
			return strings.Trim(strings.TrimSpace(rest), `"`)
		}
	}
	return ""
}

func (d *inMemory) Delete(ctx context.Context, name, contextID string) (id int, err error) {
	err = d.call(ctx, "Delete", func() error {
		delete(d.deployments, name)
		id = d.begin(name, contextID)
		return nil
	})
	return id, err
}

// Tasks answers at once, whatever q.Wait says, as other directors than our own do.
func (d *inMemory) Tasks(ctx context.Context, q director.TaskQuery) (found []director.Task, err error) {
	err = d.call(ctx, "Tasks", func() error {
		now := time.Now()
		for i := range slices.Backward(d.tasks) {
			t := d.at(i, now)
			if (q.ContextID == "" || q.ContextID == t.ContextID) && (q.Deployment == "" || q.Deployment == t.Deployment) &&
				(len(q.States) == 0 || slices.Contains(q.States, t.State)) && (q.Limit == 0 || len(found) < q.Limit) {
				found = append(found, t)
			}
		}
		return nil
	})
	return found, err
}

func (d *inMemory) Task(ctx context.Context, id int, _ time.Duration) (t director.Task, err error) {
	err = d.call(ctx, "Task", func() error {
		if id < 1 || id > len(d.tasks) {
			return serviceforge.Errorf(serviceforge.NotFound, "Task %d not found", id)
		}
		t = d.at(id-1, time.Now())
		return nil
	})
	return t, err
}

func (d *inMemory) Cancel(ctx context.Context, id int) error {
	return d.call(ctx, "Cancel", func() error {
		d.tasks[id-1].ends = time.Now()
		return nil
	})
}

func (d *inMemory) Manifest(ctx context.Context, name string) (manifest []byte, err error) {
	err = d.call(ctx, "Manifest", func() error {
		var ok bool
		if manifest, ok = d.deployments[name]; !ok {
			return serviceforge.Errorf(serviceforge.NotFound, "Deployment '%s' doesn't exist", name)
		}
		return nil
	})
	return manifest, err
}

func (d *inMemory) Instances(ctx context.Context, _ string) ([]director.VM, error) {
	return []director.VM{{Group: "node", Addresses: []string{"127.1.1.1"}}}, d.call(ctx, "Instances", func() error { return nil })
}

func (d *inMemory) Events(ctx context.Context, _ int, _ int64) ([]byte, error) {
	return nil, d.call(ctx, "Events", func() error { return nil })
}
