package osb_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/spec"
	"github.com/serviceforge/serviceforge/spec/etcd"
	"github.com/serviceforge/serviceforge/users"
)

const bindings = instance + "/service_bindings/"

// polledBindings looks at bindings of "spec-1" while its service is silent, and
// when it answers again.
func polledBindings(t *testing.T, p *platform) {
	proceed := p.silence(t)
	made := p.same(t, row{"160,161,169", "bind while the service is silent, and again", "PUT", bindings + "polled" + async, bind(), nil, 202, func(t *testing.T, a answer) {
		if a.json["credentials"] != nil {
			t.Errorf("credentials: %s", a.text)
		}
	}})
	p.same(t, row{"160,161,169,190", "bind what will be deleted", "PUT", bindings + "doomed" + async, bind(), nil, 202, nil})
	p.table(t, silent)
	ended := p.same(t, row{"187,190,194", "unbind what is being bound, and again", "DELETE", bindings + "doomed" + async + "&" + which, "", nil, 202, nil})
	p.table(t, []row{
		{"187,193", "bind what is being unbound", "PUT", bindings + "doomed" + async, bind(), nil, 422, says("ConcurrencyError", concurrency)},
		{"97,187", "the unbind is what polls tell of", "GET", bindings + "doomed/last_operation?operation=" + ended, "", nil, 200, inProgress},
		{"26,68,166", "bind at once while the service is silent", "PUT", bindings + "waited-for", bind(), nil, 503, func(t *testing.T, a answer) {
			if a.header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
		}},
		{"26,182,208", "nothing is left of it", "GET", bindings + "waited-for", "", nil, 404, nil},
		{"191,208", "and the platform deletes it", "DELETE", bindings + "waited-for?" + which, "", nil, 410, nil},
		{"68,189,192", "unbind at once while the service is silent", "DELETE", bindings + "bind-2?" + which, "", nil, 200, nil},
		{"191", "it is gone for the platform", "DELETE", bindings + "bind-2?" + which, "", nil, 410, nil},
	})
	revoked := p.credentials
	proceed()
	p.bound(t, "polled", made)
	p.bound(t, "doomed", ended)
	p.table(t, finished)
	t.Run("102,152,186 the users are those of the bindings", func(t *testing.T) {
		if !p.opens(t, "polled") {
			t.Error("the credentials of the polled binding do not open the service")
		}
		eventually(t, "the user of what was unbound in silence is revoked", func() bool { return !revoked.open(t) })
	})
	p.table(t, rotations)
	t.Run("178 old and new open the service", func(t *testing.T) {
		if !p.opens(t, "polled") || !p.opens(t, "rotated") {
			t.Error("one of them does not")
		}
	})
	p.table(t, []row{
		{"189", "unbind the predecessor", "DELETE", bindings + "polled?" + which, "", nil, 200, nil},
		{"111,158,179", "the rotation again, without its predecessor", "PUT", bindings + "rotated", rotation("polled"), nil, 200, checkCredentials},
	})
	t.Run("178,186 only the new one opens the service", func(t *testing.T) {
		if !p.opens(t, "rotated") {
			t.Error("the new one does not")
		}
	})
}

func rotation(predecessor string) string {
	return fmt.Sprintf(`{"predecessor_binding_id": %q, "context": {"platform": "cloudfoundry"}, "vendor": 1}`, predecessor)
}

// silent is while the service does not answer; "polled" and "doomed" are being bound.
var silent = []row{
	{"163", "another bind under the same id", "PUT", bindings + "polled" + async, bind("app-1", "app-2"), nil, 409, nil},
	{"182", "fetched too early", "GET", bindings + "polled", "", nil, 404, nil},
	{"76,93,97,98,99", "polled without an operation", "GET", bindings + "polled/last_operation", "", nil, 200, inProgress},
	{"93,97,98", "polled with one that is not ours", "GET", bindings + "polled/last_operation?operation=not-ours%00", "", nil, 200, inProgress},
	{"165", "rotated too early", "PUT", bindings + "early" + async, rotation("polled"), nil, 422, says("ConcurrencyError", concurrency)},
}

// finished is when the service has answered again.
var finished = []row{
	{"100", "a bind is remembered", "GET", bindings + "polled/last_operation", "", nil, 200, succeeded},
	{"96,100", "an unbind is remembered", "GET", bindings + "doomed/last_operation", "", nil, 200, succeeded},
	{"191", "unbound again", "DELETE", bindings + "doomed" + async + "&" + which, "", nil, 410, nil},
	{"180,181,183", "fetched after the end", "GET", bindings + "polled", "", nil, 200, checkCredentials},
	{"158", "the same bind again", "PUT", bindings + "polled" + async, bind(), nil, 200, checkCredentials},
	{"151,172", "endpoints", "GET", bindings + "polled", "", nil, 200, checkEndpoints},
	{"151", "no endpoints before 2.15", "GET", bindings + "polled", "", map[string]string{"X-Broker-API-Version": "2.14"}, 200, func(t *testing.T, a answer) {
		if a.json["endpoints"] != nil {
			t.Errorf("%s", a.text)
		}
	}},
	{"127", "no bindings to be fetched before 2.14", "GET", bindings + "polled", "", map[string]string{"X-Broker-API-Version": "2.13"}, 412, nil},
}

var rotations = []row{
	{"175,176,177,179", "rotate", "PUT", bindings + "rotated", rotation("polled"), nil, 201, checkCredentials},
	{"179", "the same rotation again", "PUT", bindings + "rotated", rotation("polled"), nil, 200, checkCredentials},
	{"163,179", "another rotation under the same id", "PUT", bindings + "rotated", rotation("another"), nil, 409, nil},
	{"176", "rotate what is not there", "PUT", bindings + "wrong", rotation("doomed"), nil, 400, nil},
	{"176", "rotate nothing", "PUT", bindings + "wrong", rotation(""), nil, 400, nil},
	{"176", "rotate a number", "PUT", bindings + "wrong", `{"predecessor_binding_id": 1}`, nil, 400, nil},
	{"176", "rotate itself", "PUT", bindings + "wrong", rotation("wrong"), nil, 400, nil},
	{"155,176", "rotate with another plan", "PUT", bindings + "wrong", `{"predecessor_binding_id": "polled", "plan_id": "` + threeServers + `"}`, nil, 400, nil},
	{"177", "rotate with parameters", "PUT", bindings + "wrong", `{"predecessor_binding_id": "polled", "parameters": {"x": 1}}`, nil, 400, nil},
	{"182", "nothing is left of what was wrong", "GET", bindings + "wrong", "", nil, 404, nil},
}

var ports = regexp.MustCompile(`^\d+(-\d+)?$`)

func checkEndpoints(t *testing.T, a answer) {
	t.Helper()
	var told struct {
		Endpoints []serviceforge.Endpoint
	}
	if err := json.Unmarshal([]byte(a.text), &told); err != nil || len(told.Endpoints) != 1 {
		t.Fatalf("%v: %s", err, a.text)
	}
	for _, e := range told.Endpoints {
		if e.Host == "" || len(e.Ports) == 0 || !ports.MatchString(e.Ports[0]) || e.Protocol != "tcp" {
			t.Errorf("%+v", e)
		}
	}
}

// bound polls a binding until its operation is done.
func (p *platform) bound(t *testing.T, id, operation string) {
	t.Helper()
	eventually(t, "the operation on binding "+id+" is done", func() bool {
		a := p.send(t, row{method: "GET", path: bindings + id + "/last_operation?operation=" + operation})
		if a.status != http.StatusOK || a.string("state") == "failed" {
			t.Fatalf("lines 93, 98: %d %s", a.status, a.text)
		}
		return a.string("state") == "succeeded"
	})
}

// login is what credentials hold.
type login struct {
	Username, Password, CA string
	URIs                   []string
}

// open says whether the credentials open the service.
func (l *login) open(t *testing.T) bool {
	t.Helper()
	service := users.Service{Endpoints: l.URIs, CA: l.CA}
	client, err := etcd.Login(t, service, users.User{Name: l.Username, Password: serviceforge.NewSecret(l.Password)})
	if err == nil {
		_, err = client.Put(t.Context(), "/spec", "x")
	}
	return err == nil
}

// opens says whether the credentials that a binding is fetched with do.
func (p *platform) opens(t *testing.T, id string) bool {
	t.Helper()
	return loginOf(t, p.row(t, row{method: "GET", path: bindings + id, status: 200})).open(t)
}

func loginOf(t *testing.T, a answer) *login {
	t.Helper()
	var told struct{ Credentials login }
	if err := json.Unmarshal([]byte(a.text), &told); err != nil || told.Credentials.Username == "" {
		t.Fatalf("%v: %s", err, a.text)
	}
	return &told.Credentials
}

// silence stops the processes of all services, as a network that is cut would,
// until proceed is called.
func (p *platform) silence(t *testing.T) (proceed func()) {
	t.Helper()
	p.credentials = loginOf(t, p.row(t, row{method: "GET", path: bindings + "bind-2", status: 200}))
	var stopped []int
	for _, pid := range spec.ProcessesOf(p.state) {
		line, _ := os.ReadFile(filepath.Join("/proc", fmt.Sprint(pid), "cmdline"))
		if program, _, _ := bytes.Cut(line, []byte{0}); strings.HasSuffix(string(program), "/bin/etcd") {
			stopped = append(stopped, pid)
		}
	}
	if len(stopped) == 0 {
		t.Fatal("no service runs")
	}
	signal := func(s syscall.Signal) {
		for _, pid := range stopped {
			_ = syscall.Kill(pid, s)
		}
	}
	signal(syscall.SIGSTOP)
	proceed = func() { signal(syscall.SIGCONT) }
	t.Cleanup(proceed)
	return proceed
}
