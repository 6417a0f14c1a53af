// Package cli_test holds the specs of the command line as people and scripts
// meet it: the built program, another process than the broker it speaks to.
package cli_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge/spec"
)

// result is what a command leaves.
type result struct {
	line      string
	out, said string // standard output, standard error
	code      int
}

// terminal types commands for one dev.
type terminal struct {
	t   *testing.T
	dev *spec.Dev
}

func (c terminal) run(args ...string) result {
	c.t.Helper()
	out, errs, code := c.dev.CLI(args...)
	r := result{strings.Join(args, " "), out, errs, code}
	r.plain(c.t)
	return r
}

// plain wants no escape codes: nothing here is a terminal.
func (r result) plain(t *testing.T) {
	t.Helper()
	if strings.ContainsAny(r.out+r.said, "\x1b\r") {
		t.Errorf("%s prints codes for terminals to something else: %q %q", r.line, r.out, r.said)
	}
}

// succeeds wants exit code 0 and, on standard output, all of the words.
func (r result) succeeds(t *testing.T, words ...string) result {
	t.Helper()
	if r.code != 0 {
		t.Fatalf("%s: exit code %d\n%s%s", r.line, r.code, r.out, r.said)
	}
	for _, word := range words {
		if !strings.Contains(r.out, word) {
			t.Errorf("%s does not say %q:\n%s", r.line, word, r.out)
		}
	}
	return r
}

// refused wants exit code 1, nothing on standard output and one line with all
// of the words on standard error.
func (r result) refused(t *testing.T, words ...string) {
	t.Helper()
	if r.code != 1 || r.out != "" || strings.Count(r.said, "\n") != 1 || !strings.HasPrefix(r.said, "serviceforge: ") {
		t.Errorf("%s: exit code %d, want 1 and one line on standard error:\n%s%s", r.line, r.code, r.out, r.said)
	}
	for _, word := range words {
		if !strings.Contains(r.said, word) {
			t.Errorf("%s does not say %q: %s", r.line, word, r.said)
		}
	}
}

// object reads standard output as a JSON object that has exactly the keys, in
// any order; one that ends with ? may be missing.
func (r result) object(t *testing.T, keys string) map[string]any {
	t.Helper()
	var got map[string]any
	if err := json.Unmarshal([]byte(r.out), &got); err != nil {
		t.Fatalf("%s: %v\n%s", r.line, err, r.out)
	}
	has(t, r.line, got, keys)
	return got
}

func has(t *testing.T, where string, got map[string]any, keys string) {
	t.Helper()
	left := maps.Clone(got)
	for key := range strings.FieldsSeq(keys) {
		key, optional := strings.CutSuffix(key, "?")
		if _, found := left[key]; !found && !optional {
			t.Errorf("%s has no %q: %v", where, key, got)
		}
		delete(left, key)
	}
	if len(left) > 0 {
		t.Errorf("%s has keys that nobody documented: %v", where, slices.Sorted(maps.Keys(left)))
	}
}

// The keys of --json: admin/wire.go.
const (
	offeringKeys = "id name description bindable plans release?"
	planKeys     = "id name description"
	instanceKeys = "id service_id plan_id service plan platform state operation operation_state message? deployment pool release? " +
		"bosh_task_id? facts? created_at updated_at? bindings? stale_bindings?"
	acceptedKeys = "operation done"
	bindingKeys  = "id instance_id created_at existed? credentials"
)

func TestTheCommandLine(t *testing.T) {
	dev := spec.StartDev(t, spec.Self(t), "127.239.0.0/24")
	for _, s := range []struct {
		name string
		test func(*testing.T, terminal)
	}{
		{"catalog", catalog},
		{"nothing there yet", nothing},
		{"an instance's life", life},
		{"without waiting, for programs", programs},
		{"what is refused", refusals},
	} {
		t.Run(s.name, func(t *testing.T) { s.test(t, terminal{t, dev}) })
	}
	if code := dev.Stop(); code != 0 {
		t.Errorf("dev ended with %d\n%s", code, dev.Output())
	}
	terminal{t, dev}.run("services").refused(t, "no broker answers at "+dev.URL, "`serviceforge dev`")
}

func catalog(t *testing.T, c terminal) {
	c.run("catalog").succeeds(t, "service", "plan", "description", "etcd-dedicated", "1-server", "3-servers")
	var offerings []map[string]any
	r := c.run("catalog", "--json").succeeds(t)
	if err := json.Unmarshal([]byte(r.out), &offerings); err != nil || len(offerings) != 1 {
		t.Fatalf("%v\n%s", err, r.out)
	}
	has(t, r.line, offerings[0], offeringKeys)
	plans, _ := offerings[0]["plans"].([]any)
	for _, plan := range plans {
		has(t, r.line, plan.(map[string]any), planKeys)
	}
	if offerings[0]["id"] != spec.Service || len(plans) != 3 {
		t.Errorf("offerings %v", offerings)
	}
}

func nothing(t *testing.T, c terminal) {
	c.run("services").succeeds(t, "No service instances", "serviceforge catalog")
	if got := strings.TrimSpace(c.run("services", "--json").succeeds(t).out); got != "[]" {
		t.Errorf("services --json without any: %s", got)
	}
}

var progress = regexp.MustCompile(`(?m)^ *\d+ %  \S`)

func life(t *testing.T, c terminal) {
	made := c.run("create-service", "etcd-dedicated", "1-server", "one").succeeds(t, "one runs", "serviceforge bind one")
	if !progress.MatchString(made.said) || !strings.Contains(made.said, "succeeded after ") || progress.MatchString(made.out) {
		t.Errorf("no progress on standard error, or some on standard output:\n%s\n%s", made.said, made.out)
	}
	c.run("create-service", "etcd-dedicated", "1-server", "one").succeeds(t, "one runs") // the same again

	table := strings.Split(c.run("services").succeeds(t).out, "\n")
	header, row := strings.Fields(table[0]), strings.Fields(table[1])
	if at := slices.Index(header, "state"); at < 0 || len(row) <= at || row[at] != "running" || row[0] != "one" {
		t.Errorf("services prints\n%s", strings.Join(table, "\n"))
	}
	c.run("service", "one").succeeds(t, "etcd-dedicated", "1-server", "running", "provision succeeded", "etcd-one", "local")

	bound := c.run("bind", "one", "app", "--json").succeeds(t).object(t, bindingKeys)
	credentials, _ := bound["credentials"].(map[string]any)
	if bound["id"] != "app" || bound["instance_id"] != "one" || credentials["username"] == nil || credentials["password"] == nil {
		t.Errorf("bind --json: %v", bound)
	}
	again := c.run("bind", "one", "app").succeeds(t)
	var same map[string]any
	if err := json.Unmarshal([]byte(again.out), &same); err != nil || same["password"] != credentials["password"] {
		t.Errorf("the same bind again gives other credentials: %v\n%s", err, again.out)
	}
	if !strings.Contains(again.said, "existed already") {
		t.Errorf("bind again does not say so: %q", again.said)
	}
	c.run("service", "one").succeeds(t, "app")
	c.run("unbind", "one", "app").succeeds(t)
	if out := c.run("service", "one").succeeds(t).out; strings.Contains(out, "app\n") {
		t.Errorf("the binding is still there:\n%s", out)
	}

	gone := c.run("delete-service", "-f", "one").succeeds(t, "one is deleted")
	if !strings.Contains(gone.said, "deleted after ") {
		t.Errorf("delete-service tells nothing on standard error: %q", gone.said)
	}
	if left := c.dev.Etcds(); len(left) > 0 {
		t.Errorf("processes %v are left", left)
	}
}

func programs(t *testing.T, c terminal) {
	started := c.run("create-service", "etcd-dedicated", "1-server", "two", "--no-wait").succeeds(t)
	if !strings.Contains(started.out+started.said, "serviceforge service two") {
		t.Errorf("--no-wait does not say how to go on:\n%s%s", started.out, started.said)
	}
	accepted := c.run("create-service", "etcd-dedicated", "1-server", "three", "--no-wait", "--json").succeeds(t).object(t, acceptedKeys)
	if accepted["operation"] == "" || accepted["done"] != false {
		t.Errorf("accepted: %v", accepted)
	}
	made := c.run("create-service", "etcd-dedicated", "1-server", "three", "--json").succeeds(t).object(t, instanceKeys)
	if made["id"] != "three" || made["state"] != "running" || made["operation_state"] != "succeeded" {
		t.Errorf("create-service --json: %v", made)
	}
	spec.Eventually(t, "two runs", func() error {
		if got := c.run("service", "two", "--json").succeeds(t).object(t, instanceKeys+" cause?"); got["state"] != "running" {
			return fmt.Errorf("it is %v", got["state"])
		}
		return nil
	})
	var all []map[string]any
	r := c.run("services", "--json").succeeds(t)
	if err := json.Unmarshal([]byte(r.out), &all); err != nil || len(all) != 2 {
		t.Fatalf("%v\n%s", err, r.out)
	}
	for _, instance := range all {
		has(t, r.line, instance, instanceKeys)
	}
	if got := c.run("delete-service", "-f", "three", "--json").succeeds(t).object(t, acceptedKeys); got["done"] != true {
		t.Errorf("delete-service --json: %v", got)
	}
	c.run("delete-service", "-f", "two", "--no-wait", "--json").succeeds(t).object(t, acceptedKeys)
	spec.Eventually(t, "two is gone", func() error {
		if c.run("service", "two").code == 0 {
			return errors.New("it is there")
		}
		return nil
	})
}

func refusals(t *testing.T, c terminal) {
	c.run("create-service", "nope", "1-server", "x").refused(t, `no service "nope"`, "etcd-dedicated")
	c.run("create-service", "etcd-dedicated", "nope", "x").refused(t, `no plan "nope"`, "1-server", "3-servers")
	c.run("create-service", "etcd-dedicated", "1-server", "x", "-c", "{").refused(t, "-c", "JSON object")
	c.run("create-service", "etcd-dedicated", "1-server", "x", "-c", "@"+filepath.Join(t.TempDir(), "none")).refused(t, "none")
	c.run("create-service", "etcd-dedicated").refused(t)
	for _, args := range [][]string{{"service", "nope"}, {"bind", "nope", "app"}, {"delete-service", "-f", "nope"}} {
		c.run(args...).refused(t, "nope", "`serviceforge services`")
	}
	c.run("unbind", "nope", "app").refused(t, `no service binding "app"`, "`serviceforge services`")
	c.run("services", "--token", "1-wrong", "--url", c.dev.URL).refused(t, "refuses the token", "serviceforge env")
	none := filepath.Join(t.TempDir(), "none.tgz")
	c.run("install", none).refused(t, "serviceforge: "+none+" is not there\n")
	c.run("nope").refused(t, `there is no command "nope"`)
	c.run("services", "--nope").refused(t, "--nope")

	self := spec.Self(t)
	outside := func(args ...string) result {
		out, errs, code := self.Run(t, args...)
		r := result{strings.Join(args, " "), out, errs, code}
		r.plain(t)
		return r
	}
	outside("services", "--state", filepath.Join(t.TempDir(), "none")).refused(t, "no broker was started in", "`serviceforge dev`")
	outside("services", "--url", "http://127.0.0.1:1", "--token", "1-x").refused(t, "no broker answers at", "`serviceforge dev`")
	outside("services", "--url", c.dev.URL).refused(t, "SERVICEFORGE_TOKEN")
	outside("env", "--state", filepath.Join(t.TempDir(), "none")).refused(t, "serviceforge dev")

	c.run("create-service", "etcd-dedicated", "1-server", "four").succeeds(t)
	c.run("create-service", "etcd-dedicated", "3-servers", "four").refused(t, "four")
	c.run("delete-service", "four").refused(t, "add -f")
	c.run("unbind", "four", "nope").refused(t, "nope")
	c.run("delete-service", "-f", "four").succeeds(t)
}
