package dashboard_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/dashboard"
	"github.com/serviceforge/serviceforge/orchestrator"
	"github.com/serviceforge/serviceforge/spec/osb/scene"
)

const browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

type stage struct {
	*scene.Scene
	t      *testing.T
	server *httptest.Server
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{Scene: scene.New(t), t: t}
	s.server = httptest.NewServer(dashboard.New(dashboard.Options{
		Engine: s.Engine,
		Authenticate: func(r *http.Request) (string, bool) {
			name, password, _ := r.BasicAuth()
			return name, password == "secret"
		},
	}))
	t.Cleanup(s.server.Close)
	return s
}

func (s *stage) create(id string) {
	s.t.Helper()
	_, err := s.Engine.Provision(s.t.Context(), orchestrator.ProvisionRequest{
		Caller: serviceforge.Caller{Platform: "cc"}, InstanceID: id, ServiceID: scene.Service, PlanID: scene.ThreeServers,
		OrganizationGUID: "o", SpaceGUID: "s", AcceptsIncomplete: true, Parameters: []byte(`{"prefix": "/pst-secret"}`),
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) get(method, escapedID, accept, user, password string) (int, http.Header, string) {
	s.t.Helper()
	r, err := http.NewRequest(method, s.server.URL, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	r.URL.Opaque = "/service_instances/" + escapedID
	r.SetBasicAuth(user, password)
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	response, err := s.server.Client().Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return response.StatusCode, response.Header, string(content)
}

func (s *stage) json(id string) map[string]any {
	s.t.Helper()
	status, header, content := s.get("GET", id, "*/*", "cc", "secret")
	var object map[string]any
	if err := json.Unmarshal([]byte(content), &object); err != nil || status != 200 || header.Get("Content-Type") != "application/json" {
		s.t.Fatalf("%d %v %s: %v", status, header, content, err)
	}
	return object
}

func TestKeysAndStatesOf2014(t *testing.T) {
	s := newStage(t)
	s.create("my-etcd")
	got := s.json("my-etcd")
	for key, want := range map[string]any{
		"service_id": scene.Service, "service_instance_id": "my-etcd", "service_plan_id": scene.ThreeServers,
		"deployment_name": "etcd-my-etcd", "state": "initialized", "infrastructure_network": nil, "latest_bosh_deployment_task_id": nil,
		"busy": true, "service_name": "etcd-dedicated", "plan_name": "3-servers",
	} {
		value, present := got[key]
		if !present || value != want {
			t.Errorf("%s: %v (present: %v), want %v", key, value, present, want)
		}
	}
	s.Deploy(t, "my-etcd")
	if got = s.json("my-etcd"); got["state"] != "deploying" || got["latest_bosh_deployment_task_id"] != "16" {
		t.Errorf("deploying: %v", got)
	}
	s.Succeed(t, "my-etcd")
	got = s.json("my-etcd")
	network, _ := got["infrastructure_network"].(map[string]any)
	if got["state"] != "running" || got["percent"] != 100.0 || network["ip_range_start"] != "127.1.2.3" || got["busy"] != false {
		t.Errorf("running: %v", got)
	}
	s.Fail(t, "my-etcd", "It did not work", "password=operator-only")
	if got = s.json("my-etcd"); got["state"] != "failed_deployment" || got["description"] != "It did not work" {
		t.Errorf("failed: %v", got)
	}
	if _, _, content := s.get("GET", "my-etcd", "", "cc", "secret"); strings.Contains(content, "operator-only") || strings.Contains(content, "pst-secret") {
		t.Errorf("too much is shown: %s", content)
	}
}

func TestPageForBrowsers(t *testing.T) {
	s := newStage(t)
	s.create("%3Cscript%3E<script>alert(1)</script>")
	const id = "%253Cscript%253E%3Cscript%3Ealert(1)%3C%2Fscript%3E"
	status, header, page := s.get("GET", id, browser, "cc", "secret")
	if status != 200 || !strings.HasPrefix(header.Get("Content-Type"), "text/html") {
		t.Fatalf("%d %v %s", status, header, page)
	}
	if strings.Contains(page, "<script>") || !strings.Contains(page, `http-equiv="refresh"`) || !strings.Contains(page, "initialized") {
		t.Errorf("busy page: %s", page)
	}
	if header.Get("Cache-Control") != "no-store" || !strings.Contains(header.Get("Content-Security-Policy"), "default-src 'none'") {
		t.Errorf("headers: %v", header)
	}
	s.create("quiet")
	s.Succeed(t, "quiet")
	_, _, page = s.get("GET", "quiet", browser, "cc", "secret")
	if strings.Contains(page, `http-equiv="refresh"`) || !strings.Contains(page, "127.1.2.3") || !strings.Contains(page, "running") {
		t.Errorf("quiet page: %s", page)
	}
	for _, secret := range []string{"serviceforge-user-password", "pst-secret"} {
		if strings.Contains(page, secret) {
			t.Errorf("%s is on the page", secret)
		}
	}
	if status, _, page = s.get("GET", "nope", browser, "cc", "secret"); status != 404 || !strings.Contains(page, "<html") {
		t.Errorf("unknown: %d %s", status, page)
	}
}

func TestRefusals(t *testing.T) {
	s := newStage(t)
	s.create("mine")
	for _, test := range []struct {
		name, method, id, user, password string
		status                           int
	}{
		{"unknown", "GET", "nope", "cc", "secret", 404},
		{"of another platform", "GET", "mine", "k8s", "secret", 404},
		{"wrong password", "GET", "mine", "cc", "wrong", 401},
		{"changing", "DELETE", "mine", "cc", "secret", 405},
		{"deeper", "GET", "mine/x", "cc", "secret", 404},
		{"control character", "GET", "a%00", "cc", "secret", 400},
		{"dots", "GET", "%2e%2e", "cc", "secret", 400},
	} {
		status, header, content := s.get(test.method, test.id, "", test.user, test.password)
		var object map[string]any
		if err := json.Unmarshal([]byte(content), &object); err != nil || object["description"] == "" || status != test.status {
			t.Errorf("%s: %d %q", test.name, status, content)
		}
		if test.status == 401 && header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: no WWW-Authenticate", test.name)
		}
	}
}
