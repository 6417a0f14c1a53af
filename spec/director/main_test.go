// Package director_test holds the specs of the embedded director as its clients
// see it: the real bosh CLI, and the exchanges recorded with a real director.
package director_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/serviceforge/serviceforge/localbosh"
	"github.com/serviceforge/serviceforge/localbosh/render"
	"github.com/serviceforge/serviceforge/localbosh/vm"
	"github.com/serviceforge/serviceforge/spec/unraced"
)

// children are what the director's children run: this very binary, unless it is
// built for the race detector.
var children = map[string]func([]string) int{
	"__vm": vm.SupervisorMain, "__sandbox": vm.SandboxMain, "__chpst": vm.ChpstMain, "__erb": render.ErbMain,
	"__director": directorMain,
}

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		if child, ok := children[os.Args[1]]; ok {
			os.Exit(child(os.Args[2:]))
		}
	}
	unraced.Main("github.com/serviceforge/serviceforge/spec/children", &program, m.Run)
}

// program is what the director's children run.
var program string

// director is a running director and a client of its API.
type director struct {
	*localbosh.Director
	t       testing.TB
	options localbosh.Options
	client  *http.Client
	url     string
	user    string
	secret  string
}

// start runs a director on a state folder of its own until the test ends, and
// proves that nothing of it is left then.
func start(t testing.TB, change ...func(*localbosh.Options)) *director {
	t.Helper()
	d := prepareOnly(t)
	for _, fn := range change {
		fn(&d.options)
	}
	d.start()
	return d
}

// prepareOnly is start without starting; the test must do so.
func prepareOnly(t testing.TB) *director {
	t.Helper()
	state, err := os.MkdirTemp("", "director") // short: sockets are below it
	if err != nil {
		t.Fatal(err)
	}
	d := &director{t: t, options: localbosh.Options{State: state, Program: program, Network: "127.231.0.0/24", Log: logger(t)}}
	t.Cleanup(func() {
		if d.Director != nil {
			if err := d.DestroyAll(context.Background()); err != nil {
				t.Error(err)
			}
			d.stop()
		}
		if left := processes(t, state); len(left) > 0 {
			t.Errorf("processes are left: %v", left)
		}
		if err := os.RemoveAll(state); err != nil {
			t.Error(err)
		}
	})
	return d
}

func logger(t testing.TB) *slog.Logger {
	level := slog.LevelWarn
	if testing.Verbose() {
		level = slog.LevelInfo
	}
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: level}))
}

// newDirector is localbosh.New.
func newDirector(o localbosh.Options) (*localbosh.Director, error) { return localbosh.New(o) }

func (d *director) start() {
	d.t.Helper()
	var err error
	if d.Director, err = localbosh.New(d.options); err != nil {
		d.t.Fatal(err)
	}
	if err := d.Start(context.Background()); err != nil {
		d.t.Fatal(err)
	}
	d.connect(d.URL(), d.options.State)
}

// connect makes the client of the director at url, whose CA and password are in
// its state folder.
func (d *director) connect(url, state string) {
	d.t.Helper()
	pem, err := os.ReadFile(filepath.Join(state, "director", "ca.pem"))
	if err != nil {
		d.t.Fatal(err)
	}
	var id struct{ User, Password string }
	data, err := os.ReadFile(filepath.Join(state, "director", "identity"))
	if err == nil {
		err = json.Unmarshal(data, &id)
	}
	if err != nil {
		d.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		d.t.Fatal("the director has no CA")
	}
	d.client = &http.Client{
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       time.Minute,
	}
	d.url, d.user, d.secret = url, id.User, id.Password
}

func (d *director) stop() {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	d.client.CloseIdleConnections()
	if err := d.Stop(ctx); err != nil {
		d.t.Error(err)
	}
}

// answer is a response read to its end.
type answer struct {
	status int
	header http.Header
	body   string
}

func (d *director) send(method, path string, body io.Reader, header map[string]string) answer {
	d.t.Helper()
	req, err := http.NewRequest(method, d.url+path, body)
	if err != nil {
		d.t.Fatal(err)
	}
	req.SetBasicAuth(d.user, d.secret)
	for k, v := range header {
		req.Header.Set(k, v)
	}
	res, err := d.client.Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(data)}
}

func (d *director) get(path string) answer { d.t.Helper(); return d.send("GET", path, nil, nil) }

// task is a task as the API shows it.
type task struct {
	ID          int     `json:"id"`
	State       string  `json:"state"`
	Description string  `json:"description"`
	Result      *string `json:"result"`
	Deployment  *string `json:"deployment"`
	ContextID   string  `json:"context_id"`
}

// wait returns a task that has ended.
func (d *director) wait(location string) task {
	d.t.Helper()
	path := location[strings.Index(location, "/tasks/"):]
	deadline := time.Now().Add(time.Minute)
	for {
		var got task
		if err := json.Unmarshal([]byte(d.get(path).body), &got); err != nil {
			d.t.Fatal(err)
		}
		switch got.State {
		case "queued", "processing", "cancelling":
			if time.Now().After(deadline) {
				d.t.Fatalf("task %d does not end: %+v", got.ID, got)
			}
		default:
			return got
		}
	}
}

// run sends a request that becomes a task and returns the task that has ended.
func (d *director) run(method, path, body string, header map[string]string) task {
	d.t.Helper()
	a := d.send(method, path, strings.NewReader(body), header)
	if a.status != http.StatusFound {
		d.t.Fatalf("%s %s: %d %s", method, path, a.status, a.body)
	}
	return d.wait(a.header.Get("Location"))
}

var yamlType = map[string]string{"Content-Type": "text/yaml"}

// deploy deploys a manifest and wants the task to end in state.
func (d *director) deploy(manifest, state string) task {
	d.t.Helper()
	got := d.run("POST", "/deployments", manifest, yamlType)
	if got.State != state {
		d.t.Fatalf("the deploy is %s, not %s: %s\n%s", got.State, state, *got.Result, d.get(fmt.Sprintf("/tasks/%d/output?type=debug", got.ID)).body)
	}
	return got
}

// processes are the ids of all processes that carry the state folder.
func processes(t testing.TB, state string) []string {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, dir := range dirs {
		env, err := os.ReadFile(dir + "/environ")
		if err == nil && strings.Contains(string(env)+"\x00", "SERVICEFORGE_STATE="+state+"\x00") {
			cmd, _ := os.ReadFile(dir + "/cmdline")
			out = append(out, filepath.Base(dir)+" "+strings.ReplaceAll(string(cmd), "\x00", " "))
		}
	}
	return out
}

// eventually polls until ok says true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("did not happen: %s", what)
		}
		tick := time.NewTimer(20 * time.Millisecond)
		<-tick.C
	}
}
