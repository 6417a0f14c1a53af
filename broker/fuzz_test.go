package broker_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/broker"
	"github.com/serviceforge/serviceforge/spec/osb/scene"
)

// FuzzRequest sends anything as id, Content-Type and body: the answer is JSON
// and never a server error.
func FuzzRequest(f *testing.F) {
	for _, seed := range []struct{ id, media, body string }{
		{"a", "application/json", order},
		{"a/b", "", "{}"},
		{"..", "application/x-www-form-urlencoded", ids},
		{"\x00", "multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"plan_id\"\r\n\r\np\r\n--x--"},
		{"ü", "application/json; charset=", `{"service_id": {"a": [null]}}`},
	} {
		f.Add(seed.id, seed.media, seed.body)
	}
	s := scene.New(f)
	b := broker.New(broker.Options{Engine: s.Engine, Catalog: s.Catalog,
		Credentials: []broker.Credential{{Name: "cc", Username: "cc", Password: serviceforge.NewSecret("secret")}}})
	f.Fuzz(func(t *testing.T, id, media, body string) {
		path := "/v2/service_instances/" + url.PathEscape(id)
		for _, r := range []struct{ method, path string }{
			{"PUT", path + "?accepts_incomplete=true"}, {"PATCH", path}, {"DELETE", path},
			{"PUT", path + "/service_bindings/" + url.PathEscape(id)}, {"GET", path + "/last_operation"},
		} {
			request := httptest.NewRequest(r.method, r.path, strings.NewReader(body))
			request.SetBasicAuth("cc", "secret")
			request.Header["Content-Type"] = []string{media}
			answer := httptest.NewRecorder()
			b.ServeHTTP(answer, request)
			if answer.Code >= http.StatusInternalServerError || !json.Valid(answer.Body.Bytes()) {
				t.Errorf("%s %q %q %q: %d %s", r.method, r.path, media, body, answer.Code, answer.Body)
			}
		}
	})
}
