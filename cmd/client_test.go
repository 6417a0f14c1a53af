package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/spf13/cobra"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/admin"
	"github.com/serviceforge/serviceforge/spec/osb/scene"
)

// terminal is a CLI in front of a broker's admin face.
type terminal struct {
	*scene.Scene
	t      *testing.T
	server *httptest.Server
	token  serviceforge.Secret // of an admin
	env    map[string]string
	stdin  string
}

func newTerminal(t *testing.T) *terminal {
	t.Helper()
	c := &terminal{Scene: scene.New(t), t: t}
	c.token = c.Token(t, serviceforge.Admin)
	c.env = map[string]string{tokenVariable: c.token.Reveal()}
	c.server = httptest.NewServer(admin.New(admin.Options{Engine: c.Engine, Store: c.Store, Catalog: c.Catalog}))
	t.Cleanup(c.server.Close)
	c.env[urlVariable] = c.server.URL
	return c
}

// buffer is a writer that may be read while it is written.
type buffer struct {
	mu  sync.Mutex
	out bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.out.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.out.String()
}

// run runs a command line and returns what it printed.
func (c *terminal) run(ctx context.Context, args ...string) (stdout, stderr string, err error) {
	c.t.Helper()
	root := &cobra.Command{Use: "serviceforge", SilenceErrors: true}
	addClientCommands(root, &clientEnv{
		getenv:       func(name string) string { return c.env[name] },
		defaultState: func() string { return "/default/state" },
		stdin:        strings.NewReader(c.stdin),
		readEndpoint: func(state string) (string, serviceforge.Secret, error) {
			if state != "/state/of/dev" {
				return "", serviceforge.Secret{}, errors.New("nothing there")
			}
			return c.server.URL, c.token, nil
		},
	})
	sayUsage(root)
	var out, side buffer
	root.SetOut(&out)
	root.SetErr(&side)
	root.SetArgs(args)
	err = root.ExecuteContext(ctx)
	return out.String(), side.String(), err
}

// ok is run for what must succeed.
func (c *terminal) ok(args ...string) (stdout, stderr string) {
	c.t.Helper()
	stdout, stderr, err := c.run(c.t.Context(), args...)
	if err != nil {
		c.t.Fatalf("%v: %v\n%s", args, err, stderr)
	}
	return stdout, stderr
}

// fails is run for what must not; the error must name the reason and the fix.
func (c *terminal) fails(says string, args ...string) {
	c.t.Helper()
	_, _, err := c.run(c.t.Context(), args...)
	if err == nil || !strings.Contains(err.Error(), says) {
		c.t.Errorf("%v: %v, want %q", args, err, says)
	}
}

// eventually waits until an instance has a record.
func (c *terminal) eventually(id string) {
	c.t.Helper()
	for c.t.Context().Err() == nil {
		if _, err := c.Store.Instance(c.t.Context(), id); err == nil {
			return
		}
	}
}

func TestCatalogCommand(t *testing.T) {
	c := newTerminal(t)
	out, _ := c.ok("catalog")
	for _, word := range []string{"etcd-dedicated", "1-server", "3-servers", "5-servers"} {
		if !strings.Contains(out, word) {
			t.Errorf("no %s in\n%s", word, out)
		}
	}
	if strings.Contains(out, "\x1b") {
		t.Error("colours without a terminal")
	}
	lines := strings.Split(out, "\n")
	if at := strings.Index(lines[0], "plan"); at < 0 || !strings.HasPrefix(lines[2][at:], "1-server") {
		t.Errorf("not aligned:\n%s", out)
	}
	var offerings []admin.Offering
	if out, _ = c.ok("catalog", "--json"); json.Unmarshal([]byte(out), &offerings) != nil || len(offerings) != 2 {
		t.Errorf("JSON: %s", out)
	}
}

func TestCreateServiceWaits(t *testing.T) {
	c := newTerminal(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.eventually("my-etcd")
		c.Deploy(t, "my-etcd")
		c.Succeed(t, "my-etcd")
	}()
	out, side := c.ok("create-service", "etcd-dedicated", "3-servers", "my-etcd", "-c", `{"prefix": "/x"}`)
	<-done
	if !strings.Contains(out, "my-etcd runs: etcd-dedicated 3-servers") || !strings.Contains(side, "succeeded after") {
		t.Errorf("out %q, side %q", out, side)
	}
	i, err := c.Store.Instance(t.Context(), "my-etcd")
	if err != nil || i.PlanID != scene.ThreeServers || i.Parameters.Reveal() != `{"prefix":"/x"}` || i.Platform != "cc" {
		t.Errorf("%+v %q %v", i, i.Parameters.Reveal(), err)
	}
	out, _ = c.ok("create-service", "etcd-dedicated", "3-servers", "my-etcd", "-c", `{"prefix": "/x"}`, "--json")
	var instance admin.Instance
	if json.Unmarshal([]byte(out), &instance) != nil || instance.State != serviceforge.Running {
		t.Errorf("JSON: %s", out)
	}
	c.fails("exists with other attributes", "create-service", "etcd-dedicated", "1-server", "my-etcd")
}

func TestCreateServiceThatFails(t *testing.T) {
	c := newTerminal(t)
	go func() { c.eventually("a"); c.Fail(t, "a", "The infrastructure has no room", "cause") }()
	_, side, err := c.run(t.Context(), "create-service", "etcd-dedicated", "1-server", "a")
	if err == nil || !strings.Contains(err.Error(), "The infrastructure has no room") || !strings.Contains(side, "failed after") {
		t.Errorf("%v, side %q", err, side)
	}
}

func TestWaitingCanEnd(t *testing.T) {
	c := newTerminal(t)
	c.fails("not done after 1ms; the provision goes on", "create-service", "etcd-dedicated", "1-server", "a", "--timeout", "1ms")
	ctx, cancel := context.WithCancel(t.Context())
	go func() { c.eventually("b"); cancel() }()
	if _, _, err := c.run(ctx, "create-service", "etcd-dedicated", "1-server", "b"); err == nil {
		t.Error("an interrupted wait is no success")
	}
	_, side := c.ok("create-service", "etcd-dedicated", "1-server", "c", "--no-wait")
	if !strings.Contains(side, "serviceforge service c") {
		t.Errorf("side %q", side)
	}
	out, _ := c.ok("create-service", "etcd-dedicated", "1-server", "c", "--no-wait", "--json")
	var accepted admin.Accepted
	if json.Unmarshal([]byte(out), &accepted) != nil || accepted.Operation == "" || accepted.Done {
		t.Errorf("JSON: %s", out)
	}
}

func TestCreateServiceRefuses(t *testing.T) {
	c := newTerminal(t)
	file := filepath.Join(t.TempDir(), "p.json")
	if err := os.WriteFile(file, []byte("[]"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.fails(`there is no service "nope"; there is etcd-dedicated`, "create-service", "nope", "1-server", "a")
	c.fails(`has no plan "9-servers"; it has 1-server, 3-servers, 5-servers`, "create-service", "etcd-dedicated", "9-servers", "a")
	c.fails("is not a JSON object", "create-service", "etcd-dedicated", "1-server", "a", "-c", "{")
	c.fails("is not a JSON object", "create-service", "etcd-dedicated", "1-server", "a", "-c", "@"+file)
	c.fails("no such file", "create-service", "etcd-dedicated", "1-server", "a", "-c", "@"+file+".no")
	c.fails("nope", "create-service", "etcd-dedicated", "1-server", "a", "-c", `{"nope": 1}`)
	c.fails("create-service takes SERVICE PLAN NAME", "create-service", "etcd-dedicated", "1-server")
	if n := len(c.Store.Summaries()); n != 0 {
		t.Errorf("%d instances were made", n)
	}
}

func TestServicesAndService(t *testing.T) {
	c := newTerminal(t)
	if out, _ := c.ok("services"); !strings.Contains(out, "No service instances") {
		t.Errorf("%q", out)
	}
	c.ok("create-service", "etcd-dedicated", "1-server", "short", "--no-wait")
	c.ok("create-service", "etcd-dedicated", "3-servers", "a-much-longer-name", "--no-wait", "--guid", "guid-1")
	c.Succeed(t, "short")
	out, _ := c.ok("services")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	at := strings.Index(lines[0], "state")
	if len(lines) != 3 || at < 0 || !strings.HasPrefix(lines[1][at:], "initialized") || !strings.HasPrefix(lines[2][at:], "running") {
		t.Errorf("not aligned:\n%s", out)
	}
	out, _ = c.ok("service", "short")
	for _, want := range []string{"running", "etcd-short", "127.1.2.3, 127.1.2.4", "provision succeeded"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if out, _ = c.ok("service", "guid-1"); !strings.Contains(out, "progress:") {
		t.Errorf("no progress:\n%s", out)
	}
	c.fails("`serviceforge services` lists what there is", "service", "nope")
	if out, _ = c.ok("services", "--json"); !json.Valid([]byte(out)) {
		t.Errorf("JSON: %s", out)
	}
}

func TestBindAndUnbindCommands(t *testing.T) {
	c := newTerminal(t)
	c.ok("create-service", "etcd-dedicated", "1-server", "a", "--no-wait")
	c.fails("not ready for binding; state initialized", "bind", "a", "b")
	c.Succeed(t, "a")
	first, _ := c.ok("bind", "a", "b")
	var credentials map[string]any
	if json.Unmarshal([]byte(first), &credentials) != nil || credentials["host"] != "127.1.2.3" {
		t.Errorf("credentials: %s", first)
	}
	again, side := c.ok("bind", "a", "b")
	if again != first || !strings.Contains(side, "existed already") {
		t.Errorf("again: %s %s", again, side)
	}
	var binding admin.Binding
	if out, _ := c.ok("bind", "a", "b", "--json"); json.Unmarshal([]byte(out), &binding) != nil || binding.ID != "b" {
		t.Errorf("JSON: %s", out)
	}
	if out, _ := c.ok("unbind", "a", "b"); !strings.Contains(out, "b is revoked") {
		t.Errorf("%q", out)
	}
	c.fails("there is no service binding", "unbind", "a", "b")
}

func TestDeleteServiceCommand(t *testing.T) {
	c := newTerminal(t)
	c.ok("create-service", "etcd-dedicated", "1-server", "a", "--no-wait")
	c.stdin = "n\n"
	c.fails("nothing was done", "delete-service", "a")
	c.stdin = ""
	c.fails("nothing was done", "delete-service", "a")
	if i, err := c.Store.Instance(t.Context(), "a"); err != nil || i.State == serviceforge.Destroying {
		t.Fatalf("deleted without consent: %+v %v", i, err)
	}
	c.stdin = "yes\n"
	_, side := c.ok("delete-service", "a", "--no-wait")
	if !strings.Contains(side, "Delete a with all its data and 0 bindings?") {
		t.Errorf("side %q", side)
	}
	c.Bury(t, "a")
	c.fails("there is no service instance", "delete-service", "a", "-f")

	c.ok("create-service", "etcd-dedicated", "1-server", "b", "--no-wait")
	c.ok("delete-service", "b", "-f", "--no-wait")
	done := make(chan struct{})
	go func() { defer close(done); c.Bury(t, "b") }()
	out, side, err := c.run(t.Context(), "delete-service", "b", "-f")
	<-done
	gone := err != nil && strings.Contains(err.Error(), "there is no service instance") // Bury was faster
	if !gone && (err != nil || !strings.Contains(out, "b is deleted")) {
		t.Errorf("%v %q %q", err, out, side)
	}
}

func TestConnection(t *testing.T) {
	c := newTerminal(t)
	c.fails("refuses the token", "catalog", "--token", "wrong")
	c.env[tokenVariable] = ""
	c.fails("there is no token for "+c.server.URL, "catalog")
	c.ok("catalog", "--token", c.token.Reveal())
	c.env[urlVariable] = ""
	c.fails("no broker was started in /default/state: start one with `serviceforge dev`", "catalog")
	c.ok("catalog", "--state", "/state/of/dev")
	c.env[stateVariable] = "/state/of/dev"
	c.ok("catalog")
	c.env[tokenVariable], c.env[urlVariable] = c.token.Reveal(), c.server.URL
	c.server.Close()
	c.fails("no broker answers at "+c.server.URL+": start one with `serviceforge dev`", "catalog")
}

func TestHelpHasExamples(t *testing.T) {
	c := newTerminal(t)
	for _, name := range []string{"catalog", "create-service", "services", "service", "bind", "unbind", "delete-service"} {
		out, _ := c.ok(name, "--help")
		if !strings.Contains(out, "Examples:") || !strings.Contains(out, "serviceforge "+name) {
			t.Errorf("%s: %s", name, out)
		}
	}
}

func TestNothingSteersTheTerminal(t *testing.T) {
	var out bytes.Buffer
	table := newTable("name", "state")
	table.add(text("evil\x1b[2J\n"), text("x"))
	if err := table.write(&out, false); err != nil || strings.ContainsAny(out.String(), "\x1b") || strings.Count(out.String(), "\n") != 2 {
		t.Errorf("%q %v", out.String(), err)
	}
}
