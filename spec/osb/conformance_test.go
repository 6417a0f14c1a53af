package osb_test

import (
	"strings"
	"testing"
)

// The ids of 2014.
const (
	service      = "b9698740-4810-4dc5-8da6-54581f5108c4"
	oneServer    = "6e8ece8c-4fe6-4d58-9aeb-497d6aeba113"
	threeServers = "1a448d0e-bc54-4a16-8d2f-ab701be20c40"
	fiveServers  = "5cfa57fc-1474-4eb9-9afb"
)

const (
	which       = "service_id=" + service + "&plan_id=" + oneServer
	instance    = "/service_instances/spec-1"
	async       = "?accepts_incomplete=true"
	binding     = instance + "/service_bindings/bind-1"
	concurrency = "The Service Broker does not support concurrent requests that mutate the same resource."
	asyncNeeded = "This service plan requires client support for asynchronous service operations."
)

func order(change ...string) string {
	return strings.NewReplacer(change...).Replace(`{"service_id": "` + service + `", "plan_id": "` + oneServer + `",
		"organization_guid": "org-1", "space_guid": "space-1",
		"context": {"platform": "cloudfoundry", "organization_guid": "org-1", "instance_name": "x", "vendor": {"a": [1]}},
		"vendor_field": {"x": 1}, "Parameters": {"of a": "vendor"}}`)
}

func bind(change ...string) string {
	return strings.NewReplacer(change...).Replace(`{"service_id": "` + service + `", "plan_id": "` + oneServer + `",
		"bind_resource": {"app_guid": "app-1", "vendor": 1}, "context": {"platform": "cloudfoundry"}, "PLAN_ID": "of a vendor"}`)
}

func says(code, description string) func(*testing.T, answer) {
	return func(t *testing.T, a answer) {
		t.Helper()
		if a.string("error") != code || a.string("description") != description {
			t.Errorf("got %s, want %s: %s", a.text, code, description)
		}
	}
}

// TestConformance walks one instance through its life before a strict broker.
func TestConformance(t *testing.T) {
	t.Parallel() // it waits more than it works
	p := startBroker(t, true)
	p.table(t, nothingThere)
	t.Run("12,13,14 no credentials, at any endpoint", func(t *testing.T) { noCredentials(t, p) })
	t.Run("35 the catalog as it was", func(t *testing.T) { cachedCatalog(t, p) })
	p.table(t, refusedOrders)
	t.Run("25,211 nothing is left of what was refused", func(t *testing.T) {
		if left := p.instances(t); len(left) != 0 {
			t.Errorf("%v", left)
		}
	})
	if t.Failed() {
		return
	}
	resume := p.pause(t)
	first := p.same(t, row{"1,3,75,102,113,114,118,119", "the first order, and again", "PUT", instance + async, order(), nil, 202, func(t *testing.T, a answer) {
		if !strings.Contains(a.string("dashboard_url"), "/service_instances/spec-1") || strings.Contains(a.text, "secret") {
			t.Errorf("%s", a.text)
		}
	}})
	p.table(t, accepted)
	resume()
	if last := p.finished(t, "spec-1", first); last.string("state") != "succeeded" {
		t.Fatalf("the provision failed: %s", last.text)
	}
	p.table(t, running)
	p.table(t, bound)
	if t.Failed() {
		return
	}
	t.Run("update", func(t *testing.T) { update(t, p) })
	t.Run("bindings that are polled", func(t *testing.T) { polledBindings(t, p) })
	first = p.same(t, row{"195,196,200,201,207", "delete, and again", "DELETE", instance + async + "&" + which, "", nil, 202, nil})
	if last := p.finished(t, "spec-1", first); last.string("state") != "succeeded" {
		t.Fatalf("the deprovision failed: %s", last.text)
	}
	p.table(t, deleted)
	t.Run("195 nothing is left of it", func(t *testing.T) {
		if left, made := p.instances(t), p.deployments(t); len(left)+len(made) != 0 {
			t.Errorf("%v %v", left, made)
		}
	})
	t.Run("orphans", func(t *testing.T) { orphans(t, p) })
	t.Run("7,9,107,213 who asked is recorded with each operation", func(t *testing.T) { recorded(t, p) })
}

// noCredentials asks every endpoint without any.
func noCredentials(t *testing.T, p *platform) {
	for _, path := range []string{"/catalog", instance, instance + "/last_operation", binding, binding + "/last_operation", "/nothing"} {
		for _, method := range []string{"GET", "PUT", "PATCH", "DELETE", "POST"} {
			body := ""
			if method == "PUT" || method == "PATCH" {
				body = order()
			}
			p.row(t, row{method: method, path: path + async + "&" + which, body: body, header: map[string]string{"Authorization": ""}, status: 401})
		}
	}
}

// cachedCatalog asks for the catalog as a platform does that has it.
func cachedCatalog(t *testing.T, p *platform) {
	tag := p.row(t, row{method: "GET", path: "/catalog", status: 200}).header.Get("ETag")
	asked := row{method: "GET", path: "/catalog", header: map[string]string{"If-None-Match": tag}}
	if a := p.send(t, asked); tag == "" || a.status != 304 || a.text != "" {
		t.Errorf("ETag %q: %d %s", tag, a.status, a.text)
	}
	asked.header["If-None-Match"] = `"another"`
	asked.status = 200
	p.row(t, asked)
}

// update holds an update in progress, looks at it, and lets it end.
func update(t *testing.T, p *platform) {
	resume := p.pause(t)
	first := p.same(t, row{"137,138,146", "update, and again", "PATCH", instance + async, change, nil, 202, func(t *testing.T, a answer) {
		if a.json["dashboard_url"] != nil && !strings.Contains(a.string("dashboard_url"), "/service_instances/spec-1") {
			t.Errorf("line 145: %s", a.text)
		}
	}})
	p.table(t, updating)
	resume()
	if last := p.finished(t, "spec-1", first); last.string("state") != "succeeded" {
		t.Fatalf("the update failed: %s", last.text)
	}
	p.table(t, []row{
		{"131,136", "the same update when it is done", "PATCH", instance + async, change, nil, 200, nil},
		{"131,136", "an update of nothing, when parameters are set", "PATCH", instance + async, `{"service_id": "` + service + `"}`, nil, 200, nil},
		{"125,131", "fetched after the update", "GET", instance, "", nil, 200, func(t *testing.T, a answer) {
			if !strings.Contains(a.text, `"quota_backend_bytes":33554432`) {
				t.Errorf("%s", a.text)
			}
		}},
	})
}

// orphans is what a platform does that gave up on an answer: it deletes, at any
// time, as often as it likes.
func orphans(t *testing.T, p *platform) {
	const orphan = "/service_instances/orphan"
	ended := func(operation string) {
		t.Helper()
		if last := p.finished(t, "orphan", operation); last.string("state") != "succeeded" {
			t.Errorf("%s", last.text)
		}
		p.row(t, row{method: "DELETE", path: orphan + async + "&" + which, status: 410})
	}
	resume := p.pause(t)
	p.row(t, row{method: "PUT", path: orphan + async, body: order(), status: 202})
	operation := p.same(t, row{"197,208,209", "deleted before it is made", "DELETE", orphan + async + "&" + which, "", nil, 202, nil})
	p.table(t, []row{{"78", "ordered while it is deleted", "PUT", orphan + async, order(), nil, 422, says("ConcurrencyError", concurrency)}})
	resume()
	ended(operation)

	p.row(t, row{method: "PUT", path: orphan + async, body: order(), status: 202})
	eventually(t, "the director is at work", func() bool {
		return strings.Contains(p.serviceforge(t, "services", "--json"), `"deploying"`)
	})
	p.table(t, []row{{"197,208,209", "deleted while it is made", "DELETE", orphan + async + "&" + which, "", nil, 202, nil}})
	ended("")
}

// recorded looks into the history, which shows identities as they were sent.
func recorded(t *testing.T, p *platform) {
	const who = "/service_instances/who"
	order := order(`"platform": "cloudfoundry"`, `"platform": "kubernetes", "namespace": "n", "clusterid": "c", "instance_annotations": {"a": "b"}`)
	identities := []string{
		"cloudfoundry eyJ1c2VyX2lkIjogInUtMSIsICJtb3JlIjogMX0=",
		"kubernetes eyJ1c2VybmFtZSI6ICJ1IiwgInVpZCI6ICIxIiwgImdyb3VwcyI6IFtdLCAiZXh0cmEiOiB7fX0=",
	}
	as := func(n int) map[string]string {
		return map[string]string{"X-Broker-API-Originating-Identity": identities[n]}
	}
	p.row(t, row{method: "PUT", path: who + async, body: order, header: as(0), status: 202})
	p.finished(t, "who", "")
	p.row(t, row{method: "PUT", path: who + "/service_bindings/b", body: bind(), header: as(1), status: 201})
	p.row(t, row{method: "DELETE", path: who + async + "&" + which, header: as(1), status: 202})
	p.finished(t, "who", "")
	told := p.serviceforge(t, "history", "who", "--json")
	for want, times := range map[string]int{identities[0]: 2, identities[1]: 3} { // begun and ended; bound, begun and ended
		if strings.Count(told, want) < times {
			t.Errorf("%s is not recorded %d times:\n%s", want, times, told)
		}
	}
}
