package orchestrator_test

import (
	"testing"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator/director"
)

// A leader that hangs over one director keeps its lease, for that is kept by
// another part of it. It gives the leadership up all the same, and the replica
// that leads next does the work.
func TestALeaderThatMakesNoStepGivesUp(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	hung, hangs := make(chan struct{}), make(chan struct{}, 1)
	stuck := newScripted()
	stuck.fault = func(string, string) error {
		select {
		case hangs <- struct{}{}:
		default:
		}
		<-hung // as a library that knows no deadline
		return lost("everything")
	}
	well := h.options
	h.options.Name, h.options.StuckAfter = "stuck", 300*time.Millisecond
	h.options.Directors = map[string]director.Director{"local": stuck}
	h.run()
	t.Cleanup(func() { close(hung) }) // before the engines are waited for
	accepted := h.create("a")
	<-hangs // whoever leads asks the director
	well.Name, well.Store = "well", h.another(h.client)
	h.runAs(well)
	h.until("a", accepted.Operation, serviceforge.Succeeded)
	if name, err := h.store.Leader(t.Context()); err != nil || name != "well" {
		t.Errorf("%q leads: %v", name, err)
	}
}

// A leader that waits for a director, is paused, or has nothing to do, is not stuck.
func TestALeaderThatWaitsGoesOnLeading(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.options.StuckAfter = 5 * time.Second
	h.director.hold = true
	h.run()
	first := h.create("a")
	h.awaitTask()
	must(t, h.Pause(t.Context(), cc, "to see"))
	second := h.create("b")
	<-time.After(2 * h.options.StuckAfter) // a leader that is stuck gives up meanwhile
	must(t, h.Resume(t.Context(), cc))
	h.director.finish()
	h.until("a", first.Operation, serviceforge.Succeeded)
	h.until("b", second.Operation, serviceforge.Succeeded)
	if before, after := h.instance("a").Operation.Intent.Term, h.instance("b").Operation.Intent.Term; before != after {
		t.Errorf("it led in term %d and leads in term %d", before, after)
	}
}
