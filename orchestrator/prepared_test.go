package orchestrator_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator/bindings"
	"github.com/serviceforge/serviceforge/orchestrator/director"
)

// withPrepared is the plain service with n users made at deploy time.
func withPrepared(n int) fs.FS {
	service := strings.NewReplacer(
		"password: (( sf.secrets.password ))", "password: (( sf.user.password ))",
		"  plans:\n", fmt.Sprintf("  users: {prepared: %d}\n  plans:\n", n),
	).Replace(string(plain["service.yml"].Data))
	service = strings.ReplaceAll(service, "description: a plan,", "description: a plan, bindings: {rotatable: true},")
	deployment := strings.Replace(string(plain["templates/deployment.yml"].Data), "properties: {", "properties: {users: (( sf.users )), ", 1)
	return fstest.MapFS{
		"service.yml": {Data: []byte(service)}, "templates/deployment.yml": {Data: []byte(deployment)},
		"templates/default.yml": plain["templates/default.yml"], "templates/stub.yml": plain["templates/stub.yml"],
	}
}

// preparedHouse has one running instance, "a", with n prepared users.
func preparedHouse(t *testing.T, n int) *house {
	t.Helper()
	h := newHouseOf(t, withPrepared(n))
	stop := h.run()
	h.until("a", h.create("a").Operation, serviceforge.Succeeded)
	stop()
	return h
}

var usernames = regexp.MustCompile(`"username": "([^"]+)"`)

// standing lists the users that the deployment was last made with.
func (h *house) standing() (names []string) {
	h.director.mu.Lock()
	defer h.director.mu.Unlock()
	for _, m := range usernames.FindAllSubmatch(h.director.deployments["plain-a"].manifest, -1) {
		names = append(names, string(m[1]))
	}
	return names
}

// Bind hands prepared users out without asking anybody, each once; when they are
// all given out it says what to do. Unbind asks for the update that replaces
// the user, and ends with it.
func TestPreparedUsers(t *testing.T) {
	t.Parallel()
	h := preparedHouse(t, 2)
	h.run()
	asked := h.director.total()
	given := map[string]bool{}
	for _, id := range []string{"b", "c"} {
		bound, err := h.Bind(t.Context(), bindOrder(id))
		must(t, err)
		var credentials struct{ Username, Password string }
		must(t, json.Unmarshal([]byte(bound.Binding.Credentials.Reveal()), &credentials))
		if bound.Binding.State != serviceforge.BindingReady || !strings.Contains(string(h.director.lastPosted()), fmt.Sprintf("%q", credentials.Password)) {
			t.Errorf("binding %s is %s, its password is not the deployment's", id, bound.Binding.State)
		}
		given[credentials.Username] = true
	}
	if standing := h.standing(); len(given) != 2 || !given[standing[0]] || !given[standing[1]] || h.director.total() != asked {
		t.Errorf("given out %v of %v, and the director was asked %d times", given, standing, h.director.total()-asked)
	}
	_, err := h.Bind(t.Context(), bindOrder("d"))
	code(t, err, serviceforge.Exhausted)
	if !strings.Contains(err.Error(), "all 2 users") || !strings.Contains(err.Error(), "unbind something") {
		t.Errorf("told %v", err)
	}
	before, err := h.store.Binding(t.Context(), "a", "b")
	must(t, err)
	_, err = h.Unbind(t.Context(), unbindOrder("b"))
	must(t, err)
	h.untilBinding("b", serviceforge.Succeeded)
	if standing := h.standing(); len(standing) != 2 || slices.Contains(standing, before.User) {
		t.Errorf("%s is spent, but stands: %v", before.User, standing)
	}
	bound, err := h.Bind(t.Context(), bindOrder("d"))
	must(t, err)
	if bound.Binding.User == before.User || !slices.Contains(h.standing(), bound.Binding.User) {
		t.Errorf("given out: %s", bound.Binding.User)
	}
	i, err := h.Instance(t.Context(), cc, "a")
	must(t, err)
	if d := h.director.deployments["plain-a"]; d.posts != 2 || i.Operation.Kind != serviceforge.Update || i.State != serviceforge.Running {
		t.Errorf("%d deploys, %+v", d.posts, i.Operation)
	}
}

// Of bindings that are made at the same time each has a user of its own, and no
// more are made than there are users.
func TestPreparedUsersAreGivenOutOnce(t *testing.T) {
	t.Parallel()
	h := preparedHouse(t, 4)
	type answer struct {
		user string
		err  error
	}
	answers := make(chan answer)
	for n := range 8 {
		engine := h.Engine
		if n%2 == 1 {
			engine = h.replica()
		}
		go func() {
			bound, err := engine.Bind(t.Context(), bindOrder(fmt.Sprintf("b%d", n)))
			answers <- answer{bound.Binding.User, err}
		}()
	}
	given := map[string]bool{}
	for range 8 {
		switch a := <-answers; serviceforge.CodeOf(a.err) {
		case "":
			if given[a.user] {
				t.Errorf("%s is given out twice", a.user)
			}
			given[a.user] = true
		case serviceforge.Exhausted:
		default:
			t.Error(a.err)
		}
	}
	if len(given) != 4 {
		t.Errorf("%d users are given out, not 4", len(given))
	}
}

// Where the update that replaces a user fails the binding ends all the same; its
// user is never given out again, and the next update replaces it. Users that
// were made for the update that failed are not given out before they stand.
func TestAPreparedUserWhoseUpdateFails(t *testing.T) {
	t.Parallel()
	h := preparedHouse(t, 2)
	h.run()
	bound, err := h.Bind(t.Context(), bindOrder("b"))
	must(t, err)
	stood := h.standing()
	h.director.outcome = []string{director.TaskError}
	_, err = h.Unbind(t.Context(), unbindOrder("b"))
	must(t, err)
	h.untilBinding("b", serviceforge.Succeeded)
	i, err := h.Instance(t.Context(), cc, "a")
	must(t, err)
	if i.Operation.Kind != serviceforge.Update || i.Operation.State != serviceforge.Failed || i.State != serviceforge.Running {
		t.Errorf("after the failed update: %s %+v", i.State, i.Operation)
	}
	h.until("a", h.repair("a").Operation, serviceforge.Succeeded) // learns all anew
	other, err := h.Bind(t.Context(), bindOrder("c"))
	must(t, err)
	if other.Binding.User == bound.Binding.User || !slices.Contains(stood, other.Binding.User) {
		t.Errorf("given out: %s; %s is spent, and %v stood", other.Binding.User, bound.Binding.User, stood)
	}
	_, err = h.Bind(t.Context(), bindOrder("d"))
	code(t, err, serviceforge.Exhausted)
	h.until("a", h.change("a", parameters(`{"level": 7}`)).Operation, serviceforge.Succeeded)
	if standing := h.standing(); slices.Contains(standing, bound.Binding.User) || !slices.Contains(standing, other.Binding.User) || len(standing) != 2 {
		t.Errorf("after an update %v stand", standing)
	}
	_, err = h.Bind(t.Context(), bindOrder("d"))
	must(t, err)
}

// preparedVerbs are what happens to binding "b" while the engine dies.
func preparedVerbs() []bindingVerb {
	bind := func(h *house, id string) error {
		_, err := h.Bind(h.t.Context(), bindOrder(id))
		return err
	}
	return []bindingVerb{
		{name: "unbind", points: 10, there: 1,
			prepare: func(h *house) { must(h.t, errors.Join(bind(h, "b"), bind(h, "other"))) },
			begin: func(h *house) error {
				_, err := h.Unbind(h.t.Context(), unbindOrder("b"))
				return err
			}},
		{name: "unbind of one that waits", points: 10, there: 0, // the engine only has the list
			prepare: func(h *house) { must(h.t, bind(h, "b")) },
			begin: func(h *house) error {
				_, err := h.Unbind(h.t.Context(), bindings.UnbindRequest{Caller: cc, InstanceID: "a", BindingID: "b"})
				return err
			}},
	}
}

// The crash walk of prepared users: in the end the deployment has as many as it
// is to have, those of bindings among them, and none that is spent.
func TestEveryStepOfAPreparedUserMayBeTheLast(t *testing.T) {
	t.Parallel()
	for _, v := range preparedVerbs() {
		points := walkPrepared(t, v, never)
		if points < v.points {
			t.Errorf("%s: only %d points: the walk does not see the calls", v.name, points)
		}
		for cut := 1; cut <= points; cut++ {
			t.Run(fmt.Sprintf("%s cut at %d of %d", v.name, cut, points), func(t *testing.T) {
				t.Parallel()
				walkPrepared(t, v, cut)
			})
		}
	}
}

func walkPrepared(t *testing.T, v bindingVerb, cut int) (points int) {
	h := preparedHouse(t, 3)
	later := h.clock()
	v.prepare(h)
	spent, err := h.store.Binding(t.Context(), "a", "b")
	must(t, err)
	must(t, v.begin(h))
	later(time.Minute)
	alive := h.options.Store
	s, d := h.dieAt(cut)
	h.options.Store = s
	stop := h.run()
	settled := func() (bool, error) {
		due, err := h.store.Due(t.Context(), "a")
		must(t, err)
		bindings, err := h.store.Bindings(t.Context(), "a")
		must(t, err)
		if len(due) > 0 || len(bindings) != v.there {
			return false, fmt.Errorf("due %v, %d bindings", due, len(bindings))
		}
		return true, nil
	}
	eventually(t, func() (bool, error) {
		select {
		case <-d.killed:
			return true, nil
		default:
		}
		return settled()
	})
	stop()
	points = d.moments()
	h.options.Store = alive
	h.run()
	eventually(t, settled)
	standing := h.standing()
	bindings, err := h.store.Bindings(t.Context(), "a")
	must(t, err)
	if len(standing) != 3 || slices.Contains(standing, spent.User) {
		t.Errorf("%v stand; %s is spent", standing, spent.User)
	}
	for n := range bindings {
		if !slices.Contains(standing, bindings[n].User) {
			t.Errorf("the user %s of a binding does not stand: %v", bindings[n].User, standing)
		}
	}
	if posts := h.director.deployments["plain-a"].posts; posts != 2 {
		t.Errorf("%d deploys", posts)
	}
	return points
}
