package orchestrator_test

import (
	"cmp"
	"errors"
	"fmt"
	"testing"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator"
)

// verb is an operation that the crash walk cuts.
type verb struct {
	name    string
	prepare func(h *house) // with an engine that runs
	begin   func(h *house) orchestrator.Accepted
	points  int                              // at least: else the walk does not see the calls
	posts   int                              // deploys in all; 0 = no deployment is left
	ends    serviceforge.OperationState      // "" = Succeeded
	right   func(serviceforge.Instance) bool // beside how it ended; nil = that is all
}

func verbs() []verb {
	created := func(h *house) { h.until("a", h.create("a").Operation, serviceforge.Succeeded) }
	return []verb{
		{name: "provision", prepare: func(*house) {}, begin: func(h *house) orchestrator.Accepted { return h.create("a") }, points: 8, posts: 1},
		{name: "deprovision", prepare: created, begin: func(h *house) orchestrator.Accepted { return h.remove("a") }, points: 6},
		{
			name: "repair of a failed create",
			prepare: func(h *house) {
				h.director.outcome = []string{orchestrator.TaskError, orchestrator.TaskError}
				h.until("a", h.create("a").Operation, serviceforge.Failed)
			},
			begin: func(h *house) orchestrator.Accepted { return h.repair("a") }, points: 6, posts: 3,
			right: func(i serviceforge.Instance) bool {
				return i.State == serviceforge.Running && i.Operation.Kind == serviceforge.Provision
			},
		},
		{
			name: "repair of a failed delete",
			prepare: func(h *house) {
				created(h)
				i, err := h.store.Instance(h.t.Context(), "a")
				must(h.t, err)
				i.State = serviceforge.Destroying
				i.Operation.Kind, i.Operation.State = serviceforge.Deprovision, serviceforge.Failed
				must(h.t, h.store.PutInstance(h.t.Context(), &i, 0))
			},
			begin: func(h *house) orchestrator.Accepted { return h.repair("a") }, points: 6,
		},
		{
			name: "repair of a running instance",
			prepare: func(h *house) {
				created(h)
				h.director.address = "127.9.9.9" // it was made anew by somebody
			},
			begin: func(h *house) orchestrator.Accepted { return h.repair("a") }, points: 4, posts: 1,
			right: func(i serviceforge.Instance) bool {
				return i.State == serviceforge.Running && i.Operation.Kind == serviceforge.Repair && i.Facts["node"][0] == "127.9.9.9"
			},
		},
		{
			name: "update", prepare: created,
			begin: func(h *house) orchestrator.Accepted { return h.change("a", toLarge) }, points: 8, posts: 2,
			right: func(i serviceforge.Instance) bool { return i.State == serviceforge.Running && i.PlanID == "large" },
		},
		{
			name: "update that fails",
			prepare: func(h *house) {
				created(h)
				h.director.outcome = []string{orchestrator.TaskError}
			},
			begin: func(h *house) orchestrator.Accepted { return h.change("a", toLarge) }, points: 8, posts: 2, ends: serviceforge.Failed,
			right: func(i serviceforge.Instance) bool {
				return i.State == serviceforge.Running && i.PlanID == "plan" && i.Unfinished == "large"
			},
		},
		{
			name: "reset", prepare: created, // what stood there is deleted, so that one post counts
			begin: func(h *house) orchestrator.Accepted { return h.reset("a") }, points: 12, posts: 1,
			right: func(i serviceforge.Instance) bool {
				return i.State == serviceforge.Running && len(i.Operation.Tried) == 0 && !i.Secrets.Empty()
			},
		},
		{
			name: "deprovision that takes over an update",
			prepare: func(h *house) {
				created(h)
				h.director.hold = true
				h.change("a", toLarge)
				h.awaitTask()
			},
			begin: func(h *house) orchestrator.Accepted { return h.remove("a") }, points: 8,
		},
	}
}

// The crash walk over everything the engine asks a director and everything it
// stores: a run is recorded, then cut before and after each of its calls and
// transactions. A new engine goes on, and the operation ends with exactly one
// deployment, or none.
func TestEveryStepMayBeTheLast(t *testing.T) {
	for _, v := range verbs() {
		points := walk(t, v, never)
		if points < v.points {
			t.Errorf("%s: only %d points: the walk does not see the calls", v.name, points)
		}
		for cut := 1; cut <= points; cut++ {
			t.Run(fmt.Sprintf("%s cut at %d of %d", v.name, cut, points), func(t *testing.T) {
				t.Parallel()
				walk(t, v, cut)
			})
		}
	}
}

const never = 1 << 30

// walk kills the engine at the cut-th point, lets a new one finish, and returns
// how many points the first one passed.
func walk(t *testing.T, v verb, cut int) (points int) {
	h := newHouse(t)
	stop := h.run()
	v.prepare(h)
	stop()
	mortal := h.mortal()
	killed, moments := h.director.dieAt(cut)
	stop = h.runAs(mortal)
	accepted := v.begin(h)
	eventually(t, func() (bool, error) {
		select {
		case <-killed:
			return true, nil
		default:
		}
		p, err := h.LastOperation(t.Context(), cc, "a", accepted.Operation)
		if err == nil && p.State == serviceforge.InProgress {
			err = errors.New("neither cut nor done")
		}
		return true, err
	})
	stop()
	points = moments()
	h.director.live()
	h.run()
	h.until("a", accepted.Operation, cmp.Or(v.ends, serviceforge.Succeeded))
	if v.posts > 0 {
		if d := h.director.deployments["plain-a"]; d == nil || d.posts != v.posts || len(h.director.deployments) != 1 {
			t.Errorf("%d deployments, %+v", len(h.director.deployments), d)
		}
		i, err := h.Instance(t.Context(), cc, "a")
		must(t, err)
		if v.right != nil && !v.right(i) {
			t.Errorf("instance = %+v", i)
		}
		h.until("a", h.remove("a").Operation, serviceforge.Succeeded)
	}
	if len(h.director.deployments) != 0 {
		t.Error("a deployment is left")
	}
	return points
}

// A transaction that fails once, whether it was made or not, is nothing that
// anybody sees: the same engine reads again and goes on.
func TestEveryTransactionMayFailOnce(t *testing.T) {
	for _, v := range verbs() {
		if v.name != "provision" && v.name != "deprovision" && v.name != "update" {
			continue
		}
		for cut := 1; cut <= 10; cut++ {
			t.Run(fmt.Sprintf("%s, at %d", v.name, cut), func(t *testing.T) {
				t.Parallel()
				h := newHouse(t)
				stop := h.run()
				v.prepare(h)
				stop()
				mortal := h.mortal()
				h.director.failAt(cut, "Txn")
				h.runAs(mortal)
				h.until("a", v.begin(h).Operation, serviceforge.Succeeded)
				i, err := h.Instance(t.Context(), cc, "a")
				if gone := serviceforge.CodeOf(err) == serviceforge.NotFound; gone != (v.posts == 0) || !gone && (err != nil || i.State != serviceforge.Running) {
					t.Errorf("instance = %+v, %v", i, err)
				}
			})
		}
	}
}
