package orchestrator_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator"
	"github.com/serviceforge/serviceforge/orchestrator/director"
)

// A director that refuses opens its breaker: what comes waits and does not
// fail, the deadline stands still, and everything is done when it is back.
func TestWorkWaitsForADirectorThatIsAway(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	var ahead atomic.Int64 // of the real time, in nanoseconds
	h.options.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	var away atomic.Bool
	away.Store(true)
	h.director.fault = func(when, call string) error {
		if away.Load() && when == "before" {
			return lost(call)
		}
		return nil
	}
	stop := h.run()
	first := h.create("a")
	h.awaits("a", func(x orchestrator.Explanation) bool {
		return x.Breaker != nil && x.Breaker.Away && x.Breaker.Cause != ""
	})
	second := h.create("b")
	h.awaits("b", func(x orchestrator.Explanation) bool { return x.Breaker != nil && x.Position > 0 })
	ahead.Store(int64(3 * orchestrator.DefaultDeadline)) // as if the director came back after hours
	h.awaits("b", func(x orchestrator.Explanation) bool { return x.Instance.Busy() })
	eventually(t, func() (int, error) { // what the next leader will know
		all, err := h.store.Breakers(t.Context())
		if b := all["local"]; err == nil && !b.Away {
			err = errors.New("the open breaker is not stored")
		}
		return 0, err
	})
	stop()
	h.run() // another leader goes on with the open breaker
	h.awaits("b", func(x orchestrator.Explanation) bool { return x.Breaker != nil && x.Position > 0 })
	away.Store(false)
	h.until("a", first.Operation, serviceforge.Succeeded)
	h.until("b", second.Operation, serviceforge.Succeeded)
	open, err := h.last.Breakers(t.Context())
	if err != nil || len(open) != 0 {
		t.Errorf("open: %v %v", open, err)
	}
}

// Where tasks fail for want of room, new deploys wait while deletes go on, and
// one deploy shows that there is room again.
func TestDeploysWaitForAnInfrastructureWithoutRoom(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	later := h.stopClock() // else one would be let through at some time
	h.director.words = "Failed to reserve IP for 'x': no more available"
	h.director.outcome = []string{director.TaskDone, director.TaskError, director.TaskError, director.TaskError}
	h.run()
	h.until("old", h.create("old").Operation, serviceforge.Succeeded)
	for _, id := range []string{"a", "b", "c"} {
		h.until(id, h.create(id).Operation, serviceforge.Failed)
	}
	waiting := h.create("d")
	x := h.awaits("d", func(x orchestrator.Explanation) bool { return x.Breaker != nil && x.Position == 1 })
	if !x.Breaker.Sick || x.Advice == "" {
		t.Errorf("%+v", x)
	}
	if n := h.director.count("Deploy"); n != 4 {
		t.Errorf("%d deploys", n)
	}
	h.until("old", h.remove("old").Operation, serviceforge.Succeeded)
	later(time.Minute)
	h.until("d", waiting.Operation, serviceforge.Succeeded)
	if open, err := h.last.Breakers(t.Context()); err != nil || len(open) != 0 {
		t.Errorf("open: %v %v", open, err)
	}
}
