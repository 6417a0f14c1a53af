package orchestrator_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator/bindings"
	"github.com/serviceforge/serviceforge/orchestrator/director"
)

func TestTheHistoryTellsWhoWhatAndWhy(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.director.outcome = []string{director.TaskError}
	h.run()
	wish := order("a")
	wish.Identity = strings.Repeat("i", 3*serviceforge.MaxTold)
	accepted, err := h.Provision(t.Context(), wish)
	must(t, err)
	h.until("a", accepted.Operation, serviceforge.Succeeded)
	_, err = h.Bind(t.Context(), bindings.BindRequest{Caller: operator, InstanceID: "a", BindingID: "b", ServiceID: "service", PlanID: "plan"})
	must(t, err)
	_, err = h.Unbind(t.Context(), bindings.UnbindRequest{Caller: cc, InstanceID: "a", BindingID: "b"})
	must(t, err)
	h.until("a", h.remove("a").Operation, serviceforge.Succeeded)
	changes, err := h.History(t.Context(), "a")
	must(t, err)
	var told []string
	for _, c := range changes {
		told = append(told, fmt.Sprintf("%s%s by %s, %s>%s %s, task %d, %s", c.What, c.Binding, c.Actor, c.Before, c.After, c.Result, c.Task, c.Cause))
	}
	want := []string{
		"provision by platform cc, >initialized in progress, task 0, ",
		"provision by platform cc, initialized>deploying in progress, task 0, ",
		"provision by platform cc, deploying>deploying in progress, task 1, task 1: the whole reason (450001)",
		"provision by platform cc, deploying>running succeeded, task 2, ",
		"bindb by token 1, running>running succeeded, task 0, ",
		"unbindb by platform cc, running>running succeeded, task 0, ",
		"deprovision by platform cc, running>destroying in progress, task 0, ",
		"deprovision by platform cc, destroying>destroyed succeeded, task 3, ",
	}
	if got := strings.Join(told, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("history:\n%s", got)
	}
	if n := len(changes[0].Identity); n != serviceforge.MaxTold {
		t.Errorf("%d bytes of identity", n)
	}
}

var operator = serviceforge.Caller{Actor: "token 1"}
