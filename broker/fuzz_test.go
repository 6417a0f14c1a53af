package broker_test

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/broker"
	"github.com/serviceforge/serviceforge/spec/osb/scene"
)

// fuzzed is a broker that is sent anything; "there" is a running instance.
type fuzzed struct {
	*scene.Scene
	broker *broker.Broker
}

func newFuzzed(f *testing.F) *fuzzed {
	s := &fuzzed{Scene: scene.New(f)}
	s.broker = broker.New(broker.Options{Engine: s.Engine, Catalog: s.Catalog, RequireAPIVersion: true,
		Credentials: []broker.Credential{{Name: "cc", Username: "cc", Password: serviceforge.NewSecret("secret")}}})
	if a := s.send(f, "PUT", "/there?accepts_incomplete=true", order, nil); a.Code != http.StatusAccepted {
		f.Fatalf("%d %s", a.Code, a.Body)
	}
	s.Succeed(f, "there")
	return s
}

// send serves one request to a path below /v2/service_instances, which may be
// no path at all, and checks what holds for every answer: it is JSON, it is no
// server error, and what is refused leaves the store as it was.
func (s *fuzzed) send(t testing.TB, method, path, body string, header http.Header) *httptest.ResponseRecorder {
	t.Helper()
	before := s.Revision(t)
	path, query, _ := strings.Cut("/v2/service_instances"+path, "?")
	request := httptest.NewRequest(method, "http://broker.example/", strings.NewReader(body))
	unescaped, err := url.PathUnescape(path)
	if err != nil {
		return nil // a server gets no such request: net/http refuses it
	}
	request.URL = &url.URL{Path: unescaped, RawPath: path, RawQuery: query}
	request.SetBasicAuth("cc", "secret")
	request.Header.Set("X-Broker-API-Version", "2.17")
	for name, values := range header {
		request.Header[name] = values
	}
	a := httptest.NewRecorder()
	s.broker.ServeHTTP(a, request)
	if a.Code >= http.StatusInternalServerError || a.Code < 200 || !json.Valid(a.Body.Bytes()) {
		t.Errorf("%s %q %q %v: %d %s", method, path, body, header, a.Code, a.Body)
	}
	if a.Code >= http.StatusBadRequest && s.Revision(t) != before {
		t.Errorf("%s %q %q %v: %d %s, but something was stored", method, path, body, header, a.Code, a.Body)
	}
	return a
}

// clear forgets what was accepted, so that the store does not fill up.
func (s *fuzzed) clear(t testing.TB) {
	for _, i := range s.Store.Summaries() {
		if i.ID != "there" {
			s.Bury(t, i.ID)
		}
	}
}

// FuzzBody sends anything as body and Content-Type to everything that takes one.
func FuzzBody(f *testing.F) {
	for _, seed := range []struct{ media, body string }{
		{"application/json", order},
		{"application/json; charset=utf-8", strings.TrimSuffix(order, "}") + `, "parameters": {"prefix": "/x"}, "maintenance_info": {"version": "1.0.0"}}`},
		{"", bindOrder},
		{"application/json", strings.TrimSuffix(bindOrder, "}") + `, "bind_resource": {"app_guid": "a", "route": 1}, "app_guid": null}`},
		{"application/json", `{"predecessor_binding_id": "b", "service_id": null}`},
		{"application/json", `{"service_id": {"a": [null]}, "service_id": "x"}`},
		{"application/json", `{"service_id": "` + scene.Service + `", "previous_values": {"plan_id": 1}, "parameters": {"a": 1e999}}`},
		{"application/x-www-form-urlencoded", ids + "&parameters=%7B%7D"},
		{"application/x-www-form-urlencoded", `{"curl": "-d"}`},
		{"multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"plan_id\"\r\n\r\np\r\n--x--"},
		{"multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"context\"; filename=\"f\"\r\n\r\n{}\r\n--x--\r\n"},
		{"text/plain", "x"}, {";", "\xff"}, {"application/json", strings.Repeat("[", 20000)},
	} {
		f.Add(seed.media, seed.body)
	}
	s := newFuzzed(f)
	f.Fuzz(func(t *testing.T, media, body string) {
		header := http.Header{"Content-Type": {media}}
		s.send(t, "PUT", "/new?accepts_incomplete=true", body, header)
		s.send(t, "PATCH", "/there", body, header)
		s.send(t, "PUT", "/there/service_bindings/b?accepts_incomplete=true", body, header)
		s.send(t, "DELETE", "/new/service_bindings/b", body, header)
		s.send(t, "DELETE", "/nothing", body, header)
		s.clear(t)
	})
}

// FuzzDocuments sends anything as context, parameters and bind_resource within
// bodies that are correct otherwise.
func FuzzDocuments(f *testing.F) {
	for _, document := range []string{
		`{}`, `null`, `[]`, `"x"`, `{"platform": "cloudfoundry", "organization_guid": 1}`, `{"a": "((b))"}`, `{"a": {"((b))": 1}}`,
		`{"prefix": "/x"}`, `{"prefix": "\u0000"}`, `{"quota_backend_bytes": 1e400}`, `{"quota_backend_bytes": 18446744073709551616}`,
		`{"auto_compaction": {"mode": "periodic", "retention": "1h"}}`, strings.Repeat(`{"a":`, 3000) + "1" + strings.Repeat("}", 3000),
		`{"a": "` + strings.Repeat("x", 65<<10) + `"}`, `{"platform": "kubernetes", "namespace": "n", "clusterid": "c", "instance_annotations": {"a": "b"}}`,
	} {
		f.Add(document)
	}
	s := newFuzzed(f)
	f.Fuzz(func(t *testing.T, document string) {
		for _, field := range []string{"context", "parameters", "bind_resource"} {
			with := func(body string) string {
				return strings.TrimSuffix(body, "}") + `, "` + field + `": ` + document + "}"
			}
			s.send(t, "PUT", "/new?accepts_incomplete=true", with(order), nil)
			s.send(t, "PATCH", "/there", with(bindOrder), nil)
			s.send(t, "PUT", "/there/service_bindings/b", with(bindOrder), nil)
		}
		s.clear(t)
	})
}

// FuzzID sends anything as the escaped ids in a path.
func FuzzID(f *testing.F) {
	for _, id := range []string{"a", "a/b", "a%2Fb", "a%252Fb", "..", "%2e%2e", "%00", "%ff", "%", "", "//", ";", "ü", strings.Repeat("x", 256), "a/last_operation"} {
		f.Add(id, "b")
		f.Add("there", id)
	}
	s := newFuzzed(f)
	f.Fuzz(func(t *testing.T, instance, binding string) {
		if strings.ContainsRune(instance+binding, '?') {
			return // a query, which is another target
		}
		path := "/" + instance
		s.send(t, "PUT", path+"?accepts_incomplete=true", order, nil)
		s.send(t, "GET", path, "", nil)
		s.send(t, "GET", path+"/last_operation", "", nil)
		s.send(t, "PUT", path+"/service_bindings/"+binding, bindOrder, nil)
		s.send(t, "GET", path+"/service_bindings/"+binding+"/last_operation", "", nil)
		s.send(t, "DELETE", path+"/service_bindings/"+binding+"?"+ids, "", nil)
		s.clear(t)
	})
}

// FuzzQuery sends anything as query string.
func FuzzQuery(f *testing.F) {
	for _, query := range []string{
		"", ids, "accepts_incomplete=true&" + ids, "accepts_incomplete=TRUE", "operation=x", "operation=%00", "operation=" + strings.Repeat("x", 10001),
		"a=%zz", ";", "&&=", "service_id=a&service_id=b", "plan_id=%ff", "accepts_incomplete=true&service_id=%00&plan_id=%00",
	} {
		f.Add(query)
	}
	s := newFuzzed(f)
	f.Fuzz(func(t *testing.T, query string) {
		for _, r := range []struct{ method, path, body string }{
			{"GET", "/there", ""}, {"GET", "/there/last_operation", ""}, {"GET", "/nothing/last_operation", ""},
			{"GET", "/there/service_bindings/b", ""}, {"GET", "/there/service_bindings/b/last_operation", ""},
			{"PUT", "/new", order}, {"PATCH", "/there", bindOrder}, {"PUT", "/there/service_bindings/b", bindOrder},
			{"DELETE", "/there/service_bindings/b", ""}, {"DELETE", "/nothing", ""},
		} {
			s.send(t, r.method, r.path+"?"+query, r.body, nil)
		}
		s.clear(t)
	})
}

// FuzzHeaders sends anything as what a platform says of itself. An identity is
// kept only where it is a platform and a JSON object in base64.
func FuzzHeaders(f *testing.F) {
	for _, identity := range []string{
		"cloudfoundry eyJ1c2VyX2lkIjogIjEifQ==", "kubernetes e30=", "cloudfoundry", "cloudfoundry !!!", "cloudfoundry W10=", " e30=",
		"cloudfoundry bnVsbA==", strings.Repeat("x", 9000) + " e30=", "a b c",
	} {
		f.Add("2.17", identity, "request-1", "")
	}
	for _, version := range []string{"", "2", "2.x", "-2.1", "2.99", "3.0", "2.9999999999"} {
		f.Add(version, "", "\xff", "Basic Y2M6c2VjcmV0")
	}
	f.Add("2.17", "", "", "Bearer x")
	s := newFuzzed(f)
	f.Fuzz(func(t *testing.T, version, identity, request, authorization string) {
		header := http.Header{
			"X-Broker-Api-Version": {version}, "X-Broker-Api-Originating-Identity": {identity}, "X-Broker-Api-Request-Identity": {request},
		}
		if authorization != "" {
			header["Authorization"] = []string{authorization}
		}
		a := s.send(t, "PUT", "/new?accepts_incomplete=true", order, header)
		s.send(t, "GET", "/there", "", header)
		if a.Code == http.StatusAccepted {
			i, err := s.Store.Instance(t.Context(), "new")
			if err != nil || i.Operation.Identity != "" && !isIdentity(identity) {
				t.Errorf("%q is kept: %v", i.Operation.Identity, err)
			}
		}
		s.clear(t)
	})
}

func isIdentity(value string) bool {
	_, encoded, _ := strings.Cut(value, " ")
	decoder := json.NewDecoder(base64.NewDecoder(base64.StdEncoding, strings.NewReader(encoded)))
	var object map[string]any
	err := decoder.Decode(&object)
	_, rest := decoder.Token()
	return err == nil && object != nil && rest == io.EOF
}
