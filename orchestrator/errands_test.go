package orchestrator_test

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator"
)

// withErrands is the plain service with more in its service.yml, and the jobs of
// three errands on its nodes.
func withErrands(more string) fs.FS {
	service := string(plain["service.yml"].Data)
	service = strings.Replace(service, "  plans:\n", more+"  plans:\n", 1)
	deployment := string(plain["templates/deployment.yml"].Data)
	deployment = strings.Replace(deployment, "  jobs: [", "  jobs: [{name: smoke, release: plain}, {name: drain, release: plain}, {name: migrate, release: plain}, ", 1)
	return fstest.MapFS{
		"service.yml": {Data: []byte(service)}, "templates/deployment.yml": {Data: []byte(deployment)},
		"templates/default.yml": plain["templates/default.yml"], "templates/stub.yml": plain["templates/stub.yml"],
	}
}

const allErrands = `
  errands:
    post_deploy: [{name: smoke}]
    post_update: [{name: migrate, run_on: all}]
    pre_delete: [{name: drain, run_on: [node/1], retries: 1}]
`

const (
	smoke   = "smoke node/0=id-0"
	migrate = "migrate"
	drain   = "drain node/1=id-1"
)

// errandVerbs are the verbs of a service with errands, for the crash walk.
func errandVerbs() []verb {
	created := func(h *house) { h.until("a", h.create("a").Operation, serviceforge.Succeeded) }
	verbs := []verb{
		{name: "provision with errands", prepare: func(*house) {}, points: 16, posts: 1, holds: "plan", runs: []string{smoke},
			begin: func(h *house) orchestrator.Accepted { return h.create("a") }},
		{
			name: "provision whose errand fails", points: 16, posts: 1, ends: serviceforge.Failed, holds: "plan", runs: []string{smoke},
			prepare: func(h *house) { h.director.errands.exits["smoke"] = []int{3} },
			begin:   func(h *house) orchestrator.Accepted { return h.create("a") },
			right: func(i serviceforge.Instance) bool {
				return i.State == serviceforge.FailedDeployment && len(i.Facts) > 0
			},
		},
		{
			name: "update with errands", prepare: created, points: 20, posts: 2, holds: "large", runs: []string{smoke, smoke, migrate},
			begin: func(h *house) orchestrator.Accepted { return h.change("a", toLarge) },
			right: func(i serviceforge.Instance) bool { return i.State == serviceforge.Running && i.PlanID == "large" },
		},
		{
			name: "update whose errand fails", points: 20, posts: 2, holds: "plan", ends: serviceforge.Failed, runs: []string{smoke, smoke, migrate},
			prepare: func(h *house) {
				created(h)
				h.director.errands.exits["migrate"] = []int{1}
			},
			begin: func(h *house) orchestrator.Accepted { return h.change("a", toLarge) },
			right: func(i serviceforge.Instance) bool {
				return i.State == serviceforge.Running && i.PlanID == "plan" && i.Unfinished == "large" && !i.Operation.Unusable
			},
		},
		{name: "deprovision with errands", prepare: created, points: 14, runs: []string{smoke, drain},
			begin: func(h *house) orchestrator.Accepted { return h.remove("a") }},
		{
			name: "deprovision whose errand fails", points: 20, runs: []string{smoke, drain, drain},
			prepare: func(h *house) {
				created(h)
				h.director.errands.exits["drain"] = []int{1, 1}
			},
			begin: func(h *house) orchestrator.Accepted { return h.remove("a") },
		},
	}
	for i := range verbs {
		verbs[i].files = withErrands(allErrands)
	}
	return verbs
}

// The exit code of every result counts, whatever the task's state says; what an
// errand says is told to operators only, without the instance's secrets.
func TestAnErrandThatFailsIsTold(t *testing.T) {
	t.Parallel()
	h := newHouseOf(t, withErrands("  errands: {post_deploy: [{name: smoke, run_on: all, retries: 1}]}\n"))
	h.run()
	h.director.errands.exits["smoke"] = []int{0, 3, 4}
	h.until("a", h.create("a").Operation, serviceforge.Succeeded)
	failed := h.create("b")
	h.until("b", failed.Operation, serviceforge.Failed)
	p, err := h.LastOperation(t.Context(), cc, "b", failed.Operation)
	must(t, err)
	if p.Description != "The errand smoke failed: exit code 4 on node" {
		t.Errorf("the user is told %q", p.Description)
	}
	history, err := h.store.History(t.Context(), "b")
	must(t, err)
	var told []string
	for _, c := range history {
		told = append(told, c.What+" "+string(c.Result))
		if strings.Contains(c.What, "errand") && (!strings.Contains(c.Cause, "exit code 3 on node/id-1: it says [redacted]") || c.Task == 0) {
			t.Errorf("told: %+v", c)
		}
	}
	if want := []string{"provision in progress", "provision in progress", "errand smoke failed", "provision failed"}; !slices.Equal(told, want) {
		t.Errorf("history %q, want %q", told, want)
	}
	x, err := h.Explain(t.Context(), cc, "b")
	must(t, err)
	if x.Class != "errand_failed" || !strings.Contains(x.Instance.Operation.Cause, "exit code 4 on node/id-1: it says [redacted]") {
		t.Errorf("explained as %s: %s", x.Class, x.Instance.Operation.Cause)
	}
	h.director.errands.exits["smoke"], h.director.errands.tail = []int{1, 1}, strings.Repeat("x", 500) // cut within the secret
	h.until("b", h.repair("b").Operation, serviceforge.Failed)
	if x, err = h.Explain(t.Context(), cc, "b"); err != nil || !strings.Contains(x.Instance.Operation.Cause, "[redacted]x") {
		t.Errorf("explained: %s, %v", x.Instance.Operation.Cause, err)
	}
	h.director.errands.exits["smoke"] = nil
	h.until("b", h.repair("b").Operation, serviceforge.Succeeded)
}

// An errand that only warns, and one before a delete, stop nothing; both are told.
func TestErrandsThatStopNothing(t *testing.T) {
	t.Parallel()
	h := newHouseOf(t, withErrands("  errands: {post_deploy: [{name: smoke, on_failure: warn}, {name: migrate}], pre_delete: [{name: drain}]}\n"))
	h.run()
	h.director.errands.exits["smoke"] = []int{9}
	h.director.errands.refused["drain"] = true
	h.until("a", h.create("a").Operation, serviceforge.Succeeded)
	x, err := h.Explain(t.Context(), cc, "a")
	must(t, err)
	if !strings.Contains(x.Instance.Operation.Cause, "errand smoke: exit code 9") {
		t.Errorf("explained: %q", x.Instance.Operation.Cause)
	}
	h.until("a", h.remove("a").Operation, serviceforge.Succeeded)
	history, err := h.store.History(t.Context(), "a")
	must(t, err)
	var told []string
	for _, c := range history {
		told = append(told, c.What+" "+string(c.Result))
	}
	want := []string{"provision in progress", "provision in progress", "errand smoke failed", "errand migrate succeeded", "provision succeeded",
		"deprovision in progress", "errand drain failed", "deprovision succeeded"}
	if !slices.Equal(told, want) {
		t.Errorf("history %q, want %q", told, want)
	}
}

// A poll tells which errand runs; its time is its own, and a delete takes over.
func TestAnErrandThatHangs(t *testing.T) {
	t.Parallel()
	h := newHouseOf(t, withErrands("  errands: {post_deploy: [{name: smoke, timeout: 90s}]}\n"))
	later := h.clock()
	h.run()
	h.director.errands.hold = true
	hung := h.create("a")
	h.awaitProgress("a", hung.Operation, "Running the errand smoke")
	later(2 * time.Minute)
	h.until("a", hung.Operation, serviceforge.Failed)
	p, err := h.LastOperation(t.Context(), cc, "a", hung.Operation)
	must(t, err)
	if p.Description != "The errand smoke failed: it did not end within 1m30s" {
		t.Errorf("told %q", p.Description)
	}
	taken := h.create("b")
	h.awaitProgress("b", taken.Operation, "Running the errand smoke")
	h.director.awaitRunning(t, 1) // what is told is written before the errand is asked for
	h.until("b", h.remove("b").Operation, serviceforge.Succeeded)
	if h.director.running() != 0 {
		t.Error("a task of an errand is left")
	}
}

// awaitProgress polls until an operation says what it does.
func (h *house) awaitProgress(id, operation, want string) {
	h.t.Helper()
	eventually(h.t, func() (string, error) {
		p, err := h.LastOperation(h.t.Context(), cc, id, operation)
		if err == nil && !strings.HasPrefix(p.Description, want) {
			err = serviceforge.Errorf(serviceforge.Internal, "it says %q", p.Description)
		}
		return p.Description, err
	})
}

// An errand takes one of the director's slots, as any task of ours.
func TestErrandsCount(t *testing.T) {
	t.Parallel()
	h := newHouseOf(t, withErrands("  errands: {post_deploy: [{name: smoke}]}\n"))
	h.run()
	h.director.errands.hold = true
	slots := h.options.Pools.All()[0].MaxInFlight
	var all []orchestrator.Accepted
	for n := range slots + 1 {
		all = append(all, h.create(fmt.Sprintf("i%d", n)))
	}
	h.director.awaitRunning(t, slots)
	eventually(t, func() (int, error) {
		waiting := 0
		for i := range all {
			p, err := h.LastOperation(t.Context(), cc, all[i].Instance.ID, all[i].Operation)
			must(t, err)
			if p.Step != serviceforge.Errand { // its errand waits, or already its deploy
				waiting++
			}
		}
		if waiting != 1 {
			return waiting, fmt.Errorf("%d wait for a worker", waiting)
		}
		return waiting, nil
	})
	if n := h.director.running(); n != slots {
		t.Errorf("%d tasks run, the director takes %d of ours", n, slots)
	}
	h.director.finish()
	for i := range all {
		h.until(all[i].Instance.ID, all[i].Operation, serviceforge.Succeeded)
	}
}

// How long errands take is measured: who waits behind one is told about when it
// is its turn.
func TestAnErrandIsMeasured(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	director := h.pooled("", "  name: lab\n  max_in_flight: 1\n")["lab"]
	h.sell(withErrands("  errands: {post_deploy: [{name: smoke}]}\n"), nil)
	h.Engine = orchestrator.New(h.options)
	director.errands.hold = true
	h.run()
	for _, id := range []string{"a", "b"} {
		accepted := h.create(id)
		h.awaitProgress(id, accepted.Operation, "Running the errand smoke")
		if id == "a" {
			director.awaitRunning(t, 1) // what is told is written before the errand is asked for
			director.step()
			h.until(id, accepted.Operation, serviceforge.Succeeded)
		}
	}
	h.says(h.engine(), h.create("c"), func(p serviceforge.Progress) bool {
		return strings.HasPrefix(p.Description, "Waiting for a worker of the director: 1st of 1 in line, ")
	})
}
