// Package errands_test is the spec of errands: a service release whose errands
// succeed and fail, installed into a dev with its real director and processes.
package errands_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge/spec"
)

// The errand greets as the service does, and fails where that is a failure.
var greet = map[string]string{
	"monit": "",
	"spec": `---
name: greet
templates: {run.erb: bin/run}
packages: []
properties: {greeting: {description: what the server says}}
`,
	"templates/run.erb": `#!/bin/sh
echo "greeting: <%= p('greeting') %>"
case "<%= p('greeting') %>" in
fail*) echo "nobody wants to hear that" >&2; exit 3;;
esac
`,
}

// The other one comes before a delete, and never succeeds.
var leave = map[string]string{
	"monit":             "",
	"spec":              "---\nname: leave\ntemplates: {run.erb: bin/run}\npackages: []\nproperties: {}\n",
	"templates/run.erb": "#!/bin/sh\necho 'it does not want to go' >&2\nexit 1\n",
}

// release is a generated service of two servers with both errands.
func release(t *testing.T, a spec.Account) string {
	t.Helper()
	dir := spec.Generated(t, a, "kv")
	for job, files := range map[string]map[string]string{"greet": greet, "leave": leave} {
		for name, text := range files {
			path := filepath.Join(dir, "bosh", "jobs", job, name)
			must(t, os.MkdirAll(filepath.Dir(path), 0o755))
			must(t, os.WriteFile(path, []byte(text), 0o644))
		}
	}
	spec.Edit(t, filepath.Join(dir, "templates", "deployment.yml"), "instances: 1", "instances: 2",
		"  jobs:\n", "  jobs:\n  - {name: greet, release: kv-service, properties: {greeting: (( sf.params.greeting ))}}\n  - {name: leave, release: kv-service}\n")
	spec.Edit(t, filepath.Join(dir, "service.yml"), "\n  plans:\n", `
  check: {driver: tcp, timeout: 60s}
  endpoints: [{host: (( sf.facts.host )), ports: ["4000"]}]
  errands:
    post_deploy: [{name: greet, run_on: all}]
    pre_delete: [{name: leave, run_on: [kv/1], retries: 1}]

  plans:
`, "    name: small\n", "    name: small\n    quota: {broker: 2}\n")
	return dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// What errands say decides how a create and an update end, is told to users and
// operators, and never holds up a delete. What stands counts against the quota
// that the plan itself has.
func TestErrandsOfAService(t *testing.T) {
	account := spec.Self(t)
	dir := release(t, account)
	if out, errs, code := account.Run(t, "validate", dir); code != 0 {
		t.Fatal(out, errs)
	}
	dev := spec.StartDev(t, account, "127.223.0.0/24", "--install", dir)
	defer dev.Stop()
	run := func(want int, args ...string) string {
		t.Helper()
		out, errs, code := dev.CLI(args...)
		if code != want {
			t.Fatalf("%s: exit code %d\n%s%s", strings.Join(args, " "), code, out, errs)
		}
		return out + errs
	}
	says := func(text string, all ...string) {
		t.Helper()
		for _, want := range all {
			if !strings.Contains(text, want) {
				t.Errorf("it does not say %q:\n%s", want, text)
			}
		}
	}

	run(0, "create-service", "kv-dedicated", "small", "good")
	says(run(0, "history", "good"), "errand greet succeeded")

	says(run(1, "create-service", "kv-dedicated", "small", "bad", "-c", `{"greeting": "fail"}`), "The errand greet failed: exit code 3 on kv")
	says(run(0, "explain", "bad"), "failed_deployment", "nobody wants to hear that", "errand_failed")
	says(run(0, "orphans"), "No orphans")                                                                                                   // what stands is ours
	says(run(1, "create-service", "kv-dedicated", "small", "third"), "the limit of 2 instances for the plan kv-dedicated/small is used up") // the plan's own

	says(run(1, "update-service", "good", "-c", `{"greeting": "fail again"}`), "The errand greet failed")

	for _, name := range []string{"bad", "good"} {
		run(0, "delete-service", "-f", name)
		says(run(0, "history", name), "errand leave failed", "it does not want to go", "deprovision succeeded")
	}
	if left := spec.ProcessesOf(filepath.Join(dev.State, "vms")); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
}
