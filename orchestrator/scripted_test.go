package orchestrator_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator/director"
)

// scripted is a director in memory. It keeps to what WIRE.md says a real one
// does; steps of tasks happen when a test lets them.
type scripted struct {
	mu          sync.Mutex
	deployments map[string]*deployment
	tasks       []director.Task   // by id, from 1
	hold        bool              // deploy tasks do not end by themselves
	holdDeletes bool              // nor do those of deletes
	stillborn   bool              // it dies over each deploy when there is a deployment, but no task
	dies        bool              // the next deletion is its end: nothing is left, but the task has timed out
	queue       bool              // tasks that are held wait for a worker of the director
	outcome     []string          // states of the next deploy tasks; "" or none = done
	words       string            // what failed tasks say
	quote       bool              // failed tasks quote the last manifest
	events      string            // what tasks that run say; "" = as failed tasks
	posted      []byte            // the last manifest
	manifests   map[int][]byte    // by the task that they were posted for
	address     string            // of every deployment's first VM
	moved       map[string]string // addresses of the first VMs of deployments
	broken      map[string]bool   // deployments whose second VM is missing
	mute        string            // a deployment whose instances the director does not tell
	inventory   inventory
	errands     errands
	uploads     uploads
	calls       map[string]int
	changed     chan struct{}
	// fault is asked before and after each call; an error from "before" means
	// that the call is not made, from "after" that its answer is lost.
	fault func(when, call string) error
}

type deployment struct {
	manifest []byte // of the last successful deploy
	posts    int
}

func newScripted() *scripted {
	return &scripted{words: "the whole reason", address: "127.1.1.1", deployments: map[string]*deployment{}, manifests: map[int][]byte{}, errands: errands{exits: map[string][]int{}, refused: map[string]bool{}, results: map[int]string{}}, calls: map[string]int{}, changed: make(chan struct{}),
		fault: func(string, string) error { return nil }}
}

// call counts a call and lets faults happen around it.
func (d *scripted) call(name string, do func() error) error {
	if err := d.faulty("before", name); err != nil {
		return err
	}
	d.mu.Lock()
	d.calls[name]++
	err := do()
	d.mu.Unlock()
	if fault := d.faulty("after", name); fault != nil {
		return fault
	}
	return err
}

// posts is how often a deployment was posted, while others may be.
func (d *scripted) posts(deployment string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if there := d.deployments[deployment]; there != nil {
		return there.posts
	}
	return 0
}

func lost(call string) error {
	return serviceforge.Errorf(serviceforge.Unavailable, "the answer to %s is lost", call)
}

// task adds a task; d.mu is held.
func (d *scripted) task(t director.Task) int {
	t.ID = len(d.tasks) + 1
	d.tasks = append(d.tasks, t)
	d.tell()
	return t.ID
}

func (d *scripted) tell() {
	close(d.changed)
	d.changed = make(chan struct{})
}

func (d *scripted) Deploy(_ context.Context, manifest []byte, contextID string) (id int, err error) {
	err = d.call("Deploy", func() error {
		name := nameOf(manifest)
		if d.deployments[name] == nil {
			d.deployments[name] = &deployment{}
		}
		d.deployments[name].posts++
		if d.stillborn {
			return lost("Deploy")
		}
		d.posted = manifest
		state := director.TaskDone
		if len(d.outcome) > 0 {
			state, d.outcome = d.outcome[0], d.outcome[1:]
		}
		if d.hold {
			state = d.held()
		}
		if state == director.TaskDone {
			d.deployments[name].manifest = manifest
		}
		id = d.task(director.Task{State: state, Deployment: name, ContextID: contextID, Description: "create deployment", Result: "as scripted"})
		d.manifests[id] = manifest
		return nil
	})
	return id, err
}

func (d *scripted) held() string {
	if d.queue {
		return director.TaskQueued
	}
	return director.TaskProcessing
}

func running(t director.Task) bool {
	return t.State == director.TaskProcessing || t.State == director.TaskQueued || t.State == director.TaskCancelling
}

// is says whether a task is in the state.
func (d *scripted) is(task int, state string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if now := d.tasks[task-1].State; now != state {
		return fmt.Errorf("task %d is %s", task, now)
	}
	return nil
}

// nameOf reads the quoted name of a manifest.
func nameOf(manifest []byte) string {
	for line := range bytes.Lines(manifest) {
		if rest, ok := strings.CutPrefix(string(line), `"name": "`); ok {
			return strings.TrimSuffix(strings.TrimSpace(rest), `"`)
		}
	}
	panic("no name in the manifest:\n" + string(manifest))
}

func (d *scripted) Delete(_ context.Context, name, contextID string) (id int, err error) {
	err = d.call("Delete", func() error {
		if d.deployments[name] == nil {
			return serviceforge.Errorf(serviceforge.NotFound, "Deployment '%s' doesn't exist", name)
		}
		for _, t := range d.tasks {
			if t.Deployment == name && running(t) {
				id = d.task(director.Task{State: director.TaskError, Deployment: name, ContextID: contextID, Description: "delete deployment " + name, Result: "Failed to acquire lock"})
				return nil
			}
		}
		state := director.TaskDone
		switch {
		case d.holdDeletes:
			state = d.held()
		case d.dies:
			d.dies, state = false, director.TaskTimeout
			fallthrough
		default:
			delete(d.deployments, name)
		}
		id = d.task(director.Task{State: state, Deployment: name, ContextID: contextID, Description: "delete deployment " + name})
		return nil
	})
	return id, err
}

func (d *scripted) Tasks(ctx context.Context, q director.TaskQuery) (found []director.Task, err error) {
	changed := d.news()
	list := func() error {
		found = nil
		for _, t := range slices.Backward(d.tasks) {
			if t.State != "" && (q.ContextID == "" || q.ContextID == t.ContextID) && (q.Deployment == "" || q.Deployment == t.Deployment) &&
				(len(q.States) == 0 || slices.Contains(q.States, t.State)) && (q.Limit == 0 || len(found) < q.Limit) {
				found = append(found, t)
			}
		}
		return nil
	}
	if err = d.call("Tasks", list); err == nil && q.Wait > 0 && len(found) > 0 {
		hold(ctx, changed, q.Wait)
		d.mu.Lock()
		defer d.mu.Unlock()
		_ = list()
	}
	return found, err
}

func (d *scripted) news() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.changed
}

func (d *scripted) Task(ctx context.Context, id int, wait time.Duration) (t director.Task, err error) {
	changed := d.news()
	read := func() error {
		if id < 1 || id > len(d.tasks) {
			return serviceforge.Errorf(serviceforge.NotFound, "Task %d not found", id)
		}
		if t = d.tasks[id-1]; t.State == "" { // forgotten
			return serviceforge.Errorf(serviceforge.NotFound, "Task %d not found", id)
		}
		if d.uploads.slow > 0 && d.calls["Task"] == 1 {
			time.AfterFunc(d.uploads.slow, func() { d.uploaded(id) })
		}
		return nil
	}
	if err = d.call("Task", read); err == nil && running(t) && d.uploads.slow == 0 {
		hold(ctx, changed, wait)
		d.mu.Lock()
		defer d.mu.Unlock()
		err = read()
	}
	return t, err
}

// hold is "Prefer: wait".
func hold(ctx context.Context, changed <-chan struct{}, wait time.Duration) {
	select {
	case <-ctx.Done():
	case <-changed:
	case <-time.After(wait):
	}
}

func (d *scripted) Cancel(_ context.Context, id int) error {
	return d.call("Cancel", func() error {
		switch d.tasks[id-1].State {
		case director.TaskProcessing:
			d.tasks[id-1].State = director.TaskCancelled
		case director.TaskQueued: // until a worker takes it up
			d.tasks[id-1].State = director.TaskCancelling
		}
		d.tell()
		return nil
	})
}

func (d *scripted) Manifest(_ context.Context, name string) (manifest []byte, err error) {
	err = d.call("Manifest", func() error {
		if d.deployments[name] == nil {
			return serviceforge.Errorf(serviceforge.NotFound, "Deployment '%s' doesn't exist", name)
		}
		manifest = d.deployments[name].manifest
		return nil
	})
	return manifest, err
}

func (d *scripted) Instances(_ context.Context, name string) (vms []director.VM, err error) {
	err = d.call("Instances", func() error {
		if d.deployments[name] == nil {
			return serviceforge.Errorf(serviceforge.NotFound, "Deployment '%s' doesn't exist", name)
		}
		vms = []director.VM{{ID: "id-0", Group: "node", Addresses: []string{d.address}}, {ID: "id-1", Group: "node", Index: 1, Addresses: []string{"127.1.1.2"}}, {ID: "id-e", Group: "errand"}}
		if name == d.mute {
			return serviceforge.Errorf(serviceforge.Unavailable, "500 for %s", name)
		}
		if to := d.moved[name]; to != "" {
			vms[0].Addresses = []string{to}
		}
		if d.broken[name] {
			vms[1].Addresses, vms[1].Missing = nil, true
		}
		return nil
	})
	return vms, err
}

func (d *scripted) Events(_ context.Context, _ int, from int64) (events []byte, err error) {
	err = d.call("Events", func() error {
		if d.events != "" {
			events = []byte(d.events[min(from, int64(len(d.events))):])
			return nil
		}
		said := d.words
		if d.quote {
			said += " in object (" + string(d.posted) + ")"
		}
		words, err := json.Marshal(said)
		events = fmt.Appendf(nil, `{"time":1,"error":{"code":450001,"message":%s}}`+"\n", words)
		return err
	})
	return events, err
}

// finish ends the running tasks, and lets the next ones end by themselves.
func (d *scripted) finish() {
	d.mu.Lock()
	d.hold, d.holdDeletes, d.errands.hold = false, false, false
	d.mu.Unlock()
	d.step()
}

// step ends the running tasks.
func (d *scripted) step() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, t := range d.tasks {
		switch {
		case t.State == director.TaskCancelling:
			d.tasks[i].State = director.TaskCancelled
		case running(t) && strings.Contains(t.ContextID, ".delete."):
			d.tasks[i].State = director.TaskDone
			delete(d.deployments, t.Deployment)
		case running(t) && strings.Contains(t.ContextID, ".errand."):
			d.tasks[i].State = director.TaskDone
		case running(t):
			d.tasks[i].State = director.TaskDone
			d.deployments[t.Deployment].manifest = d.manifests[t.ID]
		}
	}
	d.tell()
}

func (d *scripted) count(call string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.calls[call]
}

// total counts all calls.
func (d *scripted) total() (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, calls := range d.calls {
		n += calls
	}
	return n
}

// running counts the tasks that have not ended.
func (d *scripted) running() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for _, t := range d.tasks {
		if running(t) {
			n++
		}
	}
	return n
}

// awaitRunning waits until n tasks run.
func (d *scripted) awaitRunning(t *testing.T, n int) {
	t.Helper()
	eventually(t, func() (int, error) {
		if now := d.running(); now != n {
			return now, fmt.Errorf("%d tasks run, not %d", now, n)
		}
		return n, nil
	})
}

// lastPosted returns the manifest that was posted last.
func (d *scripted) lastPosted() []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.posted
}
