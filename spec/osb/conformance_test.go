package osb_test

import (
	"encoding/json"
	"regexp"
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
		"vendor_field": {"x": 1}}`)
}

func bind(change ...string) string {
	return strings.NewReplacer(change...).Replace(`{"service_id": "` + service + `", "plan_id": "` + oneServer + `",
		"bind_resource": {"app_guid": "app-1", "vendor": 1}, "context": {"platform": "cloudfoundry"}}`)
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
	p := startBroker(t, true)
	p.table(t, nothingThere)
	p.table(t, refusedOrders)
	if t.Failed() {
		return
	}
	var first string
	p.table(t, []row{
		{"72,75,113,118,119", "the first order", "PUT", instance + async, order(), nil, 202, func(t *testing.T, a answer) {
			first = a.string("operation")
			if first == "" || len(first) > 10000 || !strings.Contains(a.string("dashboard_url"), "/service_instances/spec-1") || strings.Contains(a.text, "secret") {
				t.Errorf("%s", a.text)
			}
		}},
		{"114", "the same order again", "PUT", instance + async, order(), nil, 202, func(t *testing.T, a answer) {
			if a.string("operation") != first {
				t.Errorf("another operation: %s", a.text)
			}
		}},
		{"116", "another plan under the same id", "PUT", instance + async, order(oneServer, threeServers), nil, 409, nil},
		{"116", "another space under the same id", "PUT", instance + async, order("space-1", "space-2"), nil, 409, nil},
		{"123", "fetched too early", "GET", instance, "", nil, 404, nil},
		{"22,78", "bound too early", "PUT", binding, bind(), nil, 422, says("ConcurrencyError", concurrency)},
	})
	if last := p.finished(t, "spec-1", first); last.string("state") != "succeeded" {
		t.Fatalf("the provision failed: %s", last.text)
	}
	p.table(t, running)
	p.table(t, bound)
	if t.Failed() {
		return
	}
	p.table(t, []row{
		{"201,195", "delete", "DELETE", instance + async + "&" + which, "", nil, 202, func(t *testing.T, a answer) { first = a.string("operation") }},
		{"201", "the same delete again", "DELETE", instance + async + "&" + which, "", nil, 202, func(t *testing.T, a answer) {
			if first == "" || a.string("operation") != first {
				t.Errorf("operations %q and %s", first, a.text)
			}
		}},
		{"78", "ordered while it is deleted", "PUT", instance + async, order(), nil, 422, says("ConcurrencyError", concurrency)},
	})
	if last := p.finished(t, "spec-1", first); last.string("state") != "succeeded" {
		t.Fatalf("the deprovision failed: %s", last.text)
	}
	p.table(t, []row{
		{"92", "still known after the end", "GET", instance + "/last_operation?operation=" + first, "", nil, 200, nil},
		{"203,208", "deleted again", "DELETE", instance + async + "&" + which, "", nil, 410, nil},
		{"123", "fetched after the end", "GET", instance, "", nil, 404, nil},
		{"191", "unbound after the end", "DELETE", binding + "?" + which, "", nil, 410, nil},
	})
	t.Run("197,209 deleted while it is made", func(t *testing.T) { deleteWhileMade(t, p) })
}

// deleteWhileMade is orphan mitigation: the delete takes over.
func deleteWhileMade(t *testing.T, p *platform) {
	const orphan = "/service_instances/orphan"
	p.row(t, row{method: "PUT", path: orphan + async, body: order(), status: 202})
	deleted := p.row(t, row{method: "DELETE", path: orphan + async + "&" + which, status: 202})
	if last := p.finished(t, "orphan", deleted.string("operation")); last.string("state") != "succeeded" {
		t.Errorf("%s", last.text)
	}
	p.row(t, row{method: "DELETE", path: orphan + async + "&" + which, status: 410})
}

var nothingThere = []row{
	{"12,13", "no credentials", "GET", "/catalog", "", map[string]string{"Authorization": ""}, 401, nil},
	{"13", "wrong password", "GET", instance + "/last_operation", "", map[string]string{"Authorization": "Basic Y2M6U2VjcmV0"}, 401, nil},
	{"13", "another scheme", "PUT", instance + async, order(), map[string]string{"Authorization": "Bearer secret"}, 401, nil},
	{"4,5", "no version", "GET", "/catalog", "", map[string]string{"X-Broker-API-Version": ""}, 412, nil},
	{"4", "version 1", "GET", "/catalog", "", map[string]string{"X-Broker-API-Version": "1.14"}, 412, nil},
	{"4", "no version at all", "GET", "/catalog", "", map[string]string{"X-Broker-API-Version": "two"}, 412, nil},
	{"6", "a later minor version", "GET", "/catalog", "", map[string]string{"X-Broker-API-Version": "2.99"}, 200, nil},
	{"30-68", "the catalog", "GET", "/catalog", "", nil, 200, checkCatalog},
	{"19", "an unknown endpoint", "GET", "/nothing", "", nil, 404, nil},
	{"19", "an unknown method", "POST", instance, order(), nil, 405, nil},
	{"85", "last operation of nothing", "GET", instance + "/last_operation", "", nil, 404, nil},
	{"123", "fetch nothing", "GET", instance, "", nil, 404, nil},
	{"148", "update nothing", "PATCH", instance + async, order(), nil, 404, nil},
	{"167", "bind nothing", "PUT", binding, bind(), nil, 404, nil},
	{"182", "fetch a binding of nothing", "GET", binding, "", nil, 404, nil},
	{"95", "last operation of a binding of nothing", "GET", binding + "/last_operation", "", nil, 404, nil},
	{"191", "unbind nothing", "DELETE", binding + "?" + which, "", nil, 410, nil},
	{"203,208", "delete nothing", "DELETE", instance + async + "&" + which, "", nil, 410, nil},
}

var refusedOrders = []row{
	{"73,117", "synchronously", "PUT", instance, order(), nil, 422, says("AsyncRequired", asyncNeeded)},
	{"73,117", "accepts_incomplete=false", "PUT", instance + "?accepts_incomplete=false", order(), nil, 422, says("AsyncRequired", asyncNeeded)},
	{"104", "no service_id", "PUT", instance + async, order("service_id", "x"), nil, 400, nil},
	{"105", "no plan_id", "PUT", instance + async, order("plan_id", "x"), nil, 400, nil},
	{"104", "an unknown service", "PUT", instance + async, order(service, "nope"), nil, 400, nil},
	{"105", "an unknown plan", "PUT", instance + async, order(oneServer, "nope"), nil, 400, nil},
	{"108", "no organization", "PUT", instance + async, order(`"organization_guid": "org-1",`, ""), nil, 400, nil},
	{"108", "an empty space", "PUT", instance + async, order(`"space_guid": "space-1"`, `"space_guid": ""`), nil, 400, nil},
	{"109", "an unknown parameter", "PUT", instance + async, order("vendor_field", "parameters"), nil, 400, nil},
	{"110", "another maintenance_info", "PUT", instance + async, order(`"vendor_field": {"x": 1}`, `"maintenance_info": {"version": "9.9.9"}`), nil, 422,
		func(t *testing.T, a answer) {
			if a.string("error") != "MaintenanceInfoConflict" {
				t.Errorf("%s", a.text)
			}
		}},
	{"29,115", "no JSON", "PUT", instance + async, "{", nil, 400, nil},
	{"29,115", "no object", "PUT", instance + async, "[]", nil, 400, nil},
	{"29,115", "a wrong type", "PUT", instance + async, `{"service_id": 1}`, nil, 400, nil},
	{"29", "a wrong Content-Type", "PUT", instance + async, order(), map[string]string{"Content-Type": "text/xml"}, 400, nil},
	{"8,25", "an identity that is none, and nothing was stored", "DELETE", instance + async + "&" + which, "",
		map[string]string{"X-Broker-API-Originating-Identity": "cloudfoundry !!!"}, 410, nil},
}

var running = []row{
	{"111", "the same order when it is done", "PUT", instance + async, order(), nil, 200, nil},
	{"116", "another order when it is done", "PUT", instance + async, order(oneServer, fiveServers), nil, 409, nil},
	{"81,82,92", "polled without and with hints", "GET", instance + "/last_operation?plan_id=" + threeServers, "", nil, 200, nil},
	{"121,122,126", "fetch", "GET", instance + "?" + which, "", nil, 200, func(t *testing.T, a answer) {
		if a.string("service_id") != service || a.string("plan_id") != oneServer || a.string("dashboard_url") == "" {
			t.Errorf("%s", a.text)
		}
	}},
	{"127", "fetch before 2.14", "GET", instance, "", map[string]string{"X-Broker-API-Version": "2.13"}, 412, nil},
	{"128", "update without service", "PATCH", instance + async, `{}`, nil, 400, nil},
	{"128", "update to an unknown service", "PATCH", instance + async, `{"service_id": "nope"}`, nil, 400, nil},
	{"129", "update to an unknown plan", "PATCH", instance + async, `{"service_id": "` + service + `", "plan_id": "nope"}`, nil, 400, nil},
	{"135,142", "update to another plan", "PATCH", instance + async, `{"service_id": "` + service + `", "plan_id": "` + threeServers + `"}`, nil, 422, nil},
	{"133", "update to other maintenance_info", "PATCH", instance + async, `{"service_id": "` + service + `", "maintenance_info": {"version": "9.9.9"}}`, nil, 422, nil},
	{"132", "update with an unknown parameter", "PATCH", instance + async, `{"service_id": "` + service + `", "parameters": {"x": 1}}`, nil, 400, nil},
	{"73,141", "update synchronously", "PATCH", instance, `{"service_id": "` + service + `", "parameters": {"quota_backend_bytes": 33554432}}`, nil, 422, says("AsyncRequired", asyncNeeded)},
	{"130,131,134,136", "update that changes nothing", "PATCH", instance + async, `{"service_id": "` + service + `", "previous_values": {"plan_id": "x", "organization_id": "y", "vendor": 1}}`, nil, 200, nil},
	{"45", "update of the context alone", "PATCH", instance, `{"service_id": "` + service + `", "context": {"platform": "cloudfoundry", "instance_name": "new"}}`, nil, 200, nil},
	{"198", "delete without ids", "DELETE", instance + async, "", nil, 400, nil},
	{"198", "delete with another plan", "DELETE", instance + async + "&service_id=" + service + "&plan_id=" + threeServers, "", nil, 400, nil},
	{"73,204", "delete synchronously", "DELETE", instance + "?" + which, "", nil, 422, says("AsyncRequired", asyncNeeded)},
	{"154", "bind without ids", "PUT", binding, `{}`, nil, 400, nil},
	{"155", "bind with another plan", "PUT", binding, bind(oneServer, threeServers), nil, 400, nil},
	{"157", "bind with unknown parameters", "PUT", binding, bind("context", "parameters"), nil, 400, nil},
	{"29,162", "bind without JSON", "PUT", binding, "no", nil, 400, nil},
	{"182", "no binding is left by all this", "GET", binding, "", nil, 404, nil},
}

var bound = []row{
	{"159,168", "bind", "PUT", binding, bind(), nil, 201, checkCredentials},
	{"158,168", "the same bind again", "PUT", binding, bind(), nil, 200, checkCredentials},
	{"163", "another bind under the same id", "PUT", binding, bind("app-1", "app-2"), nil, 409, nil},
	{"180,183,185", "fetch the binding", "GET", binding + "?" + which, "", nil, 200, checkCredentials},
	{"93,98", "last operation of the binding", "GET", binding + "/last_operation", "", nil, 200, func(t *testing.T, a answer) {
		if a.string("state") != "succeeded" {
			t.Errorf("%s", a.text)
		}
	}},
	{"159,152", "a second bind", "PUT", instance + "/service_bindings/bind-2", bind(), nil, 201, checkCredentials},
	{"188", "unbind without ids", "DELETE", binding, "", nil, 400, nil},
	{"189", "unbind", "DELETE", binding + "?" + which, "", nil, 200, func(t *testing.T, a answer) {
		if len(a.json) != 0 {
			t.Errorf("%s", a.text)
		}
	}},
	{"191,208", "unbind again", "DELETE", binding + "?" + which, "", nil, 410, nil},
	{"182", "fetch the binding after the end", "GET", binding, "", nil, 404, nil},
	{"186", "the other binding is untouched", "GET", instance + "/service_bindings/bind-2", "", nil, 200, checkCredentials},
}

func checkCredentials(t *testing.T, a answer) {
	t.Helper()
	c, _ := a.json["credentials"].(map[string]any)
	for _, key := range []string{"host", "port", "username", "password", "uri"} {
		if c[key] == nil || c[key] == "" {
			t.Errorf("line 168: no %s: %s", key, a.text)
		}
	}
	for _, key := range []string{"syslog_drain_url", "route_service_url", "volume_mounts"} {
		if _, present := a.json[key]; present {
			t.Errorf("line 170: %s is not declared", key)
		}
	}
}

var cliName = regexp.MustCompile(`^[A-Za-z0-9.-]+$`)

// checkCatalog checks section G.
func checkCatalog(t *testing.T, a answer) {
	var catalog struct {
		Services []struct {
			ID, Name, Description string
			Bindable              *bool
			PlanUpdateable        bool `json:"plan_updateable"`
			InstancesRetrievable  bool `json:"instances_retrievable"`
			BindingsRetrievable   bool `json:"bindings_retrievable"`
			Plans                 []struct {
				ID, Name, Description string
				Schemas               struct {
					ServiceInstance struct {
						Create struct{ Parameters map[string]any }
					} `json:"service_instance"`
				}
			}
		}
	}
	if err := json.Unmarshal([]byte(a.text), &catalog); err != nil || catalog.Services == nil {
		t.Fatalf("line 31: %v: %s", err, a.text)
	}
	ids, names, plans := map[string]bool{}, map[string]bool{}, map[string]string{}
	for _, s := range catalog.Services {
		if s.ID == "" || ids[s.ID] || s.Name == "" || names[s.Name] || s.Description == "" || s.Bindable == nil || len(s.Plans) == 0 {
			t.Errorf("lines 37-42, 49: %+v", s)
		}
		if !cliName.MatchString(s.Name) || len(s.Description) > 255 {
			t.Errorf("lines 34, 36: %q", s.Name)
		}
		ids[s.ID], names[s.Name] = true, true
		planNames := map[string]bool{}
		for _, plan := range s.Plans {
			if plan.ID == "" || ids[plan.ID] || plan.Name == "" || planNames[plan.Name] || plan.Description == "" {
				t.Errorf("lines 50-52: %+v", plan)
			}
			if schema := plan.Schemas.ServiceInstance.Create.Parameters; schema != nil && schema["$schema"] == nil {
				t.Errorf("line 62: %v", schema)
			}
			ids[plan.ID], planNames[plan.Name] = true, true
			plans[s.Name+" "+plan.Name] = s.ID + " " + plan.ID
		}
		if s.PlanUpdateable || !s.InstancesRetrievable || !s.BindingsRetrievable {
			t.Errorf("lines 43, 44, 48: %+v", s)
		}
	}
	for name, id := range map[string]string{
		"etcd-dedicated 1-server": oneServer, "etcd-dedicated 3-servers": threeServers, "etcd-dedicated 5-servers": fiveServers,
	} {
		if plans[name] != service+" "+id {
			t.Errorf("the ids of 2014: %s is %q", name, plans[name])
		}
	}
}
