package orchestrator_test

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"testing"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator"
	"github.com/serviceforge/serviceforge/orchestrator/director"
)

// verb is an operation that the crash walk cuts.
type verb struct {
	name    string
	files   fs.FS          // the service release; nil = plain
	prepare func(h *house) // with an engine that runs
	begin   func(h *house) orchestrator.Accepted
	points  int                              // at least: else the walk does not see the calls
	posts   int                              // deploys in all; 0 = no deployment is left
	ends    serviceforge.OperationState      // "" = Succeeded
	holds   string                           // the plan whose costs are taken when it has ended; "" = nothing is
	right   func(serviceforge.Instance) bool // beside how it ended; nil = that is all
	runs    []string                         // errands that the director ran in all, each once
}

func verbs() []verb {
	created := func(h *house) { h.until("a", h.create("a").Operation, serviceforge.Succeeded) }
	goneUnseen := func(h *house) { // the director died when it had deleted it, so that the task does not say done
		created(h)
		h.director.dies = true
		h.until("a", h.remove("a").Operation, serviceforge.Succeeded)
	}
	return []verb{
		{name: "provision", prepare: func(*house) {}, begin: func(h *house) orchestrator.Accepted { return h.create("a") }, points: 8, posts: 1, holds: "plan"},
		{
			name: "provision that fails",
			prepare: func(h *house) {
				h.director.outcome = []string{director.TaskError, director.TaskError}
			},
			begin:  func(h *house) orchestrator.Accepted { return h.create("a") },
			points: 12, posts: 2, ends: serviceforge.Failed, holds: "plan", // what is left of it is somebody's cost
		},
		{
			name: "provision whose name is taken", // nothing of it is left
			prepare: func(h *house) {
				h.director.deployments["plain-a"] = &deployment{manifest: []byte("name: plain-a\n")}
			},
			begin: func(h *house) orchestrator.Accepted { return h.create("a") }, points: 6, ends: serviceforge.Failed,
		},
		{
			name: "provision where an earlier one's deletion was not seen to end",
			prepare: func(h *house) {
				goneUnseen(h)
				h.director.outcome = []string{director.TaskTimeout}
			},
			begin: func(h *house) orchestrator.Accepted { return h.create("a") }, points: 10, posts: 2, holds: "plan",
		},
		{
			name: "deprovision of what never succeeded, where an earlier one's deletion was not seen to end",
			prepare: func(h *house) {
				goneUnseen(h)
				h.director.outcome = []string{director.TaskError, director.TaskError}
				h.until("a", h.create("a").Operation, serviceforge.Failed)
			},
			begin: func(h *house) orchestrator.Accepted { return h.remove("a") }, points: 6,
		},
		{
			name: "deprovision of a deployment without a task", // a real director makes the row first, too
			prepare: func(h *house) {
				h.director.stillborn = true
				h.create("a")
				eventually(h.t, func() (int, error) {
					if h.director.count("Deploy") == 0 {
						return 0, errors.New("nothing was posted yet")
					}
					return 0, nil
				})
			},
			begin: func(h *house) orchestrator.Accepted { return h.remove("a") }, points: 6,
		},
		{name: "deprovision", prepare: created, begin: func(h *house) orchestrator.Accepted { return h.remove("a") }, points: 6},
		{
			name: "repair of a failed create",
			prepare: func(h *house) {
				h.director.outcome = []string{director.TaskError, director.TaskError}
				h.until("a", h.create("a").Operation, serviceforge.Failed)
			},
			begin: func(h *house) orchestrator.Accepted { return h.repair("a") }, points: 6, posts: 3, holds: "plan",
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
			begin: func(h *house) orchestrator.Accepted { return h.repair("a") }, points: 4, posts: 1, holds: "plan",
			right: func(i serviceforge.Instance) bool {
				return i.State == serviceforge.Running && i.Operation.Kind == serviceforge.Repair && i.Facts["node"][0] == "127.9.9.9"
			},
		},
		{
			name: "update", prepare: created,
			begin: func(h *house) orchestrator.Accepted { return h.change("a", toLarge) }, points: 8, posts: 2, holds: "large",
			right: func(i serviceforge.Instance) bool { return i.State == serviceforge.Running && i.PlanID == "large" },
		},
		{
			name: "update that fails",
			prepare: func(h *house) {
				created(h)
				h.director.outcome = []string{director.TaskError}
			},
			begin: func(h *house) orchestrator.Accepted { return h.change("a", toLarge) }, points: 8, posts: 2, ends: serviceforge.Failed, holds: "plan",
			right: func(i serviceforge.Instance) bool {
				return i.State == serviceforge.Running && i.PlanID == "plan" && i.Unfinished == "large"
			},
		},
		{
			name: "upgrade",
			prepare: func(h *house) {
				created(h)
				h.sellBoth(plain, newer)
				h.Engine = orchestrator.New(h.options)
			},
			begin: func(h *house) orchestrator.Accepted {
				return h.change("a", func(r *orchestrator.UpdateRequest) { r.Upgrade = true })
			},
			points: 8, posts: 2, holds: "plan",
			right: func(i serviceforge.Instance) bool {
				return i.State == serviceforge.Running && i.Release == "plain/2.0.0" && i.Maintenance == "2.0.0"
			},
		},
		{
			name: "reset", prepare: created, // what stood there is deleted, so that one post counts
			begin: func(h *house) orchestrator.Accepted { return h.reset("a") }, points: 12, posts: 1, holds: "plan",
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
// deployment, or none, and with exactly what it costs taken of the quotas.
func TestEveryStepMayBeTheLast(t *testing.T) {
	t.Parallel()
	for _, v := range append(verbs(), errandVerbs()...) {
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

// newLimitedHouse has limits that one instance uses up, and that are in force.
func newLimitedHouse(t *testing.T, files fs.FS) (h *house, stop func()) {
	t.Helper()
	if files == nil {
		files = plain
	}
	h = newHouseOf(t, files, "broker/instances=1", "broker/memory_mb=9", "organization/instances=1", "organization:org/memory_mb=9", "plan/memory_mb=9")
	stop = h.run()
	eventually(t, func() (bool, error) {
		q, err := h.store.Quotas(t.Context())
		if err == nil && (len(q.Limits) == 0 || q.Counting) {
			err = errors.New("the limits are not in force")
		}
		return true, err
	})
	return h, stop
}

// counted checks that exactly an instance of the plan is taken of the quotas, or
// nothing for "", and that this is the sum over the records.
func (h *house) counted(plan string) {
	h.t.Helper()
	want, got := map[string]int64{}, map[string]int64{}
	if memory := map[string]int64{"plan": 2, "large": 5}[plan]; memory > 0 {
		want = map[string]int64{"broker/instances": 1, "broker/memory_mb": memory, "organization:org/instances": 1,
			"organization:org/memory_mb": memory, "plan:" + plan + "/memory_mb": memory}
	}
	all, err := h.store.Quotas(h.t.Context())
	must(h.t, err)
	for _, u := range all.Use {
		if u.Used != 0 {
			got[u.Quota.String()] = u.Used
		}
	}
	if !maps.Equal(want, got) {
		h.t.Errorf("taken of the quotas: %v, want %v", got, want)
	}
	corrections, err := h.store.Recount(h.t.Context())
	must(h.t, err)
	if len(corrections) > 0 {
		h.t.Errorf("counters that are not what the records say: %+v", corrections)
	}
}

// walk kills the engine at the cut-th point, lets a new one finish, and returns
// how many points the first one passed.
func walk(t *testing.T, v verb, cut int) (points int) {
	h, stop := newLimitedHouse(t, v.files)
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
	h.counted(v.holds)
	if ran := h.director.ran(); !slices.Equal(ran, v.runs) {
		t.Errorf("errands %q, want %q", ran, v.runs)
	}
	if v.posts > 0 {
		if d := h.director.deployments["plain-a"]; d == nil || d.posts != v.posts || len(h.director.deployments) != 1 {
			t.Errorf("%d deployments, %+v", len(h.director.deployments), d)
		}
		i, err := h.Instance(t.Context(), cc, "a")
		must(t, err)
		if v.right != nil && !v.right(i) {
			t.Errorf("instance = %+v", i)
		}
	}
	if v.posts > 0 || v.ends == serviceforge.Failed {
		h.until("a", h.remove("a").Operation, serviceforge.Succeeded)
		h.counted("")
	}
	for name, d := range h.director.deployments {
		if d.posts > 0 { // else it is a stranger's
			t.Errorf("deployment %s is left", name)
		}
	}
	return points
}

// A transaction that fails once, whether it was made or not, is nothing that
// anybody sees: the same engine reads again and goes on.
func TestEveryTransactionMayFailOnce(t *testing.T) {
	t.Parallel()
	for _, v := range verbs() {
		if v.name != "provision" && v.name != "deprovision" && v.name != "update" {
			continue
		}
		for cut := 1; cut <= 10; cut++ {
			t.Run(fmt.Sprintf("%s, at %d", v.name, cut), func(t *testing.T) {
				t.Parallel()
				h, stop := newLimitedHouse(t, v.files)
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
				h.counted(v.holds)
			})
		}
	}
}
