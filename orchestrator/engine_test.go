package orchestrator_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator"
	"github.com/serviceforge/serviceforge/orchestrator/bindings"
	"github.com/serviceforge/serviceforge/orchestrator/director"
	"github.com/serviceforge/serviceforge/releases/deployed"
)

func TestAnInstanceIsCreatedBoundAndDeleted(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.run()
	h.until("a", h.create("a").Operation, serviceforge.Succeeded)
	i, err := h.Instance(t.Context(), cc, "a")
	must(t, err)
	if i.State != serviceforge.Running || i.Deployment != "plain-a" || i.Operation.Intent.Task != 1 {
		t.Errorf("instance = %+v", i)
	}
	if stamp, ok := deployed.StampOf(h.director.deployments["plain-a"].manifest); !ok || stamp.Instance != "a" || stamp.Broker != h.store.BrokerID() {
		t.Errorf("the manifest is not stamped: %+v", stamp)
	}
	// Counts, not times: name check, POST, and GET …/instances (DESIGN §4).
	for call, most := range map[string]int{"Deploy": 1, "Manifest": 1, "Instances": 1, "Task": 1, "Tasks": 0} {
		if n := h.director.count(call); n > most {
			t.Errorf("%d calls of %s, at most %d", n, call, most)
		}
	}
	before := h.director.count("Tasks")
	bound, err := h.Bind(t.Context(), bindings.BindRequest{Caller: cc, InstanceID: "a", BindingID: "b", ServiceID: "service", PlanID: "plan"})
	must(t, err)
	var credentials map[string]string
	must(t, json.Unmarshal([]byte(bound.Binding.Credentials.Reveal()), &credentials))
	if credentials["host"] != "127.1.1.1" || credentials["username"] != bound.Binding.User || credentials["password"] == "" {
		t.Errorf("credentials = %v", credentials)
	}
	again, err := h.Bind(t.Context(), bindings.BindRequest{Caller: cc, InstanceID: "a", BindingID: "b", ServiceID: "service", PlanID: "plan"})
	must(t, err)
	if !again.Existed || again.Binding.Credentials.Reveal() != bound.Binding.Credentials.Reveal() {
		t.Error("the same bind again gives other credentials")
	}
	if h.director.count("Tasks") != before {
		t.Error("a bind asked the director")
	}
	_, err = h.Unbind(t.Context(), bindings.UnbindRequest{Caller: cc, InstanceID: "a", BindingID: "b"})
	must(t, err)
	_, err = h.Unbind(t.Context(), bindings.UnbindRequest{Caller: cc, InstanceID: "a", BindingID: "b"})
	code(t, err, serviceforge.Gone)
	h.until("a", h.remove("a").Operation, serviceforge.Succeeded)
	if len(h.director.deployments) != 0 {
		t.Error("the deployment is still there")
	}
	_, err = h.Deprovision(t.Context(), orchestrator.DeprovisionRequest{Caller: cc, InstanceID: "a", AcceptsIncomplete: true})
	code(t, err, serviceforge.Gone)
	h.until("a", h.create("a").Operation, serviceforge.Succeeded) // the id is free again
}

func TestALostAnswerIsFoundByItsContextID(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.director.fault = func(when, call string) error {
		if when == "after" && call == "Deploy" {
			return lost(call)
		}
		return nil
	}
	h.run()
	h.until("a", h.create("a").Operation, serviceforge.Succeeded)
	if posts := h.director.deployments["plain-a"].posts; posts != 1 {
		t.Errorf("%d posts, want 1", posts)
	}
}

func TestAForeignDeploymentIsLeftAlone(t *testing.T) {
	t.Parallel()
	for name, manifest := range map[string]string{
		"without a stamp": "name: plain-a\n", "of another broker": "# serviceforge broker=other instance=a operation=o\n", "never deployed": "",
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			h.director.deployments["plain-a"] = &deployment{manifest: []byte(manifest)}
			h.run()
			h.until("a", h.create("a").Operation, serviceforge.Failed)
			if i, err := h.Instance(t.Context(), cc, "a"); err != nil || i.State != serviceforge.FailedCreation {
				t.Errorf("state %s, %v", i.State, err)
			}
			h.until("a", h.remove("a").Operation, serviceforge.Succeeded) // there was never anything of it
			if h.director.count("Deploy")+h.director.count("Delete") > 0 || h.director.deployments["plain-a"] == nil {
				t.Error("the foreign deployment was touched")
			}
		})
	}
}

func TestADeploymentThatSomebodyReplacedIsLeftAlone(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.run()
	h.until("a", h.create("a").Operation, serviceforge.Succeeded)
	h.director.deployments["plain-a"] = &deployment{manifest: []byte("name: plain-a\n")}
	h.until("a", h.remove("a").Operation, serviceforge.Failed)
	if h.director.count("Delete") > 0 {
		t.Error("the foreign deployment was touched")
	}
	x, err := h.engine().Explain(t.Context(), operator, "a")
	must(t, err)
	if x.Class != "foreign_deployment" || !strings.Contains(x.Instance.Operation.Message, "explain") ||
		!strings.Contains(x.Advice, "bosh -d DEPLOYMENT delete-deployment") || !strings.Contains(x.Advice, "orphans delete --i-own DEPLOYMENT") {
		t.Errorf("%s: %q: %q", x.Class, x.Instance.Operation.Message, x.Advice)
	}
	_, err = h.engine().DeleteStray(t.Context(), operator, "", "plain-a", 0, false)
	code(t, err, serviceforge.Conflict)
	if h.director.count("Delete") > 0 {
		t.Error("nobody answered for the foreign deployment, and it was touched")
	}
	_, err = h.engine().DeleteStray(t.Context(), operator, "", "plain-a", 0, true)
	must(t, err)
	h.until("a", h.repair("a").Operation, serviceforge.Succeeded)
}

// Nobody answers for what an instance still has.
func TestADeploymentInUseIsNoStray(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.run()
	h.until("a", h.create("a").Operation, serviceforge.Succeeded)
	_, err := h.engine().DeleteStray(t.Context(), operator, "", "plain-a", 0, true)
	code(t, err, serviceforge.Conflict)
	if h.director.count("Delete") > 0 {
		t.Error("it was deleted")
	}
}

func TestADeleteTakesOverARunningCreate(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.director.hold = true
	h.run()
	created := h.create("a")
	eventually(t, func() (int, error) {
		if h.director.running() == 0 {
			return 0, errors.New("no task yet")
		}
		return 0, nil
	})
	removed := h.remove("a")
	if same := h.remove("a"); !strings.HasPrefix(same.Operation, strings.Split(removed.Operation, "@")[0]) {
		t.Errorf("the same DELETE started another operation: %s, %s", removed.Operation, same.Operation)
	}
	h.until("a", removed.Operation, serviceforge.Succeeded)
	if h.director.count("Cancel") == 0 || len(h.director.deployments) != 0 {
		t.Errorf("%d cancels, deployments %v", h.director.count("Cancel"), h.director.deployments)
	}
	if p, err := h.LastOperation(t.Context(), cc, "a", created.Operation); err != nil || p.Kind != serviceforge.Deprovision {
		t.Errorf("a poll for the superseded create: %+v, %v", p, err)
	}
}

func TestACreateWhoseTaskFails(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		outcome []string
		want    serviceforge.OperationState
		state   serviceforge.State
		posts   int
	}{
		{[]string{director.TaskError}, serviceforge.Succeeded, serviceforge.Running, 2},
		{[]string{director.TaskError, director.TaskError}, serviceforge.Failed, serviceforge.FailedDeployment, 2},
		{[]string{director.TaskTimeout}, serviceforge.Succeeded, serviceforge.Running, 2},
	} {
		t.Run(fmt.Sprint(c.outcome), func(t *testing.T) {
			h := newHouse(t)
			h.director.outcome = c.outcome
			h.run()
			h.until("a", h.create("a").Operation, c.want)
			i, err := h.Instance(t.Context(), cc, "a")
			must(t, err)
			if i.State != c.state || h.director.deployments["plain-a"].posts != c.posts {
				t.Errorf("state %s after %d posts", i.State, h.director.deployments["plain-a"].posts)
			}
			if c.want == serviceforge.Failed {
				if !strings.Contains(i.Operation.Cause, "the whole reason") || strings.Contains(i.Operation.Message, "reason") {
					t.Errorf("message %q, cause %q", i.Operation.Message, i.Operation.Cause)
				}
				_, err := h.Bind(t.Context(), bindings.BindRequest{Caller: cc, InstanceID: "a", BindingID: "b", ServiceID: "service", PlanID: "plan"})
				code(t, err, serviceforge.NotReady)
			}
			h.until("a", h.remove("a").Operation, serviceforge.Succeeded)
		})
	}
}

func TestNoMoreTasksThanThePoolAllows(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	most := h.options.Pools.All()[0].MaxInFlight
	h.director.hold = true
	h.run()
	var all []orchestrator.Accepted
	for n := range most + 5 {
		all = append(all, h.create(fmt.Sprint("i", n)))
	}
	eventually(t, func() (int, error) {
		if n := h.director.running(); n < most {
			return n, fmt.Errorf("%d of %d run", n, most)
		}
		return 0, nil
	})
	h.awaits(all[most+4].Instance.ID, func(x orchestrator.Explanation) bool { return x.Position == 5 })
	if n := h.director.count("Deploy"); n != most {
		t.Errorf("%d deploys, the pool allows %d", n, most)
	}
	h.director.finish()
	for _, a := range all {
		h.until(a.Instance.ID, a.Operation, serviceforge.Succeeded)
	}
}

func TestTheSameOrderAgain(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	first := h.create("a")
	if again := h.create("a"); again.Operation != first.Operation || again.Done {
		t.Errorf("first %+v, again %+v", first, again)
	}
	other := order("a")
	other.SpaceGUID = "elsewhere"
	_, err := h.Provision(t.Context(), other)
	code(t, err, serviceforge.Conflict)
	foreign := order("a")
	foreign.Platform = "another"
	_, err = h.Provision(t.Context(), foreign)
	code(t, err, serviceforge.Conflict)
	_, err = h.Instance(t.Context(), serviceforge.Caller{Platform: "another"}, "a")
	code(t, err, serviceforge.NotFound)
	h.run()
	h.until("a", first.Operation, serviceforge.Succeeded)
	if again := h.create("a"); !again.Done {
		t.Errorf("after it is done: %+v", again)
	}
}

func TestBadOrdersStoreNothing(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for name, change := range map[string]func(*orchestrator.ProvisionRequest){
		"unknown service":   func(r *orchestrator.ProvisionRequest) { r.ServiceID = "x" },
		"unknown plan":      func(r *orchestrator.ProvisionRequest) { r.PlanID = "x" },
		"synchronous":       func(r *orchestrator.ProvisionRequest) { r.AcceptsIncomplete = false },
		"no object":         func(r *orchestrator.ProvisionRequest) { r.Parameters = json.RawMessage(`[1]`) },
		"unknown parameter": func(r *orchestrator.ProvisionRequest) { r.Parameters = json.RawMessage(`{"x":1}`) },
		"a reference": func(r *orchestrator.ProvisionRequest) {
			r.Context = json.RawMessage(`{"organization_name":"((/victim/password))"}`)
		},
		"empty id": func(r *orchestrator.ProvisionRequest) { r.InstanceID = "" },
		"dots":     func(r *orchestrator.ProvisionRequest) { r.InstanceID = ".." },
		"long id":  func(r *orchestrator.ProvisionRequest) { r.InstanceID = strings.Repeat("x", 256) },
	} {
		r := order("a")
		change(&r)
		want := serviceforge.Invalid
		if name == "synchronous" {
			want = serviceforge.AsyncRequired
		}
		if _, err := h.Provision(t.Context(), r); serviceforge.CodeOf(err) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if all := h.store.Summaries(); len(all) != 0 {
		t.Errorf("stored: %v", all)
	}
}
