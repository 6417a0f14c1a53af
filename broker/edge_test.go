package broker_test

import (
	"bytes"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge/catalog"
	"github.com/serviceforge/serviceforge/spec/osb/scene"
)

func TestAuthentication(t *testing.T) {
	s := newStage(t, true)
	for _, path := range []string{"/v2/catalog", "/v2/service_instances/a", "/v2/service_instances/a/last_operation", "/v2/nothing"} {
		for _, test := range []struct {
			name string
			as   edit
		}{
			{"no header", header("Authorization", "")},
			{"wrong user", user("dd", "secret")},
			{"wrong password", user("cc", "Secret")},
			{"empty password", user("cc", "")},
			{"password of another platform", user("cc", "other-secret")},
			{"other scheme", header("Authorization", "Bearer secret")},
			{"undecodable", header("Authorization", "Basic !!!")},
		} {
			a := s.want(s.do("GET", path, "", test.as, header("X-Broker-API-Request-Identity", "r-1")), http.StatusUnauthorized)
			if !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Basic ") {
				t.Errorf("%s: no WWW-Authenticate", test.name)
			}
			if a.header.Get("X-Broker-API-Request-Identity") != "r-1" {
				t.Errorf("%s: the request identity is not echoed", test.name)
			}
		}
	}
	s.want(s.do("GET", "/v2/catalog", "", user("kube", "other-secret")), http.StatusOK)
}

func TestVersionHeader(t *testing.T) {
	strict, lenient := newStage(t, true), newStage(t, false)
	for _, test := range []struct {
		version         string
		strict, lenient int
	}{
		{"", 412, 200},
		{"2.0", 200, 200},
		{"2.17", 200, 200},
		{"2.99", 200, 200},
		{"1.0", 412, 412},
		{"3.0", 412, 412},
		{"20.1", 412, 412},
		{"2", 412, 412},
		{"2.x", 412, 412},
		{"2.17; drop", 412, 412},
		{"-2.1", 412, 412},
	} {
		for _, path := range []string{"/v2/catalog", "/v2/service_instances/a/last_operation"} {
			for _, c := range []struct {
				s    *stage
				want int
			}{{strict, test.strict}, {lenient, test.lenient}} {
				want := c.want
				if want == http.StatusOK && path != "/v2/catalog" {
					want = http.StatusNotFound
				}
				c.s.want(c.s.do("GET", path, "", header("X-Broker-API-Version", test.version)), want)
			}
		}
	}
}

func TestCatalogIsEncodedOnceAndAgainWhenItChanges(t *testing.T) {
	s := newStage(t, true)
	first := s.want(s.do("GET", "/v2/catalog", ""), http.StatusOK)
	services, _ := first.json["services"].([]any)
	if len(services) != 2 {
		t.Fatalf("want two services: %s", first.text)
	}
	etcd, _ := services[0].(map[string]any)
	if etcd["id"] != scene.Service || etcd["plan_updateable"] != true || etcd["bindable"] != true {
		t.Errorf("etcd-dedicated: %v", etcd)
	}
	etag := first.header.Get("ETag")
	if etag == "" {
		t.Fatal("no ETag")
	}
	if a := s.do("GET", "/v2/catalog", "", header("If-None-Match", "W/"+etag)); a.status != http.StatusNotModified || a.text != "" {
		t.Errorf("If-None-Match: %d %q", a.status, a.text)
	}
	changed, err := catalog.New([]catalog.Offering{{ID: "n", Name: "new", Description: "d", DeploymentNamePrefix: "n",
		Plans: []catalog.Plan{{ID: "p", Name: "p", Description: "d"}}}})
	if err != nil {
		t.Fatal(err)
	}
	s.Menu = changed
	second := s.want(s.do("GET", "/v2/catalog", "", header("If-None-Match", etag)), http.StatusOK)
	if !strings.Contains(second.text, `"name":"new"`) || second.header.Get("ETag") == etag {
		t.Errorf("the catalog has not changed: %s", second.text)
	}
}

func TestBodiesThatAreRefused(t *testing.T) {
	s := newStage(t, true)
	with := func(field string) string { return strings.TrimSuffix(order, "}") + "," + field + "}" }
	for _, test := range []struct {
		name, body string
		status     int
		says       string
	}{
		{"no JSON", "{", 400, "not JSON"},
		{"garbage", "hello", 400, "not JSON"},
		{"two documents", order + order, 400, "not JSON"},
		{"array", "[]", 400, "not a JSON object"},
		{"null", "null", 400, "not a JSON object"},
		{"string", `"x"`, 400, "not a JSON object"},
		{"wrong type", `{"service_id": 4711}`, 400, `"service_id"`},
		{"wrong plan type", `{"service_id": "s", "plan_id": ["secret"]}`, 400, `"plan_id"`},
		{"parameters are a string", with(`"parameters": "top-secret"`), 400, `"parameters"`},
		{"parameters are an array", with(`"parameters": [1]`), 400, `"parameters"`},
		{"context is a number", with(`"context": 1`), 400, `"context"`},
		{"not UTF-8", "{\"service_id\": \"\xff\"}", 400, "UTF-8"},
		{"a name twice", with(`"service_id": "` + scene.Service + `"`), 400, `"service_id" stands twice`},
		{"a name twice, spelled in two ways", with(`"service\u005fid": "x"`), 400, `"service_id" stands twice`},
		{"a parameter twice", with(`"parameters": {"prefix": "/x", "prefix": "/y"}`), 400, `"prefix" stands twice`},
		{"a name twice in a list of the context", with(`"context": {"a": [1, {"b": "b", "c": {"d": 1}, "b": 1}]}`), 400, `"b" stands twice`},
		{"a number beyond any", with(`"parameters": {"snapshot_count": 1e400}`), 400, "parameters holds a number that is too large"},
		{"no service", `{"plan_id": "p"}`, 400, "service_id"},
		{"no plan", `{"service_id": "` + scene.Service + `"}`, 400, "plan_id"},
		{"unknown service", strings.Replace(order, scene.Service, "nope", 1), 400, `unknown service "nope"`},
		{"unknown plan", strings.Replace(order, scene.OneServer, "nope", 1), 400, `unknown plan "nope" of service etcd-dedicated`},
		{"plan of another service", strings.Replace(order, scene.OneServer, scene.OtherPlan, 1), 400, scene.OtherPlan},
		{"no organization", strings.Replace(order, `"organization_guid": "org"`, `"organization_guid": ""`, 1), 400, "organization_guid"},
		{"no space", strings.Replace(order, `"space_guid": "space"`, `"x": ""`, 1), 400, "space_guid"},
		{"unknown parameter", with(`"parameters": {"nope": 1}`), 400, "nope"},
		{"maintenance", with(`"maintenance_info": {"version": "9.9.9"}`), 422, "is 1.0.0 in the catalog"},
		{"too large", with(`"x": "` + strings.Repeat("y", 128<<10) + `"`), 413, "128 KiB"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s.t = t
			a := s.want(s.do("PUT", "/v2/service_instances/a?accepts_incomplete=true", test.body), test.status)
			if d, _ := a.json["description"].(string); !strings.Contains(d, test.says) {
				t.Errorf("%q does not say %q", d, test.says)
			}
		})
	}
	if s.stored() != 0 {
		t.Error("something was stored")
	}
	if strings.Contains(s.log.String(), "top-secret") {
		t.Error("a parameter is in the log")
	}
}

func TestBodiesThatAreTaken(t *testing.T) {
	s := newStage(t, true)
	for name, edits := range map[string][]edit{
		"plain":         nil,
		"charset":       {header("Content-Type", "application/json; charset=utf-8")},
		"no type":       {header("Content-Type", "")},
		"curl -d":       {header("Content-Type", "application/x-www-form-urlencoded")},
		"vendor fields": {header("Content-Type", "application/vnd.platform+json")},
	} {
		body := strings.TrimSuffix(order, "}") + `, "vendor": [1], "context": {"platform": "x", "more": {}}, "parameters": null}`
		id := strings.ReplaceAll(name, " ", "-")
		s.want(s.do("PUT", "/v2/service_instances/"+id+"?accepts_incomplete=true", body, edits...), http.StatusAccepted)
	}
	s.want(s.do("PUT", "/v2/service_instances/xml?accepts_incomplete=true", order, header("Content-Type", "text/xml")), http.StatusBadRequest)
}

// What is spelled otherwise than OSB's fields is a vendor's: it passes, and says
// nothing (spec/osb/checklist.md 1).
func TestFieldsOfVendorsThatLookLikeOurs(t *testing.T) {
	s := newStage(t, true)
	vendors := func(body string) string {
		return strings.TrimSuffix(body, "}") + `, "SERVICE_ID": "x", "Plan_Id": 1, "Parameters": {"nope": 1}, "Context": [], "App_Guid": "x",
			"\u017fervice_id": "x", "maintenance_info": {"Version": "9.9.9", "x": 1}, "bind_resource": {"app_guid": "a", "App_guid": 1},
			"previous_values": {"Plan_id": 1}, "Predecessor_Binding_Id": 1}`
	}
	s.want(s.do("PUT", "/v2/service_instances/a?accepts_incomplete=true", vendors(order)), http.StatusAccepted)
	s.Succeed(t, "a")
	s.want(s.do("PUT", "/v2/service_instances/a?accepts_incomplete=true", order), http.StatusOK) // it was the same order
	s.want(s.do("PATCH", "/v2/service_instances/a?accepts_incomplete=true", vendors(`{"service_id": "`+scene.Service+`"}`)), http.StatusOK)
	bindApp := strings.TrimSuffix(bindOrder, "}") + `, "bind_resource": {"app_guid": "a"}}`
	s.want(s.do("PUT", "/v2/service_instances/a/service_bindings/b", vendors(bindOrder)), http.StatusCreated)
	s.want(s.do("PUT", "/v2/service_instances/a/service_bindings/b", bindApp), http.StatusOK)
	a := s.want(s.do("PUT", "/v2/service_instances/a/service_bindings/c", strings.TrimSuffix(bindOrder, "}")+`, "bind_resource": "x"}`), http.StatusBadRequest)
	if !strings.Contains(a.text, `\"bind_resource\" in the request body`) {
		t.Errorf("told: %s", a.text)
	}
	a = s.want(s.do("PUT", "/v2/service_instances/a/service_bindings/c", strings.TrimSuffix(bindOrder, "}")+`, "bind_resource": {"route": "a.example.com"}}`), http.StatusBadRequest)
	if !strings.Contains(a.text, "does not require route_forwarding") {
		t.Errorf("told: %s", a.text)
	}
}

func TestIDs(t *testing.T) {
	s := newStage(t, true)
	long := strings.Repeat("x", 255)
	for _, test := range []struct {
		escaped, id string // id "" = refused
	}{
		{"plain", "plain"},
		{"a%2Fb", "a/b"},
		{"a%252Fb", "a%2Fb"},
		{"with%20space", "with space"},
		{"plus+plus", "plus+plus"},
		{"%C3%BCml%C3%A4ut", "ümläut"},
		{"..%2F..%2Fetc%2Fpasswd", "../../etc/passwd"},
		{"%22%3Cb%3E", `"<b>`},
		{long, long},
		{long + "x", ""},
		{strings.Repeat("y", 500), ""},
		{"..", ""},
		{"%2E%2E", ""},
		{".", ""},
		{"a%00b", ""},
		{"a%0Ab", ""},
		{"%7F", ""},
		{"a%C2%85b", ""}, // a line feed to some terminals
		{"%FF", ""},
		{"", ""},
	} {
		path := "/v2/service_instances/" + test.escaped
		if test.id == "" {
			for _, r := range []struct{ method, path, body string }{
				{"PUT", path + "?accepts_incomplete=true", order},
				{"DELETE", path + "?accepts_incomplete=true&" + ids, ""},
				{"GET", path, ""},
				{"PATCH", path, order},
				{"GET", path + "/last_operation", ""},
				{"PUT", path + "/service_bindings/b", bindOrder},
				{"PUT", "/v2/service_instances/ok/service_bindings/" + test.escaped, bindOrder},
				{"GET", "/v2/service_instances/ok/service_bindings/" + test.escaped, ""},
				{"DELETE", "/v2/service_instances/ok/service_bindings/" + test.escaped + "?" + ids, ""},
				{"GET", "/v2/service_instances/ok/service_bindings/" + test.escaped + "/last_operation", ""},
			} {
				a := s.do(r.method, r.path, r.body)
				if a.status != http.StatusBadRequest && (test.escaped != "" || a.status != http.StatusNotFound) {
					t.Errorf("%s %.60q: %d %s", r.method, r.path, a.status, a.text)
				}
			}
			continue
		}
		s.want(s.do("PUT", path+"?accepts_incomplete=true", order), http.StatusAccepted)
		if _, err := s.Store.Instance(t.Context(), test.id); err != nil {
			t.Errorf("%s did not become %q: %v", test.escaped, test.id, err)
		}
		s.want(s.do("GET", path+"/last_operation", ""), http.StatusOK)
		s.want(s.do("DELETE", path+"?accepts_incomplete=true&"+ids, ""), http.StatusAccepted)
	}
	// legal, but templates may write it into manifests, where it would be a reference
	s.want(s.do("PUT", "/v2/service_instances/%28%28grab%29%29?accepts_incomplete=true", order), http.StatusBadRequest)
	if s.stored() != 9 {
		t.Errorf("%d instances, want the nine that are legal and distinct", s.stored())
	}
}

func TestUnknownPathsAndMethods(t *testing.T) {
	s := newStage(t, true)
	s.want(s.do("GET", "/v2/nothing", ""), http.StatusNotFound)
	s.want(s.do("GET", "/v2/service_instances/a/b/c", ""), http.StatusNotFound)
	a := s.want(s.do("POST", "/v2/service_instances/a", order), http.StatusMethodNotAllowed)
	if a.header.Get("Allow") != "GET, PUT, PATCH, DELETE" {
		t.Errorf("Allow: %q", a.header.Get("Allow"))
	}
	s.want(s.do("DELETE", "/v2/catalog", ""), http.StatusMethodNotAllowed)
}

func TestStrangeIdentitiesDoNoHarm(t *testing.T) {
	s := newStage(t, true)
	for _, identity := range []string{
		"cloudfoundry eyJ1c2VyX2lkIjogIjEifQ==", "cloudfoundry", "cloudfoundry !!!", "cloudfoundry W10=",
		"cloudfoundry bnVsbA==", " ", "kubernetes " + strings.Repeat("A", 20000),
	} {
		s.want(s.do("PUT", "/v2/service_instances/a?accepts_incomplete=true", order,
			header("X-Broker-API-Originating-Identity", identity)), http.StatusAccepted)
	}
	i, err := s.Store.Instance(t.Context(), "a")
	if err != nil || i.Operation.Identity != "cloudfoundry eyJ1c2VyX2lkIjogIjEifQ==" || i.Operation.Actor != "platform cc" {
		t.Errorf("identity %q, actor %q, %v", i.Operation.Identity, i.Operation.Actor, err)
	}
}

func TestMountedBehindAnotherRouter(t *testing.T) {
	s := newStage(t, true)
	outer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.broker.ServeHTTP(w, r) })
	server := httptest.NewServer(outer)
	defer server.Close()
	s.server = server
	s.created("a%2Fb")
	s.want(s.do("GET", "/v2/service_instances/a%2Fb/last_operation", ""), http.StatusOK)
}

func TestForms(t *testing.T) {
	s := newStage(t, true)
	multi := func(fields ...string) (string, edit) {
		var b bytes.Buffer
		w := multipart.NewWriter(&b)
		for i := 0; i < len(fields); i += 2 {
			_ = w.WriteField(fields[i], fields[i+1])
		}
		_ = w.Close()
		return b.String(), header("Content-Type", w.FormDataContentType())
	}
	body, form := multi("service_id", scene.Service, "plan_id", scene.OneServer)
	urlForm := header("Content-Type", "application/x-www-form-urlencoded")
	s.want(s.do("PUT", "/v2/service_instances/m", body, form), http.StatusAccepted)
	s.want(s.do("PUT", "/v2/service_instances/u", ids, urlForm), http.StatusAccepted)
	for _, id := range []string{"m", "u"} {
		i, err := s.Store.Instance(t.Context(), id)
		if err != nil || i.OrganizationGUID != "default" || i.SpaceGUID != "default" {
			t.Errorf("%s: %q %q %v", id, i.OrganizationGUID, i.SpaceGUID, err)
		}
	}
	// The same order, said in JSON, is the same order.
	s.want(s.do("PUT", "/v2/service_instances/m?accepts_incomplete=true",
		strings.NewReplacer(`"org"`, `"default"`, `"space"}`, `"default"}`).Replace(order)), http.StatusAccepted)

	body, form = multi("service_id", scene.Service, "plan_id", scene.OneServer, "organization_guid", "o", "space_guid", "s",
		"parameters", `{"prefix": "/x"}`)
	s.want(s.do("PUT", "/v2/service_instances/p", body, form), http.StatusAccepted)
	i, err := s.Store.Instance(t.Context(), "p")
	if err != nil || i.OrganizationGUID != "o" || i.Parameters.Reveal() != `{"prefix":"/x"}` {
		t.Errorf("%q %v %v", i.OrganizationGUID, i.Parameters.Reveal(), err)
	}

	for name, fields := range map[string][]string{
		"nothing":            {},
		"no plan":            {"service_id", scene.Service},
		"unknown plan":       {"service_id", scene.Service, "plan_id", "nope"},
		"parameters no JSON": {"service_id", scene.Service, "plan_id", scene.OneServer, "parameters", "{"},
		"parameters a list":  {"service_id", scene.Service, "plan_id", scene.OneServer, "parameters", "[]"},
	} {
		body, form := multi(fields...)
		if a := s.do("PUT", "/v2/service_instances/bad", body, form); a.status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, a.status, a.text)
		}
	}
	s.want(s.do("PUT", "/v2/service_instances/bad", "no multipart", header("Content-Type", "multipart/form-data; boundary=x")), http.StatusBadRequest)
	s.want(s.do("PUT", "/v2/service_instances/bad", "no multipart", header("Content-Type", "multipart/form-data")), http.StatusBadRequest)
	s.want(s.do("PUT", "/v2/service_instances/bad", "a=%zz", urlForm), http.StatusBadRequest)
	body, form = multi("service_id", scene.Service, "plan_id", scene.OneServer, "x", strings.Repeat("y", 128<<10))
	s.want(s.do("PUT", "/v2/service_instances/bad", body, form), http.StatusRequestEntityTooLarge)
}
