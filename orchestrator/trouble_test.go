package orchestrator_test

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator"
	"github.com/serviceforge/serviceforge/orchestrator/director"
)

// tell1 changes the director's first task, as nobody would who does not lie.
func (d *scripted) tell1(change func(t *director.Task)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hold = false
	change(&d.tasks[0])
	d.tell()
}

// in is an order that names its pool.
func in(id, pool string) orchestrator.ProvisionRequest {
	r := order(id)
	r.Parameters = json.RawMessage(`{"pool":"` + pool + `"}`)
	return r
}

// Whatever a director does wrong, only its own deployments wait for it, and
// nothing is posted more often than it must.
func TestOnlyItsOwnDeploymentsWaitForADirector(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what  string
		spoil func(t *testing.T, h *house, bad *scripted) (heal func())
		early bool // before the order, else while its task runs
		want  serviceforge.OperationState
		posts int
	}{
		{what: "it hangs", early: true, want: serviceforge.Succeeded, posts: 1, spoil: func(t *testing.T, _ *house, bad *scripted) func() {
			over := make(chan struct{})
			heal := bad.failing(func(call string) error { <-over; return lost(call) })
			end := sync.OnceFunc(func() { heal(); close(over) })
			t.Cleanup(end)
			return end
		}},
		{what: "it refuses", early: true, want: serviceforge.Succeeded, posts: 1, spoil: func(_ *testing.T, _ *house, bad *scripted) func() {
			return bad.failing(func(string) error { return serviceforge.Errorf(serviceforge.Unavailable, "connection refused") })
		}},
		{what: "it answers 500", want: serviceforge.Succeeded, posts: 1, spoil: func(_ *testing.T, _ *house, bad *scripted) func() {
			heal := bad.failing(func(string) error { return serviceforge.Errorf(serviceforge.Unavailable, "the director answered 500") })
			return func() { heal(); bad.finish() }
		}},
		{what: "it comes back after hours", early: true, want: serviceforge.Succeeded, posts: 1, spoil: func(_ *testing.T, h *house, bad *scripted) func() {
			ahead := h.ahead()
			heal := bad.failing(lost)
			return func() {
				h.awaits("bad0", func(x orchestrator.Explanation) bool { return x.Breaker != nil && x.Breaker.Away })
				ahead.Store(int64(3 * orchestrator.DefaultDeadline))
				heal()
			}
		}},
		{what: "its task vanished", want: serviceforge.Succeeded, posts: 2, spoil: func(_ *testing.T, _ *house, bad *scripted) func() {
			return func() { bad.tell1(func(t *director.Task) { t.State = "" }) }
		}},
		{what: "its task vanished, but was done", want: serviceforge.Succeeded, posts: 1, spoil: func(_ *testing.T, _ *house, bad *scripted) func() {
			return func() {
				bad.tell1(func(t *director.Task) {
					t.State = ""
					bad.deployments[t.Deployment].manifest = bad.manifests[t.ID]
				})
			}
		}},
		{what: "its task timed out", want: serviceforge.Succeeded, posts: 2, spoil: func(_ *testing.T, _ *house, bad *scripted) func() {
			return func() { bad.tell1(func(t *director.Task) { t.State = director.TaskTimeout }) }
		}},
		{what: "the task is somebody else's, and runs", want: serviceforge.Succeeded, posts: 2, spoil: func(t *testing.T, _ *house, bad *scripted) func() {
			t.Cleanup(func() {
				if bad.count("Cancel") > 0 || bad.is(1, director.TaskProcessing) != nil {
					t.Error("somebody else's task was touched")
				}
			})
			return func() {
				bad.tell1(func(t *director.Task) { t.Deployment, t.ContextID = "theirs", "their.context" })
			}
		}},
		{what: "the task is somebody else's, and is done", want: serviceforge.Succeeded, posts: 2, spoil: func(_ *testing.T, _ *house, bad *scripted) func() {
			return func() {
				bad.tell1(func(t *director.Task) {
					t.Deployment, t.ContextID, t.State = "theirs", "", director.TaskDone
				})
			}
		}},
		{what: "the deployment is gone", want: serviceforge.Failed, spoil: func(_ *testing.T, _ *house, bad *scripted) func() {
			return func() {
				bad.tell1(func(t *director.Task) {
					delete(bad.deployments, t.Deployment)
					t.State = director.TaskDone
				})
			}
		}},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			directors := h.pooled(", pool_parameter: true, pools: [bad, good]", "  name: bad\n  max_in_flight: 20\n", "  name: good\n")
			bad := directors["bad"]
			heal, many := func() {}, 1
			if c.early {
				heal, many = c.spoil(t, h, bad), 12 // more than one director has workers
			} else {
				bad.hold = true
			}
			h.run()
			operations := map[string]string{}
			for n := range many {
				accepted, err := h.Provision(t.Context(), in(fmt.Sprint("bad", n), "bad"))
				must(t, err)
				operations[accepted.Instance.ID] = accepted.Operation
			}
			if !c.early {
				h.awaits("bad0", func(x orchestrator.Explanation) bool { return x.Instance.Operation.Step == serviceforge.Submitted })
				heal = c.spoil(t, h, bad)
			}
			for _, id := range []string{"good1", "good2", "good3"} {
				accepted, err := h.Provision(t.Context(), in(id, "good"))
				must(t, err)
				h.until(id, accepted.Operation, serviceforge.Succeeded)
			}
			heal()
			for id, operation := range operations {
				h.until(id, operation, c.want)
				if posts := bad.posts("plain-" + id); c.posts > 0 && posts != c.posts {
					t.Errorf("%s: %d posts, want %d", id, posts, c.posts)
				}
				h.until(id, h.remove(id).Operation, serviceforge.Succeeded)
			}
			if len(bad.deployments) > 0 {
				t.Errorf("left: %v", bad.deployments)
			}
		})
	}
}
