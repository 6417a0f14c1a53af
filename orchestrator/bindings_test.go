package orchestrator_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator/bindings"
	"github.com/serviceforge/serviceforge/spec/etcd"
	"github.com/serviceforge/serviceforge/spec/servers"
	"github.com/serviceforge/serviceforge/users"
)

// guarded is plain with users: those of a real etcd. bindings is the plan's rule.
func guarded(server *etcd.Server, bindings string) fstest.MapFS {
	files := fstest.MapFS{}
	for name, file := range plain {
		files[name] = file
	}
	ca, _ := json.Marshal(server.Service.CA)
	text := strings.NewReplacer(
		"password: (( sf.secrets.password ))", "password: (( sf.user.password ))",
		"  plans:\n  - {", fmt.Sprintf(`  endpoints: [{host: (( sf.facts.host )), ports: ["7"]}]
  users:
    driver: etcd
    endpoints: [%q]
    server_name: %s
    admin: {username: root, password: admin-password, ca: %s}
  plans:
  - {bindings: {%s}, `, server.Service.Endpoints[0], servers.ServerName, ca, bindings),
	).Replace(string(plain["service.yml"].Data))
	files["service.yml"] = &fstest.MapFile{Data: []byte(text)}
	return files
}

// guardedHouse has one running instance, "a", whose users are the server's.
func guardedHouse(t *testing.T, bindings string) (*house, *etcd.Server) {
	t.Helper()
	server := etcd.Start(t, servers.NewAuthority(t), "admin-password")
	h := newHouseOf(t, guarded(server, bindings))
	stop := h.run()
	h.until("a", h.create("a").Operation, serviceforge.Succeeded)
	stop()
	return h, server
}

func bindOrder(id string) bindings.BindRequest {
	return bindings.BindRequest{Caller: cc, InstanceID: "a", BindingID: id, ServiceID: "service", PlanID: "plan", AcceptsIncomplete: true}
}

func unbindOrder(id string) bindings.UnbindRequest {
	return bindings.UnbindRequest{Caller: cc, InstanceID: "a", BindingID: id, AcceptsIncomplete: true}
}

// bound polls until a binding is made, and returns it.
func (h *house) bound(id string) serviceforge.Binding {
	h.t.Helper()
	h.untilBinding(id, serviceforge.Succeeded)
	b, err := h.Binding(h.t.Context(), cc, "a", id)
	must(h.t, err)
	return b
}

func (h *house) untilBinding(id string, want serviceforge.OperationState) serviceforge.Progress {
	h.t.Helper()
	last := eventually(h.t, func() (serviceforge.Progress, error) {
		p, err := h.LastBindingOperation(h.t.Context(), cc, "a", id)
		if err == nil && p.State == serviceforge.InProgress {
			err = errors.New(p.Description)
		}
		return p, err
	})
	if last.State != want {
		h.t.Fatalf("%s: %s (%s), want %s", id, last.State, last.Description, want)
	}
	return last
}

// may says whether the binding's user may use the service.
func may(t *testing.T, server *etcd.Server, b *serviceforge.Binding) bool {
	t.Helper()
	c, err := etcd.Login(t, server.Service, users.User{Name: b.User, Password: b.Password})
	if err == nil {
		_, err = c.Put(t.Context(), "/x", b.ID)
	}
	return err == nil
}

func TestABindingIsMadeAndEndedWhileThePlatformPolls(t *testing.T) {
	t.Parallel()
	h, server := guardedHouse(t, "")
	first, err := h.Bind(t.Context(), bindOrder("b"))
	must(t, err)
	if first.Binding.State != serviceforge.BindingCreating || first.Binding.Operation.ID == "" || !first.Binding.Credentials.Empty() {
		t.Fatalf("accepted: %+v", first)
	}
	again, err := h.Bind(t.Context(), bindOrder("b"))
	must(t, err)
	if again.Binding.Operation.ID != first.Binding.Operation.ID || again.Existed {
		t.Errorf("repeated: %+v", again)
	}
	other := bindOrder("b")
	other.AppGUID = "another"
	_, err = h.Bind(t.Context(), other)
	code(t, err, serviceforge.Conflict)
	_, err = h.Binding(t.Context(), cc, "a", "b")
	code(t, err, serviceforge.NotFound)
	h.run() // only now an engine
	b := h.bound("b")
	if !may(t, server, &b) || len(b.Endpoints) != 1 || b.Endpoints[0].Protocol != "tcp" {
		t.Errorf("bound: %+v", b)
	}
	if again, err = h.Bind(t.Context(), bindOrder("b")); err != nil || !again.Existed {
		t.Errorf("repeated: %+v, %v", again, err)
	}
	gone, err := h.Unbind(t.Context(), unbindOrder("b"))
	must(t, err)
	if gone.Done || gone.Operation == "" {
		t.Errorf("unbind: %+v", gone)
	}
	h.untilBinding("b", serviceforge.Succeeded)
	eventually(t, func() (bool, error) { // the poll may have been answered before the end
		_, err := h.Unbind(t.Context(), unbindOrder("b"))
		if serviceforge.CodeOf(err) != serviceforge.Gone {
			return false, fmt.Errorf("%v", err)
		}
		return true, nil
	})
	h.untilBinding("b", serviceforge.Succeeded) // remembered
	if may(t, server, &b) {
		t.Error("the user is still there")
	}
	_, err = h.LastBindingOperation(t.Context(), cc, "a", "never")
	code(t, err, serviceforge.NotFound)
	h.until("a", h.remove("a").Operation, serviceforge.Succeeded)
	h.untilBinding("b", serviceforge.Succeeded)
}

// What the platform waits for is made by the replica that was asked, leader or
// not; if the service does not answer nothing is left.
func TestABindingIsMadeAtOnceWhereThePlatformWaits(t *testing.T) {
	t.Parallel()
	h, server := guardedHouse(t, "requires_app: true")
	now := bindOrder("b")
	now.AcceptsIncomplete = false
	_, err := h.Bind(t.Context(), now)
	code(t, err, serviceforge.AppRequired)
	now.AppGUID = "app"
	made, err := h.Bind(t.Context(), now)
	must(t, err)
	if made.Existed || !may(t, server, &made.Binding) {
		t.Errorf("bound: %+v", made)
	}
	server.Stop()
	now.BindingID = "c"
	_, err = h.Bind(t.Context(), now)
	code(t, err, serviceforge.Unavailable)
	_, err = h.Unbind(t.Context(), unbindOrder("c"))
	code(t, err, serviceforge.Gone)
	due, err := h.store.Due(t.Context(), "a")
	must(t, err)
	if len(due) != 1 || due[0].Revoke.User == "" {
		t.Errorf("due: %+v", due)
	}
}

func TestARotatedBindingIsOneMore(t *testing.T) {
	t.Parallel()
	h, server := guardedHouse(t, "rotatable: true, valid: 90d, renew: 60d")
	h.run()
	order := bindOrder("old")
	order.AppGUID = "app"
	_, err := h.Bind(t.Context(), order)
	must(t, err)
	rotation := bindings.BindRequest{Caller: cc, InstanceID: "a", BindingID: "new", Predecessor: "old", AcceptsIncomplete: true}
	if _, err := h.Bind(t.Context(), rotation); err != nil {
		code(t, err, serviceforge.Busy) // "old" is being created
	}
	before := h.bound("old")
	accepted, err := h.Bind(t.Context(), rotation)
	must(t, err)
	after := h.bound("new")
	if after.Predecessor != "old" || after.AppGUID != "app" || after.User == before.User || !may(t, server, &before) || !may(t, server, &after) {
		t.Errorf("%+v of %+v", after, before)
	}
	if after.ExpiresAt.Sub(after.CreatedAt) != 90*24*time.Hour || after.RenewBefore.Sub(after.CreatedAt) != 60*24*time.Hour {
		t.Errorf("expires %s, renew before %s", after.ExpiresAt, after.RenewBefore)
	}
	_, err = h.Unbind(t.Context(), unbindOrder("old"))
	must(t, err)
	h.untilBinding("old", serviceforge.Succeeded)
	again, err := h.Bind(t.Context(), rotation) // although its predecessor is gone
	must(t, err)
	if !again.Existed || again.Binding.User != after.User || accepted.Binding.User != after.User {
		t.Errorf("%+v", again)
	}
	for name, change := range map[string]func(*bindings.BindRequest){
		"of itself":       func(r *bindings.BindRequest) { r.Predecessor = "other" },
		"of nothing":      func(r *bindings.BindRequest) { r.Predecessor = "old" },
		"with parameters": func(r *bindings.BindRequest) { r.Parameters = []byte(`{"x": 1}`) },
		"no id":           func(r *bindings.BindRequest) { r.Predecessor = "\x00" },
	} {
		wrong := rotation
		wrong.BindingID, wrong.Predecessor = "other", "new"
		change(&wrong)
		_, err := h.Bind(t.Context(), wrong)
		if serviceforge.CodeOf(err) != serviceforge.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	wrong := bindOrder("new") // no rotation, so another order
	wrong.AppGUID = "app"
	_, err = h.Bind(t.Context(), wrong)
	code(t, err, serviceforge.Conflict)
}

func TestABindingEndsWithItsTime(t *testing.T) {
	t.Parallel()
	h, server := guardedHouse(t, "rotatable: true, valid: 2s")
	h.run()
	bound, err := h.Bind(t.Context(), bindOrder("b"))
	must(t, err)
	eventually(t, func() (bool, error) {
		if _, err := h.store.Binding(t.Context(), "a", "b"); serviceforge.CodeOf(err) != serviceforge.NotFound {
			return false, fmt.Errorf("it is still there: %v", err)
		}
		return true, nil
	})
	if may(t, server, &bound.Binding) {
		t.Error("the user is still there")
	}
	told, err := h.History(t.Context(), "a")
	must(t, err)
	if last := told[len(told)-1]; last.What != "unbind" || last.Actor != "serviceforge" {
		t.Errorf("%+v", last)
	}
}

// A service that is away does not keep a platform from unbinding: the user is
// revoked when it is back.
func TestAUserOfASilentServiceIsRevokedLater(t *testing.T) {
	t.Parallel()
	h, server := guardedHouse(t, "")
	h.run()
	_, err := h.Bind(t.Context(), bindOrder("b"))
	must(t, err)
	b := h.bound("b")
	server.Stop()
	now := unbindOrder("b")
	now.AcceptsIncomplete = false
	gone, err := h.Unbind(t.Context(), now)
	must(t, err)
	if !gone.Done {
		t.Errorf("%+v", gone)
	}
	_, err = h.Unbind(t.Context(), now)
	code(t, err, serviceforge.Gone)
	server.Run(t)
	eventually(t, func() (bool, error) {
		if due, err := h.store.Due(t.Context(), "a"); err != nil || len(due) > 0 {
			return false, fmt.Errorf("%v %v", due, err)
		}
		return true, nil
	})
	if may(t, server, &b) {
		t.Error("the user is still there")
	}
}

// A bind that races the end of its instance has one outcome.
func TestABindingEndsWithItsInstance(t *testing.T) {
	t.Parallel()
	h, _ := guardedHouse(t, "")
	_, err := h.Bind(t.Context(), bindOrder("accepted"))
	must(t, err)
	removed := h.remove("a")
	_, err = h.Bind(t.Context(), bindOrder("late"))
	code(t, err, serviceforge.NotReady)
	_, err = h.Bind(t.Context(), bindOrder("accepted"))
	code(t, err, serviceforge.Busy)
	h.run()
	h.until("a", removed.Operation, serviceforge.Succeeded)
	_, err = h.Unbind(t.Context(), unbindOrder("accepted"))
	code(t, err, serviceforge.Gone)
	if due, err := h.store.Due(t.Context(), "a"); err != nil || len(due) > 0 {
		t.Errorf("still due: %v %v", due, err)
	}
}

// An unbind takes over whatever state a binding is in.
func TestUnbindTakesOverABind(t *testing.T) {
	t.Parallel()
	h, server := guardedHouse(t, "")
	_, err := h.Bind(t.Context(), bindOrder("b"))
	must(t, err)
	b, err := h.store.Binding(t.Context(), "a", "b")
	must(t, err)
	first, err := h.Unbind(t.Context(), unbindOrder("b"))
	must(t, err)
	again, err := h.Unbind(t.Context(), unbindOrder("b"))
	must(t, err)
	if first.Operation == "" || again != first {
		t.Errorf("%+v, then %+v", first, again)
	}
	_, err = h.Bind(t.Context(), bindOrder("b"))
	code(t, err, serviceforge.Busy)
	h.run()
	h.untilBinding("b", serviceforge.Succeeded)
	if may(t, server, &b) {
		t.Error("the user was made")
	}
	_, err = h.Bind(t.Context(), bindOrder("b")) // the id is free again
	must(t, err)
	if next := h.bound("b"); next.User == b.User {
		t.Error("the same user, who is on the list of revocations")
	}
}

// What the catalog says of a plan holds for its instances (OSB checklist 54).
func TestAPlanThatIsNotBindable(t *testing.T) {
	t.Parallel()
	unbound := maps.Clone(plain)
	unbound["service.yml"] = &fstest.MapFile{Data: []byte(strings.Replace(string(plain["service.yml"].Data), "{id: plan, ", "{id: plan, bindable: false, ", 1))}
	h := newHouseOf(t, unbound)
	h.run()
	h.until("a", h.create("a").Operation, serviceforge.Succeeded)
	_, err := h.Bind(t.Context(), bindings.BindRequest{Caller: cc, InstanceID: "a", BindingID: "b", ServiceID: "service", PlanID: "plan", AcceptsIncomplete: true})
	code(t, err, serviceforge.Invalid)
	if _, err := h.Binding(t.Context(), cc, "a", "b"); serviceforge.CodeOf(err) != serviceforge.NotFound {
		t.Errorf("something is left of it: %v", err)
	}
}
