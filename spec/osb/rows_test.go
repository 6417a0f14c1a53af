package osb_test

import (
	"regexp"
	"strings"
	"testing"
)

// change is an update.
const change = `{"service_id": "` + service + `", "parameters": {"quota_backend_bytes": 33554432}, "vendor": {"x": 1}, "Plan_Id": "of a vendor",
	"previous_values": {"plan_id": "` + oneServer + `", "vendor": 1}}`

var nothingThere = []row{
	{"12,13,14", "no credentials", "GET", "/catalog", "", map[string]string{"Authorization": ""}, 401, nil},
	{"13,14", "wrong password", "GET", instance + "/last_operation", "", map[string]string{"Authorization": "Basic Y2M6U2VjcmV0"}, 401, nil},
	{"13", "a wrong user", "DELETE", instance + async + "&" + which, "", map[string]string{"Authorization": "Basic ZGQ6c2VjcmV0"}, 401, nil},
	{"13", "a value that cannot be decoded", "PATCH", instance + async, change, map[string]string{"Authorization": "Basic !!!"}, 401, nil},
	{"13", "another scheme", "PUT", instance + async, order(), map[string]string{"Authorization": "Bearer secret"}, 401, nil},
	{"4,5", "no version", "GET", "/catalog", "", map[string]string{"X-Broker-API-Version": ""}, 412, nil},
	{"4", "version 1", "GET", "/catalog", "", map[string]string{"X-Broker-API-Version": "1.14"}, 412, nil},
	{"4", "no version at all", "GET", "/catalog", "", map[string]string{"X-Broker-API-Version": "two"}, 412, nil},
	{"6", "a later minor version", "GET", "/catalog", "", map[string]string{"X-Broker-API-Version": "2.99"}, 200, nil},
	{"5", "no version, to poll", "GET", instance + "/last_operation", "", map[string]string{"X-Broker-API-Version": ""}, 412, nil},
	{"30,31,32,34,36,37,38,39,40,41,42,43,44,45,46,47,48,49,50,51,52,53,55,58,59,60,61,62,63,64,65,66,67,121", "the catalog", "GET", "/catalog", "", nil, 200, checkCatalog},
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

var accepted = []row{
	{"116", "another plan under the same id", "PUT", instance + async, order(oneServer, threeServers), nil, 409, differs("plan_id")},
	{"116", "another space under the same id", "PUT", instance + async, order("space-1", "space-2"), nil, 409, differs("space_guid")},
	{"123", "fetched too early", "GET", instance, "", nil, 404, nil},
	{"21,22,78,79", "bound too early", "PUT", binding, bind(), nil, 422, says("ConcurrencyError", concurrency)},
	{"78", "updated too early", "PATCH", instance + async, change, nil, 422, says("ConcurrencyError", concurrency)},
	{"8,113", "the same order, by an identity that is no base64", "PUT", instance + async, order(), identity("cloudfoundry !!!"), 202, nil},
	{"8,113", "the same order, by an identity without a value", "PUT", instance + async, order(), identity("cloudfoundry"), 202, nil},
	{"8,113", "the same order, by an identity that is no object", "PUT", instance + async, order(), identity("cloudfoundry W10="), 202, nil},
	{"28,113", "the same order, without Content-Type", "PUT", instance + async, order(), map[string]string{"Content-Type": ""}, 202, nil},
	{"110,113", "the same order, with the catalog's maintenance_info in other words", "PUT", instance + async,
		order(`"vendor_field": {"x": 1}`, `"maintenance_info": {"version": "1.0.0", "description": "other words"}`), nil, 202, nil},
	{"116", "other parameters under the same id", "PUT", instance + async, order("vendor_field", "parameters", `"x": 1`, `"snapshot_count": 50000`), nil, 409, differs("parameters")},
	{"76,81,83,87,88,91", "polled with an operation that is not ours", "GET", instance + "/last_operation?operation=not-ours%00&" + which, "", nil, 200, inProgress},
	{"84", "polled under an id that is none", "GET", "/service_instances/%ff/last_operation", "", nil, 400, nil},
}

var updating = []row{
	{"78", "another update meanwhile", "PATCH", instance + async, strings.Replace(change, "33554432", "67108864", 1), nil, 422, says("ConcurrencyError", concurrency)},
	{"124", "fetched while it is updated", "GET", instance, "", nil, 422, func(t *testing.T, a answer) {
		if a.string("error") != "ConcurrencyError" {
			t.Errorf("%s", a.text)
		}
	}},
	{"78", "bound while it is updated", "PUT", binding, bind(), nil, 422, says("ConcurrencyError", concurrency)},
	{"82,87", "polled with the plan before", "GET", instance + "/last_operation?" + which, "", nil, 200, inProgress},
}

var deleted = []row{
	{"92", "still known after the end", "GET", instance + "/last_operation", "", nil, 200, succeeded},
	{"92", "still known when asked again", "GET", instance + "/last_operation?operation=not-ours", "", nil, 200, succeeded},
	{"203,208", "deleted again", "DELETE", instance + async + "&" + which, "", nil, 410, nil},
	{"123", "fetched after the end", "GET", instance, "", nil, 404, nil},
	{"191,208", "unbound after the end", "DELETE", binding + "?" + which, "", nil, 410, nil},
	{"96", "a binding polled after its instance's end", "GET", bindings + "rotated/last_operation", "", nil, 410, nil},
}

// differs wants a refusal that says in which fields.
func differs(fields string) func(*testing.T, answer) {
	return func(t *testing.T, a answer) {
		t.Helper()
		if !strings.HasSuffix(a.string("description"), "exists with other attributes: "+fields) {
			t.Errorf("%s", a.text)
		}
	}
}

// seconds is a duration as OSB recommends it for Retry-After, and not a date.
var seconds = regexp.MustCompile(`^[1-9]\d*$`)

func identity(value string) map[string]string {
	return map[string]string{"X-Broker-API-Originating-Identity": value}
}

// unchanged is what "spec-1" is until something is changed.
func unchanged(t *testing.T, a answer) {
	t.Helper()
	if a.string("service_id") != service || a.string("plan_id") != oneServer || !strings.HasSuffix(a.string("dashboard_url"), "/service_instances/spec-1") ||
		a.json["parameters"] != nil {
		t.Errorf("%s", a.text)
	}
}

func inProgress(t *testing.T, a answer) {
	t.Helper()
	if a.string("state") != "in progress" || a.string("description") == "" || !seconds.MatchString(a.header.Get("Retry-After")) {
		t.Errorf("Retry-After %q: %s", a.header.Get("Retry-After"), a.text)
	}
}

func succeeded(t *testing.T, a answer) {
	t.Helper()
	if a.string("state") != "succeeded" || a.header.Get("Retry-After") != "" {
		t.Errorf("Retry-After %q: %s", a.header.Get("Retry-After"), a.text)
	}
}

var refusedOrders = []row{
	{"21,22,69,73,74,117", "synchronously", "PUT", instance, order(), nil, 422, says("AsyncRequired", asyncNeeded)},
	{"73,117", "accepts_incomplete=false", "PUT", instance + "?accepts_incomplete=false", order(), nil, 422, says("AsyncRequired", asyncNeeded)},
	{"104", "no service_id", "PUT", instance + async, order("service_id", "x"), nil, 400, nil},
	{"105", "no plan_id", "PUT", instance + async, order("plan_id", "x"), nil, 400, nil},
	{"104", "an unknown service", "PUT", instance + async, order(service, "nope"), nil, 400, nil},
	{"105", "an unknown plan", "PUT", instance + async, order(oneServer, "nope"), nil, 400, nil},
	{"108", "no organization", "PUT", instance + async, order(`"organization_guid": "org-1",`, ""), nil, 400, nil},
	{"108", "an empty space", "PUT", instance + async, order(`"space_guid": "space-1"`, `"space_guid": ""`), nil, 400, nil},
	{"109", "an unknown parameter", "PUT", instance + async, order("vendor_field", "parameters"), nil, 400, nil},
	{"21,110", "another maintenance_info", "PUT", instance + async, order(`"vendor_field": {"x": 1}`, `"maintenance_info": {"version": "9.9.9"}`), nil, 422,
		func(t *testing.T, a answer) {
			if a.string("error") != "MaintenanceInfoConflict" {
				t.Errorf("%s", a.text)
			}
		}},
	{"29,115", "no JSON, no Content-Type", "PUT", instance + async, "{", map[string]string{"Content-Type": ""}, 400, nil},
	{"29,115", "no object", "PUT", instance + async, "[]", nil, 400, nil},
	{"29,115", "a name twice", "PUT", instance + async, order(`"vendor_field"`, `"service_id"`), nil, 400, nil},
	{"29,115", "a wrong type", "PUT", instance + async, `{"service_id": 1}`, nil, 400, nil},
	{"29", "a wrong Content-Type", "PUT", instance + async, order(), map[string]string{"Content-Type": "text/xml"}, 400, nil},
	{"8,25", "an identity that is none, and nothing was stored", "DELETE", instance + async + "&" + which, "",
		identity("cloudfoundry !!!"), 410, nil},
}

var running = []row{
	{"111", "the same order when it is done", "PUT", instance + async, order(), nil, 200, nil},
	{"116", "another order when it is done", "PUT", instance + async, order(oneServer, fiveServers), nil, 409, nil},
	{"81,82,92", "polled without and with hints", "GET", instance + "/last_operation?plan_id=" + threeServers, "", nil, 200, nil},
	{"121,122,126", "fetch", "GET", instance + "?" + which, "", nil, 200, unchanged},
	{"121,122", "fetch by wrong hints", "GET", instance + "?service_id=x&plan_id=" + threeServers, "", nil, 200, unchanged},
	{"127", "fetch before 2.14", "GET", instance, "", map[string]string{"X-Broker-API-Version": "2.13"}, 412, nil},
	{"128", "update without service", "PATCH", instance + async, `{}`, nil, 400, nil},
	{"128", "update to an unknown service", "PATCH", instance + async, `{"service_id": "nope"}`, nil, 400, nil},
	{"129", "update to an unknown plan", "PATCH", instance + async, `{"service_id": "` + service + `", "plan_id": "nope"}`, nil, 400, nil},
	{"135,140,142", "update to a plan that it cannot have", "PATCH", instance + async, `{"service_id": "` + service + `", "plan_id": "` + fiveServers + `"}`, nil, 422, nil},
	{"21,133", "update to other maintenance_info", "PATCH", instance + async, `{"service_id": "` + service + `", "maintenance_info": {"version": "9.9.9"}}`, nil, 422,
		func(t *testing.T, a answer) {
			if a.string("error") != "MaintenanceInfoConflict" {
				t.Errorf("%s", a.text)
			}
		}},
	{"132", "update with an unknown parameter", "PATCH", instance + async, `{"service_id": "` + service + `", "parameters": {"x": 1}}`, nil, 400, nil},
	{"73,141", "update synchronously", "PATCH", instance, `{"service_id": "` + service + `", "parameters": {"quota_backend_bytes": 33554432}}`, nil, 422, says("AsyncRequired", asyncNeeded)},
	{"1,71,72,130,134,136,145", "update that changes nothing", "PATCH", instance + async, `{"service_id": "` + service + `", "previous_values": {"plan_id": "x", "organization_id": "y", "vendor": 1}}`, nil, 200, nil},
	{"45", "update of the context alone", "PATCH", instance, `{"service_id": "` + service + `", "context": {"platform": "cloudfoundry", "instance_name": "new"}}`, nil, 200, nil},
	{"139", "update without JSON", "PATCH", instance + async, "{", nil, 400, nil},
	{"25,130,135,142", "fetched after all that was refused", "GET", instance, "", nil, 200, unchanged},
	{"202", "delete under an id that is none", "DELETE", "/service_instances/%ff" + async + "&" + which, "", nil, 400, nil},
	{"198,202", "delete without ids", "DELETE", instance + async, "", nil, 400, nil},
	{"198", "delete with another plan", "DELETE", instance + async + "&service_id=" + service + "&plan_id=" + threeServers, "", nil, 400, nil},
	{"73,204", "delete synchronously", "DELETE", instance + "?" + which, "", nil, 422, says("AsyncRequired", asyncNeeded)},
	{"154", "bind without ids", "PUT", binding, `{}`, nil, 400, nil},
	{"154", "bind without service_id", "PUT", binding, `{"plan_id": "` + oneServer + `"}`, nil, 400, nil},
	{"154", "bind without plan_id", "PUT", binding, `{"service_id": "` + service + `"}`, nil, 400, nil},
	{"155", "bind with another service", "PUT", binding, bind(service, "nope"), nil, 400, nil},
	{"155", "bind with another plan", "PUT", binding, bind(oneServer, threeServers), nil, 400, nil},
	{"157", "bind with unknown parameters", "PUT", binding, bind("context", "parameters"), nil, 400, nil},
	{"29,162", "bind without JSON", "PUT", binding, "no", nil, 400, nil},
	{"182", "no binding is left by all this", "GET", binding, "", nil, 404, nil},
}

var bound = []row{
	{"71,156,159,168,170,214", "bind", "PUT", binding, bind(), nil, 201, checkCredentials},
	{"158,168", "the same bind again", "PUT", binding, bind(), nil, 200, checkCredentials},
	{"163", "another bind under the same id", "PUT", binding, bind("app-1", "app-2"), nil, 409, differs("app_guid")},
	{"170,180,183,185", "fetch the binding", "GET", binding + "?" + which, "", nil, 200, checkCredentials},
	{"93,98", "last operation of the binding", "GET", binding + "/last_operation", "", nil, 200, succeeded},
	{"95", "last operation of a binding that is none", "GET", instance + "/service_bindings/none/last_operation", "", nil, 404, nil},
	{"94", "last operation of a binding whose id is none", "GET", instance + "/service_bindings/%ff/last_operation", "", nil, 400, nil},
	{"155,188", "unbind with another plan", "DELETE", binding + "?service_id=" + service + "&plan_id=" + threeServers, "", nil, 400, nil},
	{"152,156,159", "a second bind, of nothing in particular", "PUT", instance + "/service_bindings/bind-2",
		`{"service_id": "` + service + `", "plan_id": "` + oneServer + `"}`, nil, 201, checkCredentials},
	{"188", "unbind without ids", "DELETE", binding, "", nil, 400, nil},
	{"71,189", "unbind", "DELETE", binding + "?" + which, "", nil, 200, func(t *testing.T, a answer) {
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
