package broker_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/spec/osb/scene"
)

const concurrency = "The Service Broker does not support concurrent requests that mutate the same resource."

func (s *stage) wantError(a answer, status int, key, description string) {
	s.t.Helper()
	s.want(a, status)
	if a.json["error"] != key || a.json["description"] != description {
		s.t.Errorf("got %s, want %s: %s", a.text, key, description)
	}
}

func TestProvision(t *testing.T) {
	s := newStage(t, true)
	const path = "/v2/service_instances/a"
	s.wantError(s.do("PUT", path, order), 422, "AsyncRequired",
		"This service plan requires client support for asynchronous service operations.")
	s.wantError(s.do("PUT", path+"?accepts_incomplete=false", order), 422, "AsyncRequired",
		"This service plan requires client support for asynchronous service operations.")
	if s.stored() != 0 {
		t.Fatal("something was stored")
	}
	first := s.created("a")
	if first.json["dashboard_url"] != "http://broker.example/service_instances/a" || first.json["operation"] == "" {
		t.Errorf("202: %s", first.text)
	}
	if again := s.created("a"); again.json["operation"] != first.json["operation"] {
		t.Errorf("the same request again: %s, first %s", again.text, first.text)
	}
	other := strings.Replace(order, scene.OneServer, scene.ThreeServers, 1)
	s.want(s.do("PUT", path+"?accepts_incomplete=true", other), http.StatusConflict)
	s.want(s.do("GET", path, ""), http.StatusNotFound)

	s.Succeed(t, "a")
	s.want(s.do("PUT", path+"?accepts_incomplete=true", order), http.StatusOK)
	s.want(s.do("PUT", path+"?accepts_incomplete=true", other), http.StatusConflict)
	got := s.want(s.do("GET", path, ""), http.StatusOK)
	if got.json["service_id"] != scene.Service || got.json["plan_id"] != scene.OneServer || got.json["dashboard_url"] == nil {
		t.Errorf("GET: %s", got.text)
	}
	s.want(s.do("GET", path, "", header("X-Broker-API-Version", "2.13")), http.StatusPreconditionFailed)
	s.want(s.do("GET", path, "", user("kube", "other-secret")), http.StatusNotFound)
}

func TestLastOperation(t *testing.T) {
	s := newStage(t, true)
	const path = "/v2/service_instances/a/last_operation"
	s.want(s.do("GET", path, ""), http.StatusNotFound)
	operation := s.created("a").json["operation"].(string)
	a := s.want(s.do("GET", path+"?operation="+operation, ""), http.StatusOK)
	if a.json["state"] != "in progress" || a.json["description"] == "" || a.header.Get("Retry-After") == "" {
		t.Errorf("in progress: %s, Retry-After %q", a.text, a.header.Get("Retry-After"))
	}
	s.want(s.do("GET", path, "", user("kube", "other-secret")), http.StatusNotFound)
	s.Succeed(t, "a")
	for range 3 {
		a = s.want(s.do("GET", path+"?operation="+operation+"&plan_id=whatever", ""), http.StatusOK)
		if a.json["state"] != "succeeded" || a.header.Get("Retry-After") != "" {
			t.Errorf("succeeded: %s", a.text)
		}
	}
	s.created("b")
	s.Fail(t, "b", "The infrastructure could not make it", "director 10.0.0.1 said: disk full")
	a = s.want(s.do("GET", "/v2/service_instances/b/last_operation", ""), http.StatusOK)
	if a.json["state"] != "failed" || a.json["description"] != "The infrastructure could not make it" {
		t.Errorf("failed: %s", a.text)
	}
	s.want(s.do("GET", "/v2/service_instances/b", ""), http.StatusNotFound)
}

func TestBindAndUnbind(t *testing.T) {
	s := newStage(t, true)
	const path = "/v2/service_instances/a/service_bindings/b"
	s.want(s.do("PUT", path, bindOrder), http.StatusNotFound)
	s.created("a")
	s.wantError(s.do("PUT", path, bindOrder), 422, "ConcurrencyError", concurrency)
	s.want(s.do("GET", path, ""), http.StatusNotFound)
	s.Deploy(t, "a")
	form := s.do("PUT", path, ids, header("Content-Type", "application/x-www-form-urlencoded"))
	if form.status != http.StatusForbidden || strings.TrimSpace(form.text) != `{"error":"Service Instance not ready for binding; state deploying"}` {
		t.Errorf("the form's bind: %d %s", form.status, form.text)
	}
	s.Succeed(t, "a")
	s.want(s.do("PUT", path, `{"service_id": "`+scene.Service+`"}`), http.StatusBadRequest)
	s.want(s.do("PUT", path, strings.Replace(bindOrder, scene.OneServer, scene.ThreeServers, 1)), http.StatusBadRequest)
	s.want(s.do("PUT", path, strings.Replace(bindOrder, scene.OneServer, scene.OtherPlan, 1)), http.StatusBadRequest)
	first := s.want(s.do("PUT", path, bindOrder), http.StatusCreated)
	credentials, _ := first.json["credentials"].(map[string]any)
	if credentials["host"] != "127.1.2.3" || credentials["username"] == "" {
		t.Fatalf("201: %s", first.text)
	}
	if again := s.want(s.do("PUT", path, bindOrder), http.StatusOK); again.text != first.text {
		t.Errorf("the same bind again: %s, first %s", again.text, first.text)
	}
	s.want(s.do("PUT", path, strings.TrimSuffix(bindOrder, "}")+`, "app_guid": "other"}`), http.StatusConflict)
	if got := s.want(s.do("GET", path, ""), http.StatusOK); got.text != first.text {
		t.Errorf("GET: %s", got.text)
	}
	if a := s.want(s.do("GET", path+"/last_operation", ""), http.StatusOK); a.json["state"] != "succeeded" {
		t.Errorf("last_operation: %s", a.text)
	}
	s.want(s.do("GET", path, "", user("kube", "other-secret")), http.StatusNotFound)

	s.want(s.do("DELETE", path, ""), http.StatusBadRequest)
	s.want(s.do("DELETE", path+"?service_id="+scene.Service, ""), http.StatusBadRequest)
	s.want(s.do("DELETE", path+"?service_id="+scene.Service+"&plan_id="+scene.ThreeServers, ""), http.StatusBadRequest)
	if a := s.want(s.do("DELETE", "/v2/service_instances/a/service_bindings/nope?"+ids, ""), http.StatusGone); strings.TrimSpace(a.text) != "{}" {
		t.Errorf("410: %s", a.text)
	}
	s.want(s.do("GET", "/v2/service_instances/a/service_bindings/nope/last_operation", ""), http.StatusNotFound)
	s.want(s.do("GET", path, ""), http.StatusOK) // still there
}

func TestDeprovision(t *testing.T) {
	s := newStage(t, true)
	const path = "/v2/service_instances/a"
	if a := s.want(s.do("DELETE", path+"?accepts_incomplete=true&"+ids, ""), http.StatusGone); strings.TrimSpace(a.text) != "{}" {
		t.Errorf("410: %s", a.text)
	}
	s.created("a")
	s.want(s.do("DELETE", path+"?accepts_incomplete=true", ""), http.StatusBadRequest)
	s.want(s.do("DELETE", path+"?accepts_incomplete=true&service_id=x&plan_id=y", ""), http.StatusBadRequest)
	s.wantError(s.do("DELETE", path+"?"+ids, ""), 422, "AsyncRequired",
		"This service plan requires client support for asynchronous service operations.")
	s.want(s.do("DELETE", path+"?accepts_incomplete=true&"+ids, "", user("kube", "other-secret")), http.StatusGone)
	first := s.want(s.do("DELETE", path+"?accepts_incomplete=true&"+ids, ""), http.StatusAccepted)
	again := s.want(s.do("DELETE", path+"?accepts_incomplete=true&"+ids, ""), http.StatusAccepted)
	if first.json["operation"] == nil || first.json["operation"] != again.json["operation"] {
		t.Errorf("operations %s and %s", first.text, again.text)
	}
	s.wantError(s.do("PUT", path+"?accepts_incomplete=true", order), 422, "ConcurrencyError", concurrency)
	s.wantError(s.do("PUT", path+"/service_bindings/b", bindOrder), 422, "ConcurrencyError", concurrency)
	s.Bury(t, "a")
	for range 2 {
		a := s.want(s.do("GET", path+"/last_operation", ""), http.StatusOK)
		if a.json["state"] != "succeeded" {
			t.Errorf("last_operation after the end: %s", a.text)
		}
	}
	s.want(s.do("DELETE", path+"?accepts_incomplete=true&"+ids, ""), http.StatusGone)
}

func TestDeleteOf2014(t *testing.T) {
	s := newStage(t, false)
	bare := header("X-Broker-API-Version", "")
	form := header("Content-Type", "application/x-www-form-urlencoded")
	s.want(s.do("PUT", "/v2/service_instances/a", ids, bare, form), http.StatusAccepted)
	s.Succeed(t, "a")
	s.want(s.do("PUT", "/v2/service_instances/a/service_bindings/b", ids, bare, form), http.StatusCreated)
	s.want(s.do("DELETE", "/v2/service_instances/a/service_bindings/b", "", bare), http.StatusOK)
	s.want(s.do("DELETE", "/v2/service_instances/a/service_bindings/b", "", bare), http.StatusGone)
	s.want(s.do("DELETE", "/v2/service_instances/a?service_id=x", "", bare), http.StatusBadRequest)
	s.want(s.do("DELETE", "/v2/service_instances/a?accepts_incomplete=false", "", bare), 422)
	s.want(s.do("DELETE", "/v2/service_instances/a", "", bare), http.StatusAccepted)
}

func TestUpdate(t *testing.T) {
	s := newStage(t, true)
	const path = "/v2/service_instances/a"
	change := func(more string) string { return `{"service_id": "` + scene.Service + `"` + more + `}` }
	larger := change(`, "parameters": {"quota_backend_bytes": 33554432}, "previous_values": {"plan_id": "x"}`)
	s.want(s.do("PATCH", path+"?accepts_incomplete=true", larger), http.StatusNotFound)
	s.created("a")
	s.wantError(s.do("PATCH", path+"?accepts_incomplete=true", larger), 422, "ConcurrencyError", concurrency)
	s.Succeed(t, "a")
	for body, status := range map[string]int{
		`{}`:                                             400,
		`{"service_id": "nope"}`:                         400,
		change(`, "plan_id": "nope"`):                    400,
		change(`, "parameters": {"nope": 1}`):            400,
		change(`, "parameters": 1`):                      400,
		change(`, "plan_id": "` + scene.OtherPlan + `"`): 400,
		change(`, "plan_id": "` + scene.OneServer + `"`): 200, // it has it
		change(`, "context": {"instance_name": "new"}`):  200,
	} {
		s.want(s.do("PATCH", path+"?accepts_incomplete=true", body), status)
	}
	s.wantError(s.do("PATCH", path, larger), 422, "AsyncRequired", "This service plan requires client support for asynchronous service operations.")
	a := s.want(s.do("PATCH", path+"?accepts_incomplete=true", change(`, "maintenance_info": {"version": "9.9.9"}`)), 422)
	if a.json["error"] != "MaintenanceInfoConflict" {
		t.Errorf("maintenance_info: %s", a.text)
	}
	s.want(s.do("GET", path, ""), http.StatusOK)

	first := s.want(s.do("PATCH", path+"?accepts_incomplete=true", larger), http.StatusAccepted)
	again := s.want(s.do("PATCH", path+"?accepts_incomplete=true", larger), http.StatusAccepted)
	if first.json["operation"] == "" || again.json["operation"] != first.json["operation"] {
		t.Errorf("the same request again: %s, first %s", again.text, first.text)
	}
	s.wantError(s.do("PATCH", path+"?accepts_incomplete=true", change(`, "parameters": {"prefix": "/x"}`)), 422, "ConcurrencyError", concurrency)
	s.wantError(s.do("GET", path, ""), 422, "ConcurrencyError", concurrency)
	s.wantError(s.do("PUT", path+"/service_bindings/b", bindOrder), 422, "ConcurrencyError", concurrency)
	s.FailUpdate(t, "a", "The infrastructure could not do it", serviceforge.Aftermath{Unrepeatable: true})
	a = s.want(s.do("GET", path+"/last_operation?operation="+first.json["operation"].(string), ""), http.StatusOK)
	if a.json["state"] != "failed" || a.json["instance_usable"] != true || a.json["update_repeatable"] != false {
		t.Errorf("failed: %s", a.text)
	}
	if a := s.want(s.do("GET", path, ""), http.StatusOK); a.json["parameters"] != nil {
		t.Errorf("a failed update changed the parameters: %s", a.text)
	}
}

func TestNothingSecretIsLogged(t *testing.T) {
	s := newStage(t, true)
	secret := func(body string) string {
		return strings.TrimSuffix(body, "}") + `, "context": {"token": "hunter2"}, "parameters": {"nope": "hunter2", "hunter2": 1}}`
	}
	s.want(s.do("PUT", "/v2/service_instances/a?accepts_incomplete=true", secret(order)), http.StatusBadRequest)
	s.want(s.do("PUT", "/v2/service_instances/a", secret(order)), 422)
	s.created("a")
	s.Succeed(t, "a")
	s.want(s.do("PUT", "/v2/service_instances/a/service_bindings/b", secret(bindOrder)), http.StatusBadRequest)
	made := s.want(s.do("PUT", "/v2/service_instances/a/service_bindings/b", bindOrder, header("X-Broker-API-Request-Identity", "request-77")), http.StatusCreated)
	s.want(s.do("PATCH", "/v2/service_instances/a", secret(order)), 400)
	s.do("GET", "/v2/catalog", "", user("cc", "wrong-hunter2"))
	s.server.Close() // waits for the last line
	log := s.log.String()
	password := made.json["credentials"].(map[string]any)["password"].(string)
	for _, word := range []string{"hunter2", password, "secret\"", "Basic "} {
		if word != "" && strings.Contains(log, word) {
			t.Errorf("%q is in the log:\n%s", word, log)
		}
	}
	for _, line := range []string{"method=PUT", "status=201", "instance_id=a", "binding_id=b", "request_id=request-77", "platform=cc"} {
		if !strings.Contains(log, line) {
			t.Errorf("%q is not in the log:\n%s", line, log)
		}
	}
}
