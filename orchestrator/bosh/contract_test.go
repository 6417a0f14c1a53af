package bosh_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator/bosh"
	"github.com/serviceforge/serviceforge/orchestrator/director"
)

// exchange is one recorded request and its answer.
type exchange struct {
	Seq     int               `json:"seq"`
	Method  string            `json:"method"`
	Path    string            `json:"path"`
	Query   string            `json:"query"`
	Sent    map[string]string `json:"request_headers"`
	Body    string            `json:"request_body"`
	Status  int               `json:"status"`
	Headers map[string]string `json:"headers"`
	Answer  string            `json:"body"`
}

func recordings(t *testing.T) map[int]exchange {
	t.Helper()
	content, err := os.ReadFile("testdata/recordings.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	all := map[int]exchange{}
	lines := bufio.NewScanner(bytes.NewReader(content))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e exchange
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		all[e.Seq] = e
	}
	return all
}

// replay is a director that answers one request as recorded, and checks that
// the client asks as the recorded client did.
type replay struct {
	t      *testing.T
	e      exchange
	query  string // what we ask, where the recorded client asked otherwise
	served int
}

func (r *replay) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	r.served++
	if q.Method != r.e.Method || q.URL.Path != r.e.Path {
		r.t.Errorf("asked %s %s, recorded is %s %s", q.Method, q.URL.Path, r.e.Method, r.e.Path)
	}
	recorded := r.query
	if recorded == "" {
		recorded = r.e.Query
	}
	want, err := url.ParseQuery(recorded)
	if err != nil {
		r.t.Error(err)
	}
	if diff := cmp.Diff(want, q.URL.Query()); diff != "" {
		r.t.Errorf("query (-want +got): %s", diff)
	}
	if user, password, ok := q.BasicAuth(); !ok || user != "admin" || password != "secret" {
		r.t.Error("not authenticated")
	}
	for _, name := range []string{"Content-Type", "X-Bosh-Context-Id", "Range"} {
		if want := r.e.Sent[name]; want != "" && q.Header.Get(name) != want {
			r.t.Errorf("header %s is %q, recorded is %q", name, q.Header.Get(name), want)
		}
	}
	if body, _ := io.ReadAll(q.Body); string(body) != r.e.Body {
		r.t.Errorf("body %q", body)
	}
	for name, value := range r.e.Headers {
		if name != "Content-Length" {
			w.Header().Set(name, value)
		}
	}
	w.WriteHeader(r.e.Status)
	_, _ = io.WriteString(w, r.e.Answer)
}

// ask replays one exchange to the client's call.
func ask[T any](t *testing.T, r *replay, call func(ctx context.Context, c *bosh.Client) (T, error)) (T, error) {
	t.Helper()
	server := httptest.NewTLSServer(r)
	defer server.Close()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	c, err := bosh.New(bosh.Options{URL: server.URL, CA: string(ca), Username: "admin", Password: serviceforge.NewSecret("secret")})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	answer, err := call(ctx, c)
	if r.served != 1 {
		t.Errorf("%d requests, want one: the client repeats nothing and follows no redirect", r.served)
	}
	return answer, err
}

type task = director.Task

// contract is what our client makes of each recorded exchange.
func contract(all map[int]exchange) []struct {
	name  string
	seq   int
	query string
	call  func(ctx context.Context, c *bosh.Client) (any, error)
	want  any
	code  serviceforge.Code
} {
	type client = bosh.Client
	none := ""
	return []struct {
		name  string
		seq   int
		query string
		call  func(ctx context.Context, c *bosh.Client) (any, error)
		want  any
		code  serviceforge.Code
	}{
		{"a deploy is a 302 to a task", 416, none, func(ctx context.Context, c *client) (any, error) {
			return c.Deploy(ctx, []byte(all[416].Body), "broker-ctx-1")
		}, 28, ""},
		{"a name that the director does not take", 2144, "none=", func(ctx context.Context, c *client) (any, error) {
			return c.Deploy(ctx, []byte(all[2144].Body), "x")
		}, 0, serviceforge.Unavailable},
		{"a delete is a 302 to a task", 1681, none, func(ctx context.Context, c *client) (any, error) { return c.Delete(ctx, "svc-1", "x") }, 114, ""},
		{"deleting nothing is 404 with code 70000", 1696, none, func(ctx context.Context, c *client) (any, error) { return c.Delete(ctx, "nope", "x") }, 0, serviceforge.NotFound},
		{"an errand is a 302 to a task", 669, none, func(ctx context.Context, c *client) (any, error) {
			return c.RunErrand(ctx, "svc-1", "smoke-tests", nil, "x")
		}, 39, ""},
		{"the exit codes are in the result output", 756, none, func(ctx context.Context, c *client) (any, error) {
			output, err := c.Results(ctx, 44)
			return string(output) == all[756].Answer && strings.Contains(string(output), `"exit_code":3`), err
		}, true, ""},
		{"tasks by context", 417, none, func(ctx context.Context, c *client) (any, error) {
			return c.Tasks(ctx, director.TaskQuery{ContextID: "broker-ctx-1", Limit: 10})
		}, []task{{ID: 28, State: "done", Deployment: "svc-1", ContextID: "broker-ctx-1", Description: "create deployment", Result: "/deployments/svc-1"}}, ""},
		{"no tasks by context", 402, "context_id=ctx-none&verbose=2", func(ctx context.Context, c *client) (any, error) {
			return c.Tasks(ctx, director.TaskQuery{ContextID: "ctx-none"})
		}, []task{}, ""},
		{"unfinished tasks", 400, "state=processing,queued,cancelling&verbose=2", func(ctx context.Context, c *client) (any, error) {
			return c.Tasks(ctx, director.TaskQuery{States: []string{"processing", "queued", "cancelling"}})
		}, []task{}, ""},
		{"tasks of a deployment, newest first", 401, "deployment=svc-1&limit=2&verbose=2", func(ctx context.Context, c *client) (any, error) {
			tasks, err := c.Tasks(ctx, director.TaskQuery{Deployment: "svc-1", Limit: 2})
			return len(tasks) == 2 && tasks[0].ID > tasks[1].ID && tasks[0].Deployment == "svc-1", err
		}, true, ""},
		{"a task", 215, none, func(ctx context.Context, c *client) (any, error) { return c.Task(ctx, 13, 0) },
			task{ID: 13, State: "done", Deployment: "svc-1", Description: "create deployment", Result: "/deployments/svc-1"}, ""},
		{"a cancelled task", 1646, none, func(ctx context.Context, c *client) (any, error) { return c.Task(ctx, 110, 0) },
			task{ID: 110, State: "cancelled", Deployment: "svc-slow3", Description: "create deployment", Result: "task cancelled"}, ""},
		{"a missing task", 403, none, func(ctx context.Context, c *client) (any, error) { return c.Task(ctx, 99999, 0) }, task{}, serviceforge.NotFound},
		{"a task that did not get the lock", 1583, none, func(ctx context.Context, c *client) (any, error) {
			found, err := c.Task(ctx, 107, time.Second)
			return found.State + strings.Repeat(" locked", strings.Count(found.Result, "Failed to acquire lock for lock:deployment:svc-slow")), err
		}, "error locked", ""},
		{"its whole reason is in the events", 1584, none, func(ctx context.Context, c *client) (any, error) {
			events, err := c.Events(ctx, 107, 0)
			return strings.Contains(string(events), `"code":100,"message":"Failed to acquire lock`), err
		}, true, ""},
		{"events from a byte on", 1687, none, func(ctx context.Context, c *client) (any, error) {
			events, err := c.Events(ctx, 114, 0)
			return string(events) == all[1687].Answer && len(events) > 500, err
		}, true, ""},
		{"no new events is 416", 411, none, func(ctx context.Context, c *client) (any, error) {
			events, err := c.Events(ctx, 13, 999999)
			return len(events), err
		}, 0, ""},
		{"no events yet is 200 and empty", 1684, none, func(ctx context.Context, c *client) (any, error) {
			events, err := c.Events(ctx, 114, 0)
			return len(events), err
		}, 0, ""},
		{"cancelling", 1644, none, func(ctx context.Context, c *client) (any, error) { return nil, c.Cancel(ctx, 110) }, nil, ""},
		{"a manifest comes as it was posted, in JSON labelled text/html", 390, none, func(ctx context.Context, c *client) (any, error) {
			manifest, err := c.Manifest(ctx, "svc-1")
			return strings.HasPrefix(string(manifest), "instance_groups:\n- azs:\n  - z1\n"), err
		}, true, ""},
		{"a null manifest is empty", 1295, none, func(ctx context.Context, c *client) (any, error) {
			manifest, err := c.Manifest(ctx, "svc-fail")
			return len(manifest), err
		}, 0, ""},
		{"a missing deployment is 404 with code 70000", 391, none, func(ctx context.Context, c *client) (any, error) {
			manifest, err := c.Manifest(ctx, "nope")
			return len(manifest), err
		}, 0, serviceforge.NotFound},
		{"instances, an errand's without an address", 394, none, func(ctx context.Context, c *client) (any, error) { return c.Instances(ctx, "svc-1") },
			[]director.VM{{ID: "b5b336e0-68fe-408c-910a-8034af8610d2", Group: "standalone", Addresses: []string{"10.244.0.10"}}, {ID: "f7b6545f-1d42-4a0f-997f-6385a71631e9", Group: "smoke-tests", Addresses: []string{}}}, ""},
		{"VMs", 392, none, func(ctx context.Context, c *client) (any, error) { return c.VMs(ctx, "svc-1") }, 1, ""},
		{"deployments", 389, none, func(ctx context.Context, c *client) (any, error) { return c.Deployments(ctx) }, []string{"svc-1"}, ""},
		{"not let in: 401 with plain text", 7, "exclude_configs=true&exclude_releases=true&exclude_stemcells=true", func(ctx context.Context, c *client) (any, error) {
			return c.Deployments(ctx)
		}, []string{}, serviceforge.Unavailable},
		{"who it is, and we are", 3, none, func(ctx context.Context, c *client) (any, error) { return c.Info(ctx) },
			director.Info{Name: "LabDirector", UUID: "5d6f2f3c-3b53-4a1c-9a55-0f7b6c2f4a11", Version: "283.1.0 (00000000)", User: "admin"}, ""},
		{"nobody, where the credentials are wrong", 2, none, func(ctx context.Context, c *client) (any, error) {
			info, err := c.Info(ctx)
			return info.User, err
		}, "", ""},
		{"nginx says that the director is down", 1809, none, func(ctx context.Context, c *client) (any, error) { return c.Info(ctx) }, director.Info{}, serviceforge.Unavailable},
		{"cloud configs", 137, "latest=true&type=cloud", func(ctx context.Context, c *client) (any, error) {
			texts, err := c.CloudConfigs(ctx)
			return fmt.Sprint(len(texts), strings.Contains(string(bytes.Join(texts, nil)), "- name: z1"), strings.Contains(string(bytes.Join(texts, nil)), "svc-ext")), err
		}, "2 true true", ""},
		{"releases", 90, none, func(ctx context.Context, c *client) (any, error) {
			there, err := c.Releases(ctx)
			return there["tiny-service"], err
		}, []string{"1.0.0"}, ""},
		{"stemcells", 65, none, func(ctx context.Context, c *client) (any, error) {
			there, err := c.Stemcells(ctx)
			return len(there["ubuntu-jammy"]) > 0 && there["ubuntu-jammy"][0] == "1.506", err
		}, true, ""},
		{"fingerprints of a release", 92, none, func(ctx context.Context, c *client) (any, error) {
			parts, err := c.Parts(ctx, "tiny-service", "1.0.0")
			return fmt.Sprint(len(parts), parts["jobs/flaky"][:8], parts["packages/tiny"][:8]), err
		}, "4b0f2e443a4c79578", ""},
		{"a release that is not there", 94, none, func(ctx context.Context, c *client) (any, error) {
			parts, err := c.Parts(ctx, "tiny-service", "9.9")
			return len(parts), err
		}, 0, serviceforge.NotFound},
		{"no package of a release is known", 68, none, func(ctx context.Context, c *client) (any, error) {
			return c.Matches(ctx, []byte(all[68].Body))
		}, []string{}, ""},
		{"a package of a release is known", 78, none, func(ctx context.Context, c *client) (any, error) {
			return c.Matches(ctx, []byte(all[78].Body))
		}, []string{"a4c795789089bc7ee33c1ed3068746bbde59566cb9fce44b57508e720269c8b2"}, ""},
		{"an upload of a release is a 302 to a task", 69, none, func(ctx context.Context, c *client) (any, error) {
			return c.UploadRelease(ctx, tarball(all[69].Body))
		}, 6, ""},
		{"an upload of a stemcell is a 302 to a task", 28, none, func(ctx context.Context, c *client) (any, error) {
			return c.UploadStemcell(ctx, tarball(all[28].Body))
		}, 2, ""},
	}
}

// tarball holds a text: recordings keep only the size of one.
func tarball(text string) director.Tarball {
	return director.Tarball{Size: int64(len(text)), Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }}
}

// TestTheContractWithADirector replays recordings of a real director: what our
// client sends, and what it makes of the answers.
func TestTheContractWithADirector(t *testing.T) {
	all := recordings(t)
	used := map[int]bool{}
	for _, test := range contract(all) {
		t.Run(test.name, func(t *testing.T) {
			e, ok := all[test.seq]
			if !ok {
				t.Fatalf("exchange %d is not in testdata", test.seq)
			}
			used[test.seq] = true
			query := test.query
			if query == "none=" { // the recorded client sent a query of its own
				e.Query, query = "", ""
			}
			got, err := ask(t, &replay{t: t, e: e, query: query}, test.call)
			if serviceforge.CodeOf(err) != test.code {
				t.Fatalf("got %v, want code %q", err, test.code)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got): %s", diff)
			}
			if err != nil && strings.Contains(serviceforge.DetailOf(err), "secret") {
				t.Errorf("the error tells the password: %s", serviceforge.DetailOf(err))
			}
		})
	}
	for seq := range all {
		if !used[seq] {
			t.Errorf("exchange %d is in testdata and not used", seq)
		}
	}
}

// A finished task cannot be cancelled: 400, in plain text (WIRE.md).
func TestCancellingWhatHasEnded(t *testing.T) {
	ended := exchange{Method: "DELETE", Path: "/task/13", Status: 400, Answer: "Cannot cancel task 13: invalid state (done)",
		Headers: map[string]string{"Content-Type": "text/html;charset=utf-8"}}
	if _, err := ask(t, &replay{t: t, e: ended}, func(ctx context.Context, c *bosh.Client) (any, error) { return nil, c.Cancel(ctx, 13) }); err != nil {
		t.Error(err)
	}
}

// A release that the director fetches: WIRE.md tells the request, of which there
// is no recording.
func TestFetchingARelease(t *testing.T) {
	fetch := exchange{Method: "POST", Path: "/releases", Status: 302, Sent: map[string]string{"Content-Type": "application/json"},
		Headers: map[string]string{"Location": "https://127.0.0.1/tasks/7"}, Body: `{"location":"https://example.com/r.tgz","sha1":"sha256:ab12"}`}
	task, err := ask(t, &replay{t: t, e: fetch}, func(ctx context.Context, c *bosh.Client) (int, error) {
		return c.FetchRelease(ctx, "https://example.com/r.tgz", "ab12")
	})
	if err != nil || task != 7 {
		t.Errorf("task %d, %v", task, err)
	}
}

// A Location is built from the Host header: only its path counts.
func TestARedirectThatIsNoTask(t *testing.T) {
	for location, want := range map[string]serviceforge.Code{
		"https://other:1/tasks/5": "", "/tasks/6": "", "https://other/login": serviceforge.Unavailable, "": serviceforge.Unavailable, "/tasks/x": serviceforge.Unavailable,
	} {
		e := exchange{Method: "DELETE", Path: "/deployments/a", Status: 302, Headers: map[string]string{"Location": location}}
		if _, err := ask(t, &replay{t: t, e: e}, func(ctx context.Context, c *bosh.Client) (int, error) { return c.Delete(ctx, "a", "x") }); serviceforge.CodeOf(err) != want {
			t.Errorf("%q: %v", location, err)
		}
	}
}
