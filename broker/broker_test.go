package broker_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/broker"
	"github.com/serviceforge/serviceforge/spec/osb/scene"
)

// stage is a broker on a real engine, served over HTTP.
type stage struct {
	*scene.Scene
	t      *testing.T
	server *httptest.Server
	broker *broker.Broker
	log    *logBook
}

// logBook collects log lines of all levels.
type logBook struct {
	mu  sync.Mutex
	out bytes.Buffer
}

func (l *logBook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.Write(p)
}

func (l *logBook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.String()
}

func newStage(t *testing.T, strict bool) *stage {
	t.Helper()
	s := &stage{Scene: scene.New(t), t: t, log: &logBook{}}
	s.broker = broker.New(broker.Options{
		Engine:  s.Engine,
		Catalog: s.Catalog,
		Credentials: []broker.Credential{
			{Name: "cc", Username: "cc", Password: serviceforge.NewSecret("secret")},
			{Name: "k8s", Username: "kube", Password: serviceforge.NewSecret("other-secret")},
		},
		RequireAPIVersion: strict,
		DashboardURL:      func(id string) string { return "http://broker.example/service_instances/" + id },
		Log:               slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	s.server = httptest.NewServer(s.broker)
	t.Cleanup(s.server.Close)
	return s
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	text   string
	json   map[string]any
}

// edit changes a request before it is sent.
type edit func(*http.Request)

func header(name, value string) edit {
	return func(r *http.Request) {
		if value == "" {
			r.Header.Del(name)
			return
		}
		r.Header.Set(name, value)
	}
}

func user(name, password string) edit {
	return func(r *http.Request) { r.SetBasicAuth(name, password) }
}

// do sends a request as a strict platform would, unless edits say otherwise.
// path is sent as it is.
func (s *stage) do(method, path, body string, edits ...edit) answer {
	s.t.Helper()
	var content io.Reader
	if body != "" {
		content = strings.NewReader(body)
	}
	r, err := http.NewRequest(method, s.server.URL, content)
	if err != nil {
		s.t.Fatal(err)
	}
	r.URL.Opaque = path // keeps the escaping, "..", "//"
	if before, query, found := strings.Cut(path, "?"); found {
		r.URL.Opaque, r.URL.RawQuery = before, query
	}
	r.SetBasicAuth("cc", "secret")
	r.Header.Set("X-Broker-API-Version", "2.17")
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, e := range edits {
		e(r)
	}
	response, err := s.server.Client().Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	a := answer{status: response.StatusCode, header: response.Header, text: string(text)}
	if len(text) > 0 {
		if err := json.Unmarshal(text, &a.json); err != nil {
			s.t.Fatalf("%s %s: %d: the body is no JSON object: %q", method, path, a.status, text)
		}
		if got := response.Header.Get("Content-Type"); got != "application/json" {
			s.t.Errorf("%s %s: Content-Type %q", method, path, got)
		}
	}
	return a
}

// want checks the status, and that an error has a description fit to read.
func (s *stage) want(a answer, status int) answer {
	s.t.Helper()
	if a.status != status {
		s.t.Fatalf("status %d, want %d: %s", a.status, status, a.text)
	}
	if status >= 400 && status != http.StatusGone && a.text != "" {
		if d, _ := a.json["description"].(string); strings.TrimSpace(d) == "" {
			s.t.Errorf("status %d without a description: %s", status, a.text)
		}
	}
	return a
}

const order = `{"service_id": "` + scene.Service + `", "plan_id": "` + scene.OneServer + `",
	"organization_guid": "org", "space_guid": "space"}`

const bindOrder = `{"service_id": "` + scene.Service + `", "plan_id": "` + scene.OneServer + `"}`

const ids = "service_id=" + scene.Service + "&plan_id=" + scene.OneServer

// created makes an instance over HTTP.
func (s *stage) created(id string) answer {
	s.t.Helper()
	return s.want(s.do("PUT", "/v2/service_instances/"+id+"?accepts_incomplete=true", order), http.StatusAccepted)
}

// stored says whether anything is stored.
func (s *stage) stored() int { return len(s.Store.Summaries()) }
