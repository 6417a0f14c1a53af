package orchestrator_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator"
	"github.com/serviceforge/serviceforge/orchestrator/director"
)

// ahead gives the house a clock that runs ahead of the real one by as much as
// the test says.
func (h *house) ahead() *atomic.Int64 {
	var ahead atomic.Int64
	h.options.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	h.Engine = orchestrator.New(h.options)
	return &ahead
}

// orderLarge is an order of the other plan, to which a rule of a house's first
// plan does not apply.
func orderLarge(id string) orchestrator.ProvisionRequest {
	r := order(id)
	r.PlanID = "large"
	return r
}

// A task that never ends ends the operation at the plan's deadline; a delete
// works even then.
func TestATaskThatNeverEnds(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	director := h.pooled(", deadline: 1s", "  name: lab\n  max_in_flight: 1\n")["lab"]
	director.hold = true
	h.run()
	h.until("a", h.create("a").Operation, serviceforge.Failed)
	i, err := h.Instance(t.Context(), cc, "a")
	must(t, err)
	if i.State != serviceforge.FailedDeployment || i.Operation.Message != "The deployment took too long" || director.count("Cancel") != 1 {
		t.Errorf("%s: %s, %d cancels", i.State, i.Operation.Message, director.count("Cancel"))
	}
	director.finish()
	other, err := h.Provision(t.Context(), orderLarge("b"))
	must(t, err)
	h.until("b", other.Operation, serviceforge.Succeeded) // its slot is free again
	director.holdDeletes = true
	h.until("a", h.remove("a").Operation, serviceforge.Failed)
	if i, err = h.Instance(t.Context(), cc, "a"); err != nil || i.State != serviceforge.Destroying || !strings.Contains(i.Operation.Message, "delete it again") {
		t.Errorf("%s: %s, %v", i.State, i.Operation.Message, err)
	}
	director.finish()
	eventually(t, func() (bool, error) { // a second may be too short for this one, too
		_, err := h.Deprovision(t.Context(), orchestrator.DeprovisionRequest{Caller: cc, InstanceID: "a", AcceptsIncomplete: true})
		if serviceforge.CodeOf(err) != serviceforge.Gone {
			return false, fmt.Errorf("it is not gone: %v", err)
		}
		return true, nil
	})
}

// The time in the line is nobody's fault: the deadline begins with the first turn.
func TestWaitingInTheLineCostsNoDeadline(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ahead := h.ahead()
	director := h.pooled(", deadline: 10m", "  name: lab\n  max_in_flight: 1\n")["lab"]
	director.hold = true
	stop := h.run()
	first, err := h.Provision(t.Context(), orderLarge("a")) // which may take longer
	must(t, err)
	director.awaitRunning(t, 1)
	second := h.create("b")
	h.awaits("b", func(x orchestrator.Explanation) bool { return x.Position == 1 })
	ahead.Store(int64(orchestrator.DefaultDeadline / 2))
	director.step()
	h.until("a", first.Operation, serviceforge.Succeeded)
	director.awaitRunning(t, 1)
	h.awaits("b", func(x orchestrator.Explanation) bool { return x.Instance.Operation.Step == serviceforge.Submitted })
	stop()
	h.run() // looks at everything anew
	h.still(second, "b", serviceforge.Submitted)
	director.finish()
	h.until("b", second.Operation, serviceforge.Succeeded)
}

// Who waits in the line is told before the platform gives up, even where the
// clock stands still for a director that is away.
func TestThePlatformIsToldInTime(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	director := h.pooled(", maximum_polling_duration: 5s", "  name: lab\n  max_in_flight: 1\n")["lab"]
	director.fault = func(_, call string) error { return lost(call) }
	h.run()
	first, second := h.create("a"), h.create("b")
	h.until("b", second.Operation, serviceforge.Failed)
	h.until("a", first.Operation, serviceforge.Failed)
	i, err := h.Instance(t.Context(), cc, "b")
	must(t, err)
	if i.State != serviceforge.FailedCreation || i.Pool != "" || i.Operation.Message != "No worker of the director was free in time" {
		t.Errorf("%s in %q: %s", i.State, i.Pool, i.Operation.Message)
	}
}

// While operators keep a pool closed, its deadlines stand still.
func TestAClosedPoolStopsTheClock(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ahead := h.ahead()
	director := h.pooled("", "  name: lab\n")["lab"]
	director.hold = true
	stop := h.run()
	running := h.create("a")
	h.awaits("a", func(x orchestrator.Explanation) bool { return x.Instance.Operation.Step == serviceforge.Submitted })
	must(t, h.SetPoolState(t.Context(), operator, "lab", "cordoned", "a new director"))
	ahead.Store(int64(3 * orchestrator.DefaultDeadline))
	for _, state := range []string{"draining", "active"} {
		must(t, h.SetPoolState(t.Context(), operator, "lab", state, "as planned"))
		stop()
		stop = h.run() // looks at everything anew
		h.still(running, "a", serviceforge.Submitted)
	}
	director.finish()
	h.until("a", running.Operation, serviceforge.Succeeded)
}

// A queued task that is cancelled is `cancelling` until a worker of the director
// takes it up: nothing is asked of its deployment before that.
func TestADeleteWaitsForACancelledTaskThatIsQueued(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.director.hold, h.director.queue = true, true
	stop := h.run()
	h.create("a")
	h.director.awaitRunning(t, 1)
	h.awaits("a", func(x orchestrator.Explanation) bool { return x.Instance.Operation.Step == serviceforge.Submitted })
	removed := h.remove("a")
	eventually(t, func() (int, error) { return 0, h.director.is(1, director.TaskCancelling) })
	h.still(removed, "a", serviceforge.Accepted)
	if n := h.director.count("Cancel"); n != 1 {
		t.Errorf("%d cancels", n)
	}
	stop()
	h.run() // another leader waits too; it cancels again
	h.still(removed, "a", serviceforge.Accepted)
	if n, asked := h.director.count("Cancel"), h.director.count("Delete"); n > 2 || asked != 0 {
		t.Errorf("%d cancels, %d deletes", n, asked)
	}
	h.director.step()
	h.until("a", removed.Operation, serviceforge.Succeeded)
	if err := h.director.is(1, director.TaskCancelled); err != nil || len(h.director.deployments) != 0 {
		t.Errorf("%v, deployments %v", err, h.director.deployments)
	}
}
