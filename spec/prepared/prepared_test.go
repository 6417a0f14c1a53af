// Package prepared_test is the spec of users that are made with a deployment,
// on a pool whose VMs the broker does not reach: a real server that takes them.
package prepared_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge/spec"
)

// island is a pool on the local director that the broker is told not to reach.
const island = `pool:
  name: island
  azs: [z1]
  network: default
  vm_types: {small: small, medium: medium, large: large}
  disk_types: {small: small, medium: medium, large: large}
  stemcells: {ubuntu-jammy: "1.0"}
  reachable: false
`

// release is the generated service, whose server takes a list of users.
func release(t *testing.T, a spec.Account) string {
	t.Helper()
	dir := spec.Generated(t, a, "kv")
	spec.Edit(t, filepath.Join(dir, "bosh", "src", "kv", "server"),
		`/^(\w+)=(.*)$/`, `/^([\w-]+)=(.*)$/`,
		`if ($password // "") ne $settings{password};`, `if ($password // "") eq "" || $password ne ($settings{"user-$user"} // "");`)
	spec.Edit(t, filepath.Join(dir, "bosh", "jobs", "kv", "templates", "config.erb"),
		"password=<%= p('password') %>\n", "<% p('users').each do |u| %>user-<%= u['username'] %>=<%= u['password'] %>\n<% end %>")
	spec.Edit(t, filepath.Join(dir, "bosh", "jobs", "kv", "spec"), "  password:\n    description: what clients log in with", "  users:\n    description: who may log in\n    default: []")
	spec.Edit(t, filepath.Join(dir, "templates", "deployment.yml"), "password: (( sf.secrets.password ))", "users: (( sf.users ))")
	spec.Edit(t, filepath.Join(dir, "service.yml"),
		"  secrets:\n    password: {type: password, length: 32}\n", "  users: {prepared: 2}\n",
		"username: kv", "username: (( sf.user.name ))", "password: (( sf.secrets.password ))", "password: (( sf.user.password ))",
		`"http://kv:" sf.secrets.password "@"`, `"http://" sf.user.name ":" sf.user.password "@"`)
	return dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// login is what the server, which runs, answers the user of these credentials.
func login(t *testing.T, credentials string) int {
	t.Helper()
	status, err := tryLogin(t, credentials)
	must(t, err)
	return status
}

// tryLogin is login to a server that may just be restarted.
func tryLogin(t *testing.T, credentials string) (status int, err error) {
	t.Helper()
	var c struct{ URI string }
	must(t, json.Unmarshal([]byte(credentials), &c))
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.URI, nil)
	must(t, err)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	return answer.StatusCode, answer.Body.Close()
}

// unbind unbinds as a platform does, and polls until it has succeeded.
func unbind(t *testing.T, dev *spec.Dev, id string) {
	t.Helper()
	var catalog struct {
		Services []struct {
			ID, Name string
			Plans    []struct{ ID, Name string }
		}
	}
	dev.Call("GET", "/v2/catalog", nil, &catalog)
	ids := ""
	for _, s := range catalog.Services {
		if s.Name == "kv-dedicated" {
			ids = "?service_id=" + s.ID + "&plan_id=" + s.Plans[0].ID
		}
	}
	place := "/v2/service_instances/kv/service_bindings/" + id
	if status := dev.Call("DELETE", place+ids+"&accepts_incomplete=true", nil, nil); status != http.StatusAccepted {
		t.Fatalf("unbind: %d", status)
	}
	spec.Eventually(t, id+" is unbound", func() error {
		var last struct{ State, Description string }
		if status := dev.Call("GET", place+"/last_operation"+ids, nil, &last); last.State != "succeeded" && status != http.StatusGone {
			return fmt.Errorf("%d: %s: %s", status, last.State, last.Description)
		}
		return nil
	})
}

// Bindings of an instance that the broker does not reach have users of their
// own; one that is unbound is refused by the server when unbind has ended, and
// another one is there in its place.
func TestPreparedUsersOutOfReach(t *testing.T) {
	account := spec.Self(t)
	dir := release(t, account)
	pool := filepath.Join(filepath.Dir(dir), "island.yml")
	must(t, os.WriteFile(pool, []byte(island), 0o644))
	if out, errs, code := account.Run(t, "validate", dir); code != 0 {
		t.Fatal(out, errs)
	}
	dev := spec.StartDev(t, account, "127.224.0.0/24", "--install", dir, "--pools", pool)
	defer dev.Stop()
	run := func(want int, args ...string) (out, errs string) {
		t.Helper()
		out, errs, code := dev.CLI(args...)
		if code != want {
			t.Fatalf("%s: exit code %d\n%s%s", strings.Join(args, " "), code, out, errs)
		}
		return out, errs
	}
	run(0, "create-service", "kv-dedicated", "small", "kv")
	first, _ := run(0, "bind", "kv", "first")
	second, _ := run(0, "bind", "kv", "second")
	if first == second || login(t, first) != http.StatusOK || login(t, second) != http.StatusOK {
		t.Errorf("the server takes the users: %d %d", login(t, first), login(t, second))
	}
	if _, refused := run(1, "bind", "kv", "third"); !strings.Contains(refused, "all 2 users of service instance") {
		t.Errorf("told: %s", refused)
	}
	unbind(t, dev, "first")
	if gone, stays := login(t, first), login(t, second); gone != http.StatusUnauthorized || stays != http.StatusOK {
		t.Errorf("after unbind: %d for the one that is gone, %d for the other", gone, stays)
	}
	third, _ := run(0, "bind", "kv", "third")
	if login(t, third) != http.StatusOK || third == first {
		t.Errorf("the server does not take the user that came in its place: %d", login(t, third))
	}
	if _, refused := run(1, "create-service", "etcd-dedicated", "1-server", "etcd"); !strings.Contains(refused, "none of its pools is reachable from the broker") {
		t.Errorf("told: %s", refused)
	}
	if said, _ := run(0, "unbind", "kv", "second"); !strings.Contains(said, "second is unbound; its user goes") { // the CLI does not wait
		t.Errorf("told: %s", said)
	}
	spec.Eventually(t, "the server refuses the user that the update replaces", func() error {
		if status, err := tryLogin(t, second); err != nil || status != http.StatusUnauthorized {
			return fmt.Errorf("login: %d, %v", status, err)
		}
		return nil
	})
	run(0, "delete-service", "-f", "kv")
}
