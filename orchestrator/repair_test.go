package orchestrator_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator"
	"github.com/serviceforge/serviceforge/orchestrator/bindings"
	"github.com/serviceforge/serviceforge/orchestrator/director"
)

func (h *house) repair(id string) orchestrator.Accepted {
	h.t.Helper()
	accepted, err := h.Repair(h.t.Context(), operator, id)
	must(h.t, err)
	return accepted
}

func (h *house) reset(id string) orchestrator.Accepted {
	h.t.Helper()
	accepted, err := h.Reset(h.t.Context(), operator, id)
	must(h.t, err)
	return accepted
}

// loseKey has an instance's secrets sealed with a key that nobody has.
func (h *house) loseKey(id string) {
	h.t.Helper()
	place := "/serviceforge/v1/instances/" + id
	answer, err := h.client.Get(h.t.Context(), place)
	must(h.t, err)
	value := keyID.ReplaceAllString(string(answer.Kvs[0].Value), `"key_id":"lost"`)
	_, err = h.client.Put(h.t.Context(), place, value)
	must(h.t, err)
}

var keyID = regexp.MustCompile(`"key_id":"[^"]*"`)

// The pins of a failed create stay: its pool, and above all its secrets.
func TestARepairKeepsThePins(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.director.outcome = []string{director.TaskError, director.TaskError}
	h.run()
	h.until("a", h.create("a").Operation, serviceforge.Failed)
	before, err := h.Instance(t.Context(), cc, "a")
	must(t, err)
	repaired := h.repair("a")
	if _, err := h.Repair(t.Context(), operator, "a"); err != nil && serviceforge.CodeOf(err) != serviceforge.Busy {
		t.Error(err)
	}
	h.until("a", repaired.Operation, serviceforge.Succeeded)
	after, err := h.Instance(t.Context(), cc, "a")
	must(t, err)
	if after.Pool != before.Pool || after.Secrets.Reveal() != before.Secrets.Reveal() || after.Operation.Actor != "token 1" {
		t.Errorf("before %+v, after %+v", before, after)
	}
	_, err = h.Repair(t.Context(), operator, "nope")
	code(t, err, serviceforge.NotFound)
	_, err = h.Repair(t.Context(), serviceforge.Caller{Platform: "another"}, "a")
	code(t, err, serviceforge.NotFound)
}

// What is wrong with a running instance is said; nothing is changed, and the
// platform, which knows nothing of it, is told nothing.
func TestARepairSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil func(h *house)
		says  string
	}{
		"gone":    {func(h *house) { delete(h.director.deployments, "plain-a") }, "is gone from pool local"},
		"foreign": {func(h *house) { h.director.deployments["plain-a"].manifest = []byte("name: plain-a\n") }, "is left alone"},
		"away": {func(h *house) {
			h.director.fault = func(_, call string) error { return lost(call) }
		}, "Not verified: the answer to Manifest is lost"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			stop := h.run()
			created := h.create("a")
			h.until("a", created.Operation, serviceforge.Succeeded)
			stop()
			c.spoil(h)
			h.run()
			h.until("a", h.repair("a").Operation, serviceforge.Failed)
			i, err := h.Instance(t.Context(), cc, "a")
			must(t, err)
			if !strings.Contains(i.Operation.Message, c.says) || i.State != serviceforge.Running {
				t.Errorf("%s: %s", i.State, i.Operation.Message)
			}
			for _, operation := range []string{created.Operation, ""} {
				if p, err := h.LastOperation(t.Context(), cc, "a", operation); err != nil || p.State != serviceforge.Succeeded {
					t.Errorf("the platform is told %+v, %v", p, err)
				}
			}
			if again := h.create("a"); !again.Done {
				t.Errorf("the same order again: %+v", again)
			}
			if h.director.count("Deploy") != 1 || h.director.count("Delete") != 0 {
				t.Error("the director was asked to do something")
			}
		})
	}
}

// TestALostKeyCostsARedeploy closes an instance's record for ever: it is still
// listed and told of, nothing that needs its secrets begins, and a reset gives
// it new ones.
func TestALostKeyCostsARedeploy(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.run()
	h.until("a", h.create("a").Operation, serviceforge.Succeeded)
	before, err := h.store.Instance(t.Context(), "a")
	must(t, err)
	h.loseKey("a")
	i, err := h.Instance(t.Context(), cc, "a")
	must(t, err)
	if i.LostKey != "lost" || i.State != serviceforge.Running {
		t.Fatalf("%+v", i)
	}
	_, err = h.Bind(t.Context(), bindings.BindRequest{Caller: cc, InstanceID: "a", BindingID: "b", ServiceID: "service", PlanID: "plan"})
	wantLost(t, err)
	_, err = h.Update(t.Context(), orchestrator.UpdateRequest{Caller: cc, InstanceID: "a", ServiceID: "service", PlanID: "large", AcceptsIncomplete: true})
	wantLost(t, err)
	h.until("a", h.reset("a").Operation, serviceforge.Succeeded)
	after, err := h.store.Instance(t.Context(), "a")
	must(t, err)
	if after.LostKey != "" || after.Secrets.Empty() || after.Secrets.Reveal() == before.Secrets.Reveal() || after.Pool != before.Pool {
		t.Errorf("%+v", after)
	}
	h.loseKey("a")
	h.until("a", h.remove("a").Operation, serviceforge.Succeeded)
	if len(h.director.deployments) != 0 {
		t.Error("a deployment is left")
	}
}

func wantLost(t *testing.T, err error) {
	t.Helper()
	if serviceforge.CodeOf(err) != serviceforge.Unavailable || !strings.Contains(err.Error(), "serviceforge keys reset-instance a") {
		t.Errorf("%v", err)
	}
}

func TestARepairLearnsMovedAddresses(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	stop := h.run()
	h.until("a", h.create("a").Operation, serviceforge.Succeeded)
	stop()
	h.director.address = "127.9.9.9"
	h.run()
	h.until("a", h.repair("a").Operation, serviceforge.Succeeded)
	i, err := h.Instance(t.Context(), cc, "a")
	must(t, err)
	if !strings.Contains(i.Operation.Message, "moved from map[node:[127.1.1.1 127.1.1.2]] to map[node:[127.9.9.9 127.1.1.2]]") {
		t.Errorf("message %q", i.Operation.Message)
	}
	bound, err := h.Bind(t.Context(), bindings.BindRequest{Caller: cc, InstanceID: "a", BindingID: "b", ServiceID: "service", PlanID: "plan"})
	must(t, err)
	var credentials map[string]string
	must(t, json.Unmarshal([]byte(bound.Binding.Credentials.Reveal()), &credentials))
	if credentials["host"] != "127.9.9.9" {
		t.Errorf("credentials = %v", credentials)
	}
}
