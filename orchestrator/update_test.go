package orchestrator_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator"
	"github.com/serviceforge/serviceforge/orchestrator/bindings"
	"github.com/serviceforge/serviceforge/orchestrator/director"
)

// toLarge asks for the larger plan.
func toLarge(r *orchestrator.UpdateRequest) { r.PlanID = "large" }

func parameters(object string) func(*orchestrator.UpdateRequest) {
	return func(r *orchestrator.UpdateRequest) { r.Parameters = json.RawMessage(object) }
}

func (h *house) tryChange(id string, edits ...func(*orchestrator.UpdateRequest)) (orchestrator.Accepted, error) {
	r := orchestrator.UpdateRequest{Caller: cc, InstanceID: id, ServiceID: "service", AcceptsIncomplete: true}
	for _, edit := range edits {
		edit(&r)
	}
	return h.Update(h.t.Context(), r)
}

func (h *house) change(id string, edits ...func(*orchestrator.UpdateRequest)) orchestrator.Accepted {
	h.t.Helper()
	accepted, err := h.tryChange(id, edits...)
	must(h.t, err)
	return accepted
}

func (h *house) instance(id string) serviceforge.Instance {
	h.t.Helper()
	i, err := h.store.Instance(h.t.Context(), id)
	must(h.t, err)
	return i
}

// awaitTask waits until a director's task runs.
func (h *house) awaitTask() {
	h.t.Helper()
	eventually(h.t, func() (int, error) {
		if h.director.running() == 0 {
			return 0, errors.New("no task yet")
		}
		return 0, nil
	})
}

// The wish is the operation's until it is fulfilled.
func TestAnUpdateChangesPlanAndParameters(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.run()
	h.until("a", h.create("a").Operation, serviceforge.Succeeded)
	h.director.hold = true
	first := h.change("a", toLarge, parameters(`{"level": 7}`))
	h.awaitTask()
	if i := h.instance("a"); i.PlanID != "plan" || !i.Parameters.Empty() || i.State != serviceforge.Running {
		t.Errorf("meanwhile the instance is %+v", i)
	}
	if again := h.change("a", toLarge, parameters(`{ "level":7 }`)); again.Operation != first.Operation || again.Done {
		t.Errorf("the same request again: %+v, first %+v", again, first)
	}
	_, err := h.tryChange("a", toLarge)
	code(t, err, serviceforge.Busy)
	_, err = h.Bind(t.Context(), bindings.BindRequest{Caller: cc, InstanceID: "a", BindingID: "b", ServiceID: "service", PlanID: "plan"})
	code(t, err, serviceforge.NotReady)
	if again := h.create("a"); !again.Done {
		t.Error("the order of an instance that is updated is not fulfilled")
	}
	posted := string(h.director.lastPosted())
	if !strings.Contains(posted, `"level": 7`) || !strings.Contains(posted, `"instances": 2`) {
		t.Errorf("the manifest does not hold what was asked for:\n%s", posted)
	}
	h.director.finish()
	h.until("a", first.Operation, serviceforge.Succeeded)
	if i := h.instance("a"); i.PlanID != "large" || i.Parameters.Reveal() != `{"level":7}` || i.Unfinished != "" {
		t.Errorf("afterwards the instance is %+v", i)
	}
	if again := h.change("a", toLarge, parameters(`{"level": 7}`)); !again.Done {
		t.Error("there is nothing left to do")
	}
	if n := h.director.count("Deploy"); n != 2 {
		t.Errorf("%d deploys", n)
	}
}

// Parameters that are not named stay as they are.
func TestAnUpdateMergesParameters(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.run()
	r := order("a")
	r.Parameters = json.RawMessage(`{"level": 5}`)
	created, err := h.Provision(t.Context(), r)
	must(t, err)
	h.until("a", created.Operation, serviceforge.Succeeded)
	h.until("a", h.change("a", toLarge, parameters(`{}`)).Operation, serviceforge.Succeeded)
	if posted := string(h.director.lastPosted()); !strings.Contains(posted, `"level": 5`) {
		t.Errorf("a change of the plan changed the parameters:\n%s", posted)
	}
}

// A failed update leaves plan and parameters; it is tried again only by whoever
// asked, and nothing else is done to what may be half changed.
func TestAFailedUpdateLeavesTheInstance(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		outcome, words string
		repeatable     bool
	}{
		{director.TaskError, "it went wrong", true},
		{director.TaskError, "Required property 'level' was not specified", false},
		{director.TaskCancelled, "Task 2 cancelled", true},
		{director.TaskTimeout, "", true},
	} {
		t.Run(c.outcome+" "+c.words, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			h.run()
			h.until("a", h.create("a").Operation, serviceforge.Succeeded)
			h.director.outcome, h.director.words = []string{c.outcome}, c.words
			failed := h.change("a", toLarge, parameters(`{"level": 7}`))
			h.until("a", failed.Operation, serviceforge.Failed)
			p, err := h.LastOperation(t.Context(), cc, "a", failed.Operation)
			must(t, err)
			if p.Kind != serviceforge.Update || p.Unusable || p.Unrepeatable == c.repeatable {
				t.Errorf("told %+v", p)
			}
			if i := h.instance("a"); i.PlanID != "plan" || !i.Parameters.Empty() || i.State != serviceforge.Running {
				t.Errorf("the instance is %+v", i)
			}
			if n := h.director.count("Deploy"); n != 2 {
				t.Errorf("%d deploys: a failed update is not tried again by itself", n)
			}
			_, err = h.tryChange("a", parameters(`{"level": 8}`))
			code(t, err, serviceforge.Unprocessable)
			h.until("a", h.change("a", toLarge, parameters(`{"level": 7}`)).Operation, serviceforge.Succeeded)
			if i := h.instance("a"); i.PlanID != "large" || i.Unfinished != "" {
				t.Errorf("repeated, the instance is %+v", i)
			}
		})
	}
}

// A director that quotes the manifest does not tell what was asked for.
func TestTheWishIsNotQuoted(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.run()
	h.until("a", h.create("a").Operation, serviceforge.Succeeded)
	h.director.outcome, h.director.quote = []string{director.TaskError}, true
	h.until("a", h.change("a", parameters(`{"word": "a-word-of-a-wish"}`)).Operation, serviceforge.Failed)
	if i := h.instance("a"); strings.Contains(i.Operation.Cause+i.Operation.Message, "of-a-wish") || !strings.Contains(i.Operation.Cause, "[redacted]") {
		t.Errorf("cause %q, message %q", i.Operation.Cause, i.Operation.Message)
	}
}

// Half changed parameters are not taken for those of the record.
func TestTheOldParametersAreDeployedAgain(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.run()
	h.until("a", h.create("a").Operation, serviceforge.Succeeded)
	h.director.outcome = []string{director.TaskError}
	h.until("a", h.change("a", parameters(`{"level": 7}`)).Operation, serviceforge.Failed)
	back := h.change("a")
	if back.Done {
		t.Fatal("nobody knows whether the old parameters are in force")
	}
	h.until("a", back.Operation, serviceforge.Succeeded)
	if posted := string(h.director.lastPosted()); !strings.Contains(posted, `"level": 3`) {
		t.Errorf("posted:\n%s", posted)
	}
}

func TestAContextNeedsNoDeployment(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.run()
	h.until("a", h.create("a").Operation, serviceforge.Succeeded)
	renamed := h.change("a", func(r *orchestrator.UpdateRequest) {
		r.Context, r.AcceptsIncomplete = json.RawMessage(`{"instance_name": "new"}`), false
	})
	if !renamed.Done || h.instance("a").Context.Reveal() != `{"instance_name": "new"}` || h.director.count("Deploy") != 1 {
		t.Errorf("%+v", renamed)
	}
}

// An upgrade, and nothing else, moves versions.
func TestAnUpgradeMovesThePins(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	stop := h.run()
	h.until("a", h.create("a").Operation, serviceforge.Succeeded)
	stop()
	h.sell(plain, map[string]string{"plain": "2"})
	h.Engine = orchestrator.New(h.options)
	h.run()
	h.until("a", h.change("a", parameters(`{"level": 7}`)).Operation, serviceforge.Succeeded)
	if posted := string(h.director.lastPosted()); !strings.Contains(posted, `"version": "1"`) {
		t.Errorf("a change of parameters moved the version:\n%s", posted)
	}
	h.until("a", h.change("a", func(r *orchestrator.UpdateRequest) { r.Upgrade = true }).Operation, serviceforge.Succeeded)
	if posted := string(h.director.lastPosted()); !strings.Contains(posted, `"version": "2"`) {
		t.Errorf("the upgrade did not move the version:\n%s", posted)
	}
}

func TestBadUpdatesChangeNothing(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.run()
	h.until("a", h.create("a").Operation, serviceforge.Succeeded)
	h.until("b", h.create("b").Operation, serviceforge.Succeeded)
	h.until("b", h.change("b", toLarge).Operation, serviceforge.Succeeded)
	before := h.instance("a").Revision
	for name, c := range map[string]struct {
		instance string
		edit     func(*orchestrator.UpdateRequest)
		want     serviceforge.Code
		says     string
	}{
		"unknown instance":  {"x", toLarge, serviceforge.NotFound, "no service instance"},
		"another platform":  {"a", func(r *orchestrator.UpdateRequest) { r.Platform = "k8s" }, serviceforge.NotFound, "no service instance"},
		"another service":   {"a", func(r *orchestrator.UpdateRequest) { r.ServiceID = "x" }, serviceforge.Invalid, "service_id"},
		"unknown plan":      {"a", func(r *orchestrator.UpdateRequest) { r.PlanID = "x" }, serviceforge.Invalid, "unknown plan"},
		"unknown parameter": {"a", parameters(`{"x": 1}`), serviceforge.Invalid, "x"},
		"wrong parameter":   {"a", parameters(`{"level": 10}`), serviceforge.Invalid, "level"},
		"a reference":       {"a", parameters(`{"level": "((/x))"}`), serviceforge.Invalid, "(("},
		"no object":         {"a", parameters(`[]`), serviceforge.Invalid, "object"},
		"synchronously":     {"a", func(r *orchestrator.UpdateRequest) { r.PlanID, r.AcceptsIncomplete = "large", false }, serviceforge.AsyncRequired, "asynchronous"},
		"against the rule":  {"b", func(r *orchestrator.UpdateRequest) { r.PlanID = "plan" }, serviceforge.Unprocessable, "plan large cannot be changed to small; it can be changed to no other"},
		"too large":         {"a", func(r *orchestrator.UpdateRequest) { r.PlanID = "huge" }, serviceforge.Unprocessable, "pool local has no vm type huge"},
	} {
		_, err := h.tryChange(c.instance, c.edit)
		if serviceforge.CodeOf(err) != c.want || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %s: …%s…", name, err, c.want, c.says)
		}
	}
	if after := h.instance("a").Revision; after != before || h.director.count("Deploy") != 3 {
		t.Errorf("something was changed: revision %d, was %d", after, before)
	}
}

// What an operator verifies afterwards does not make a failed update good.
func TestAPlatformStillHearsOfItsFailedUpdate(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.run()
	h.until("a", h.create("a").Operation, serviceforge.Succeeded)
	h.director.outcome = []string{director.TaskError}
	failed := h.change("a", toLarge)
	h.until("a", failed.Operation, serviceforge.Failed)
	for range 2 {
		h.until("a", h.repair("a").Operation, serviceforge.Succeeded)
		p, err := h.LastOperation(t.Context(), cc, "a", failed.Operation)
		if must(t, err); p.State != serviceforge.Failed || p.Kind != serviceforge.Update {
			t.Errorf("told %+v", p)
		}
	}
}
