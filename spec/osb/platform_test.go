package osb_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/serviceforge/serviceforge/spec"
)

// patience is how long anything may take that is waited for.
const patience = 2 * time.Minute

// platform is a platform with a broker of its own.
type platform struct {
	url    string
	state  string
	client *http.Client
	// credentials are those of "bind-2", kept while the services are silent.
	credentials *login
}

// startBroker runs `serviceforge dev` in a temporary folder, on free ports and
// addresses, and makes sure that nothing of it is left when the test ends.
func startBroker(t *testing.T, strict bool) *platform {
	t.Helper()
	tmp, err := os.MkdirTemp("", "osb") // short: sockets live below it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(tmp) })
	var out bytes.Buffer
	command := exec.Command(spec.Program(t), "dev", "--ephemeral", "--listen", "127.0.0.1:0", "--bosh-listen", "127.0.0.1:0",
		"--network", fmt.Sprintf("127.%d.%d.0/24", 16+rand.IntN(40), rand.IntN(256)),
		fmt.Sprintf("--broker-require-api-version=%v", strict))
	command.Env = append(os.Environ(), "TMPDIR="+tmp)
	command.Stdout, command.Stderr = &out, &out
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- command.Wait() }()
	p := &platform{client: &http.Client{
		Transport: &http.Transport{ExpectContinueTimeout: time.Second},
		Timeout:   time.Minute, // line 68: then platforms give up
	}}
	t.Cleanup(func() {
		_ = command.Process.Signal(syscall.SIGTERM)
		select {
		case err := <-exited:
			if err != nil {
				t.Errorf("dev ended with %v:\n%s", err, &out)
			}
		case <-time.After(patience):
			_ = command.Process.Kill()
			t.Errorf("dev does not end:\n%s", &out)
		}
		if left := spec.ProcessesOf(p.state); p.state != "" && len(left) > 0 {
			t.Errorf("processes are left: %v", left)
		}
		if left, _ := os.ReadDir(tmp); len(left) > 0 {
			t.Errorf("files are left: %v", left)
		}
		if t.Failed() {
			t.Logf("dev said:\n%s", &out)
		}
	})
	eventually(t, "dev is ready", func() bool {
		select {
		case err := <-exited:
			t.Fatalf("dev ended: %v\n%s", err, &out)
		default:
		}
		files, _ := filepath.Glob(filepath.Join(tmp, "serviceforge-*", "broker.json"))
		if len(files) != 1 {
			return false
		}
		content, err := os.ReadFile(files[0])
		if err != nil {
			return false
		}
		var endpoint struct{ URL string }
		if json.Unmarshal(content, &endpoint) != nil {
			return false
		}
		p.url, p.state = endpoint.URL, filepath.Dir(files[0])
		return true
	})
	return p
}

// eventually polls until something is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	end := time.NewTimer(patience)
	defer end.Stop()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for !so() {
		select {
		case <-again.C:
		case <-end.C:
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// serviceforge runs a CLI command against this broker.
func (p *platform) serviceforge(t *testing.T, args ...string) string {
	t.Helper()
	command := exec.Command(spec.Program(t), append(args, "--state", p.state)...)
	command.Env = clientEnvironment()
	var side bytes.Buffer
	command.Stderr = &side
	out, err := command.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s%s", args, err, out, &side)
	}
	return string(out)
}

// clientEnvironment is ours without what would lead to another broker.
func clientEnvironment() []string {
	var kept []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "SB_BROKER_") && !strings.HasPrefix(v, "SERVICEFORGE_") {
			kept = append(kept, v)
		}
	}
	return kept
}

// row is one line of the table: a request and what has to come back.
type row struct {
	lines  string // of the checklist
	name   string
	method string
	path   string // below /v2, as it is sent
	body   string
	header map[string]string // "" leaves a header out
	status int
	check  func(t *testing.T, a answer)
}

type answer struct {
	status int
	header http.Header
	text   string
	json   map[string]any
}

func (a answer) string(key string) string {
	s, _ := a.json[key].(string)
	return s
}

func (p *platform) table(t *testing.T, rows []row) {
	t.Helper()
	for _, r := range rows {
		t.Run(r.lines+" "+r.name, func(t *testing.T) { p.row(t, r) })
	}
}

// always is what holds for the answer to every row.
var always = []struct {
	lines, name string
	holds       func(r row, a answer) bool
}{
	{"11", "every answer echoes the request identity", func(_ row, a answer) bool {
		return a.header.Get("X-Broker-API-Request-Identity") == "request-1"
	}},
	{"27", "every answer is application/json", func(_ row, a answer) bool { return a.header.Get("Content-Type") == "application/json" }},
	{"212", "every answer is a JSON object", func(_ row, a answer) bool { return a.json != nil }},
	{"20", "an error code is one CamelCase word", func(_ row, a answer) bool {
		code, present := a.json["error"]
		return !present || camelCase.MatchString(fmt.Sprint(code))
	}},
	{"20", "errors have a description, which is not empty", func(_ row, a answer) bool {
		d, present := a.json["description"]
		return d != "" && (present || a.status < 400 || a.status == http.StatusGone)
	}},
	{"23,89", "instance_usable is told of updates and deletes only", func(r row, a answer) bool {
		_, present := a.json["instance_usable"]
		return !present || a.status >= 400 && (r.method == http.MethodPatch || r.method == http.MethodDelete)
	}},
	{"24,90", "update_repeatable is told of updates only", func(r row, a answer) bool {
		_, present := a.json["update_repeatable"]
		return !present || a.status >= 400 && r.method == http.MethodPatch
	}},
}

// row sends the request of a row and checks the answer.
func (p *platform) row(t *testing.T, r row) answer {
	t.Helper()
	a := p.send(t, r)
	if a.status != r.status {
		t.Fatalf("%s %s: %d, want %d: %s", r.method, r.path, a.status, r.status, a.text)
	}
	for _, rule := range always {
		if !rule.holds(r, a) {
			t.Errorf("line %s: %s, but not this: %v %s", rule.lines, rule.name, a.header, a.text)
		}
	}
	if r.check != nil {
		r.check(t, a)
	}
	return a
}

// same sends the request of a row twice, as some platforms do before every
// poll, and returns the operation, which has to be the same in both answers.
func (p *platform) same(t *testing.T, r row) (operation string) {
	t.Helper()
	p.table(t, []row{r})
	operation = p.row(t, r).string("operation")
	for range 2 {
		if next := p.row(t, r).string("operation"); operation == "" || next != operation || len(operation) > 10000 {
			t.Errorf("%s: operation %q, then %q", r.name, operation, next)
		}
	}
	return operation
}

// pause holds the engine, so that operations stay in progress until resume.
func (p *platform) pause(t *testing.T) (resume func()) {
	t.Helper()
	p.serviceforge(t, "engine", "pause", "--reason", "spec")
	return func() {
		t.Helper()
		p.serviceforge(t, "engine", "resume")
	}
}

var camelCase = regexp.MustCompile(`^[A-Z][A-Za-z]*$`)

func (p *platform) send(t *testing.T, r row) answer {
	t.Helper()
	var content io.Reader
	if r.body != "" {
		content = strings.NewReader(r.body)
	}
	request, err := http.NewRequest(r.method, p.url, content)
	if err != nil {
		t.Fatal(err)
	}
	path, query, _ := strings.Cut("/v2"+r.path, "?")
	request.URL.Opaque, request.URL.RawQuery = path, query
	request.SetBasicAuth("cc", "secret")
	request.Header.Set("X-Broker-API-Version", "2.17")
	request.Header.Set("X-Broker-API-Request-Identity", "request-1")
	if r.body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	for name, value := range r.header {
		request.Header.Set(name, value)
		if value == "" {
			request.Header.Del(name)
		}
	}
	response, err := p.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := answer{status: response.StatusCode, header: response.Header, text: string(text)}
	_ = json.Unmarshal(text, &a.json)
	return a
}

// finished polls last_operation until it is done.
func (p *platform) finished(t *testing.T, id, operation string) answer {
	t.Helper()
	var last answer
	eventually(t, "the operation on "+id+" is done", func() bool {
		last = p.send(t, row{method: "GET", path: "/service_instances/" + id + "/last_operation?operation=" + operation})
		if last.status != http.StatusOK {
			t.Fatalf("lines 83, 92: %d %s", last.status, last.text)
		}
		switch last.string("state") {
		case "in progress":
			if last.header.Get("Retry-After") == "" {
				t.Error("line 91: no Retry-After")
			}
			return false
		case "succeeded", "failed":
			return true
		}
		t.Fatalf("line 87: %s", last.text)
		return true
	})
	return last
}
