package broker_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/spec/osb/scene"
)

// TestConformance holds the lines of spec/osb/checklist.md that need plans or
// failures which the service releases of the program do not have. The server,
// the engine and the store are real; no leader runs.
func TestConformance(t *testing.T) {
	s := newStage(t, true)
	s.created("one")
	s.Succeed(t, "one")
	ordered := func(id, plan string) string {
		s.want(s.do("PUT", "/v2/service_instances/"+id+"?accepts_incomplete=true", strings.Replace(order, scene.OneServer, plan, 1)), http.StatusAccepted)
		s.Succeed(t, id)
		return "/v2/service_instances/" + id + "/service_bindings/"
	}
	with := func(plan, more string) string {
		return strings.TrimSuffix(strings.Replace(bindOrder, scene.OneServer, plan, 1), "}") + more + "}"
	}
	five, three := ordered("five", scene.FiveServers), ordered("three", scene.ThreeServers)
	t.Run("106 a plan of another offering", func(t *testing.T) {
		s.t = t
		s.want(s.do("PUT", "/v2/service_instances/x?accepts_incomplete=true", strings.Replace(order, scene.OneServer, scene.OtherPlan, 1)), http.StatusBadRequest)
	})
	t.Run("21,22,164 a plan that is bound to apps only", func(t *testing.T) {
		s.t = t
		s.wantError(s.do("PUT", five+"b", with(scene.FiveServers, "")), 422, "RequiresApp",
			"This service supports generation of credentials through binding an application only.")
		s.want(s.do("PUT", five+"b", with(scene.FiveServers, `, "bind_resource": {"app_guid": "a"}`)), http.StatusCreated)
	})
	t.Run("175 a plan whose bindings are not rotated", func(t *testing.T) {
		s.t = t
		s.want(s.do("PUT", five+"c", `{"predecessor_binding_id": "b"}`), http.StatusBadRequest)
	})
	t.Run("173,174,183 a plan whose bindings end", func(t *testing.T) {
		s.t = t
		now := time.Now()
		a := s.want(s.do("PUT", three+"b", with(scene.ThreeServers, "")), http.StatusCreated)
		again := s.want(s.do("GET", three+"b", ""), http.StatusOK)
		metadata, _ := a.json["metadata"].(map[string]any)
		told, _ := again.json["metadata"].(map[string]any)
		for name, days := range map[string]int{"renew_before": 60, "expires_at": 90} {
			text, _ := metadata[name].(string)
			at, err := time.Parse("2006-01-02T15:04:05.0Z", text)
			if off := at.Sub(now.AddDate(0, 0, days)); err != nil || off.Abs() > time.Hour || told[name] != text || len(metadata) != 2 {
				t.Errorf("%s: %v: %s, then %s", name, err, a.text, again.text)
			}
		}
		if a := s.want(s.do("GET", three+"b", "", header("X-Broker-API-Version", "2.15")), http.StatusOK); a.json["metadata"] != nil {
			t.Errorf("metadata is of 2.16: %s", a.text)
		}
	})
	t.Run("143,144 what a failed update left, and another one", func(t *testing.T) {
		s.t = t
		const path = "/v2/service_instances/one"
		s.want(s.do("PATCH", path+"?accepts_incomplete=true", `{"service_id": "`+scene.Service+`", "parameters": {"prefix": "/x"}}`), http.StatusAccepted)
		s.FailUpdate(t, "one", "It could not be done", serviceforge.Aftermath{Unrepeatable: true, Unusable: true})
		a := s.want(s.do("GET", path+"/last_operation", ""), http.StatusOK)
		if a.json["state"] != "failed" || a.json["instance_usable"] != false || a.json["update_repeatable"] != false {
			t.Errorf("%s", a.text)
		}
		s.want(s.do("PATCH", path+"?accepts_incomplete=true", `{"service_id": "`+scene.Service+`", "parameters": {"prefix": "/y"}}`), http.StatusAccepted)
	})
	t.Run("88,206 what a failed deprovision left", func(t *testing.T) {
		s.t = t
		const path = "/v2/service_instances/one"
		s.want(s.do("DELETE", path+"?accepts_incomplete=true&"+ids, ""), http.StatusAccepted)
		s.Fail(t, "one", "The deletion failed; delete it again", "disk")
		a := s.want(s.do("GET", path+"/last_operation", ""), http.StatusOK)
		if _, said := a.json["instance_usable"].(bool); a.json["state"] != "failed" || !said || a.json["update_repeatable"] != nil {
			t.Errorf("%s", a.text)
		}
		s.want(s.do("DELETE", path+"?accepts_incomplete=true&"+ids, ""), http.StatusAccepted)
	})
	t.Run("10 the log names a request as its platform does", func(t *testing.T) {
		s := newStage(t, true)
		s.want(s.do("PUT", "/v2/service_instances/a?accepts_incomplete=true", order, header("X-Broker-API-Request-Identity", "request-10")), http.StatusAccepted)
		s.server.Close() // waits for the last line
		for line := range strings.Lines(s.log.String()) {
			if strings.Contains(line, "msg=request") && !strings.Contains(line, "request_id=request-10") || !strings.Contains(line, "request-10") {
				t.Errorf("%s", line)
			}
		}
		if !strings.Contains(s.log.String(), "msg=request") {
			t.Error("the request is not in the log")
		}
	})
	t.Run("54,56,57 a plan that says otherwise than its offering", func(t *testing.T) {
		s.t = t
		a := s.want(s.do("GET", "/v2/catalog", ""), http.StatusOK)
		if !strings.Contains(a.text, `"description":"not etcd's","bindable":false,"plan_updateable":false,"maximum_polling_duration":3600`) {
			t.Errorf("%s", a.text)
		}
	})
	t.Run("70,72 a plan whose bindings need no user is bound at once", func(t *testing.T) { // others are polled: spec/osb
		s.t = t
		s.want(s.do("PUT", three+"at-once?accepts_incomplete=true", with(scene.ThreeServers, "")), http.StatusCreated)
	})
	t.Run("86 only a day after the end is a poll 410", func(t *testing.T) {
		s.t = t
		for id, ago := range map[string]time.Duration{"yesterday": 25 * time.Hour, "today": 23 * time.Hour} {
			const path = "/v2/service_instances/"
			s.created(id)
			operation, _ := s.want(s.do("GET", path+id+"/last_operation", ""), http.StatusOK).json["operation"].(string)
			s.want(s.do("DELETE", path+id+"?accepts_incomplete=true&"+ids, ""), http.StatusAccepted)
			s.BuryAgo(t, id, ago)
			want := http.StatusOK
			if id == "yesterday" {
				want = http.StatusGone
			}
			s.want(s.do("GET", path+id+"/last_operation?operation="+operation, ""), want)
		}
	})
	t.Run("107,213 the context of either platform is kept", func(t *testing.T) {
		s.t = t
		for id, context := range map[string]string{
			"cf": `{"platform":"cloudfoundry","organization_guid":"o","organization_name":"n","space_guid":"s","space_name":"n","instance_name":"i",` +
				`"organization_annotations":{"a/b":"c"},"space_annotations":{},"instance_annotations":{}}`,
			"k8s": `{"platform":"kubernetes","namespace":"n","clusterid":"c","instance_name":"i","namespace_annotations":{"a":"b"},"instance_annotations":{}}`,
		} {
			s.want(s.do("PUT", "/v2/service_instances/"+id+"?accepts_incomplete=true", strings.TrimSuffix(order, "}")+`, "context": `+context+"}"), http.StatusAccepted)
			if i, err := s.Store.Instance(t.Context(), id); err != nil || !serviceforge.SameJSON(i.Context.Reveal(), context) {
				t.Errorf("%s: %s, %v", id, i.Context.Reveal(), err)
			}
		}
	})
	t.Run("23,24,89,90 a failed provision leaves nothing to tell", func(t *testing.T) {
		s.t = t
		s.created("failed")
		s.Fail(t, "failed", "No room", "disk")
		a := s.want(s.do("GET", "/v2/service_instances/failed/last_operation", ""), http.StatusOK)
		if a.json["state"] != "failed" || a.json["instance_usable"] != nil || a.json["update_repeatable"] != nil {
			t.Errorf("%s", a.text)
		}
	})
}
