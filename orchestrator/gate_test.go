package orchestrator_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator"
)

// still asserts that an instance does not move while somebody watches it.
func (h *house) still(accepted orchestrator.Accepted, id string, step serviceforge.Step) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), 300*time.Millisecond)
	defer cancel()
	last, err := h.LastOperation(h.t.Context(), cc, id, accepted.Operation)
	must(h.t, err)
	now, err := h.last.AwaitProgress(ctx, cc, id, accepted.Operation, last)
	must(h.t, err)
	if last.Step != step || now != last {
		h.t.Errorf("%s went from %s to %s", id, last.Step, now.Step)
	}
}

func TestAPausedEngineAcceptsAndDoesNothing(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	var ahead atomic.Int64 // of the real time, in nanoseconds
	h.options.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	h.Engine = orchestrator.New(h.options)
	h.director.hold = true
	stop := h.run()
	running := h.create("running")
	h.awaits("running", func(x orchestrator.Explanation) bool { return x.Instance.Operation.Step == serviceforge.Submitted })
	must(t, h.Pause(t.Context(), operator, "a new director")) // asked of another replica
	h.awaits("running", func(x orchestrator.Explanation) bool { return strings.Contains(x.Waits, "token 1 paused it") })
	eventually(t, func() (int, error) { // the poller has ended the call it was at
		before := h.director.count("Task")
		h.still(running, "running", serviceforge.Submitted)
		if h.director.count("Task") != before {
			return 0, errors.New("the director is still asked")
		}
		return 0, nil
	})
	before := h.director.total()
	accepted := h.create("a")
	h.still(accepted, "a", serviceforge.Accepted)
	stop()
	h.run() // a new leader is paused too
	h.still(accepted, "a", serviceforge.Accepted)
	h.still(running, "running", serviceforge.Submitted)
	if n := h.director.total(); n != before {
		t.Errorf("a paused engine made %d calls", n-before)
	}
	status, err := h.Status(t.Context())
	must(t, err)
	if !status.Switch.Paused || status.Switch.Reason != "a new director" || status.Leader != "test" {
		t.Errorf("%+v", status)
	}
	ahead.Store(int64(3 * orchestrator.DefaultDeadline)) // a long pause is nobody's fault: deadlines stand still
	must(t, h.Resume(t.Context(), operator))
	h.still(running, "running", serviceforge.Submitted)
	h.director.finish()
	h.until("running", running.Operation, serviceforge.Succeeded)
	h.until("a", accepted.Operation, serviceforge.Succeeded)
}
