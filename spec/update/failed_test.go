package update_test

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge/spec"
)

// fragile is a generated service whose server does not start with one greeting,
// and which is sold once in each plan.
func fragile(t *testing.T, a spec.Account) string {
	t.Helper()
	dir := spec.Generated(t, a, "kv")
	spec.Edit(t, filepath.Join(dir, "bosh", "jobs", "kv", "templates", "bpm.yml.erb"),
		"executable: /var/vcap/packages/kv/bin/server", "executable: <%= p('greeting') == 'broken' ? '/bin/false' : '/var/vcap/packages/kv/bin/server' %>")
	spec.Edit(t, filepath.Join(dir, "templates", "deployment.yml"), "canary_watch_time: 1000-30000", "canary_watch_time: 100-3000")
	spec.Edit(t, filepath.Join(dir, "service.yml"), "    name: small\n", "    name: small\n    quota: {broker: 1}\n", "    name: medium\n", "    name: medium\n    quota: {broker: 1}\n")
	return dir
}

// An update whose processes do not start has failed: plan, parameters and what
// is taken of the quotas are the old ones, and another update makes it well.
func TestAFailedUpdateLeavesWhatWas(t *testing.T) {
	account := spec.Self(t)
	dev := spec.StartDev(t, account, "127.227.0.0/24", "--install", fragile(t, account))
	run := func(want int, says string, args ...string) {
		t.Helper()
		out, errs, code := dev.CLI(args...)
		if code != want || !strings.Contains(out+errs, says) {
			t.Fatalf("%s: exit code %d, want %d and %q\n%s%s", strings.Join(args, " "), code, want, says, out, errs)
		}
	}
	fetched := func() (got struct {
		PlanID     string `json:"plan_id"`
		Parameters map[string]any
	}) {
		t.Helper()
		if status := dev.Call("GET", "/v2/service_instances/old", nil, &got); status != http.StatusOK {
			t.Fatalf("fetched: %d", status)
		}
		return got
	}
	body := map[string]any{"service_id": "", "plan_id": "", "organization_guid": "o", "space_guid": "s", "parameters": map[string]any{"greeting": "before"}}
	var catalog struct {
		Services []struct {
			ID, Name string
			Plans    []struct{ ID, Name string }
		}
	}
	dev.Call("GET", "/v2/catalog", nil, &catalog)
	for _, s := range catalog.Services {
		if s.Name == "kv-dedicated" {
			body["service_id"], body["plan_id"] = s.ID, s.Plans[0].ID
		}
	}
	var accepted struct{ Operation string }
	if status := dev.Call("PUT", "/v2/service_instances/old?accepts_incomplete=true", body, &accepted); status != http.StatusAccepted {
		t.Fatalf("create: %d", status)
	}
	dev.Await("old", accepted.Operation)
	before := fetched()

	run(1, "update", "update-service", "old", "-p", "medium", "-c", `{"greeting": "broken"}`)
	run(0, "update failed", "history", "old")
	if after := fetched(); after.PlanID != before.PlanID || after.Parameters["greeting"] != "before" {
		t.Errorf("after the failed update: %+v, before %+v", after, before)
	}
	run(1, "the limit of 1 instances for the plan kv-dedicated/small is used up", "create-service", "kv-dedicated", "small", "second")
	run(0, "", "create-service", "kv-dedicated", "medium", "second") // its place was given back

	run(0, "", "update-service", "old", "-c", `{"greeting": "after"}`)
	if well := fetched(); well.PlanID != before.PlanID || well.Parameters["greeting"] != "after" {
		t.Errorf("after another update: %+v", well)
	}
	for _, name := range []string{"old", "second"} {
		run(0, "", "delete-service", "-f", name)
	}
}
