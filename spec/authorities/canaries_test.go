package authorities_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/serviceforge/serviceforge/spec"
)

// What nobody may read where it is not meant to be.
const (
	canaryBasic     = "canary-basic-Vb3nM8qL"
	canaryPlatform  = "canary-platform-Jk6yH2sD"
	canaryWrong     = "canary-wrong-Qw9eR4tY"
	canaryDirector  = "canary-director-Xc5kJ2wP"
	canaryParameter = "canary-parameter-Lp7oK3jN"
	canaryContext   = "canary-context-Zx8cV1bM"
)

func base64Of(secret string) string { return base64.StdEncoding.EncodeToString([]byte(secret)) }

// forms are the ways in which a secret may be written: as it is, in hex, and in
// base64 wherever it begins within a group of three bytes.
func forms(secret string) []string {
	all := []string{secret, hex.EncodeToString([]byte(secret))}
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for before := range 3 {
			encoded := encoding.EncodeToString([]byte(strings.Repeat("x", before) + secret))
			all = append(all, encoded[(before*8+5)/6:len(encoded)-1]) // whole characters of the secret only
		}
	}
	return all
}

// hunt holds everything that was said where no secret belongs.
type hunt struct {
	t    *testing.T
	mu   sync.Mutex
	said map[string][]byte // by where
}

func (h *hunt) add(where string, content []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.said[where] = append(append(h.said[where], content...), '\n')
}

// files adds everything below a folder but what is named, which only its owner may read.
func (h *hunt) files(dir string, private ...string) {
	h.t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name, _ := filepath.Rel(dir, path); slices.Contains(private, name) {
			if info, err := d.Info(); err == nil && !d.IsDir() && info.Mode().Perm()&0o077 != 0 {
				h.t.Errorf("%s is for more than its owner: %s", path, info.Mode())
			}
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() {
			return nil
		}
		content, err := os.ReadFile(path)
		h.add("the file "+path, content)
		return err
	})
	if err != nil {
		h.t.Error(err)
	}
}

// processes adds command lines and environments of all processes of a house,
// again and again until the end of the returned function.
func (h *hunt) processes(state string) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		seen := map[string]bool{}
		for {
			for _, pid := range spec.ProcessesOf(state) {
				for _, name := range []string{"cmdline", "environ"} {
					content, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), name))
					if !seen[string(content)] {
						seen[string(content)] = true
						h.add("the "+name+" of children", content)
					}
				}
			}
			select {
			case <-done:
				return
			case <-tick.C:
			}
		}
	}()
	return func() { close(done); <-ended }
}

// find reports every secret in every form, wherever it was said.
func (h *hunt) find(secrets map[string]string) {
	h.t.Helper()
	for _, name := range slices.Sorted(maps.Keys(secrets)) {
		if len(secrets[name]) < 8 {
			h.t.Errorf("%s is no canary: %q", name, secrets[name])
			continue
		}
		for _, form := range forms(secrets[name]) {
			for where, content := range h.said {
				if at := strings.Index(string(content), form); at >= 0 {
					h.t.Errorf("%s holds the %s: …%.120q", where, name, content[max(0, at-60):])
				}
			}
		}
	}
}

// sings says that the hunt would have found something there: a word that is no secret.
func (h *hunt) sings(where, word string) {
	h.t.Helper()
	for name, content := range h.said {
		if strings.Contains(name, where) && strings.Contains(string(content), word) {
			return
		}
	}
	h.t.Errorf("nothing in %s says %q: the hunt looks in the wrong place", where, word)
}

// TestNoSecretIsSaid plants secrets wherever a secret can come in, does
// everything that can be done, right and wrong, at log level debug, and looks
// for them where they do not belong.
func TestNoSecretIsSaid(t *testing.T) {
	h := newHouse(t)
	state := filepath.Join(h.dir, "a")
	hunt := &hunt{t: t, said: map[string][]byte{}}
	stop := hunt.processes(h.dir)
	spec.StartProcess(t, spec.Self(t), "director: ", "bosh", "--config", h.write("bosh.yml", "bosh: {password: "+canaryDirector+"}\nlog: {level: debug}\n"),
		"--state", state, "--bosh-listen", "127.0.0.1:0", "--network", "127.230.0.0/24")
	platforms := h.write("platforms.yml", "platforms: [{name: k8s, username: kube, password: "+canaryPlatform+"}]")
	h.pool = ""
	r := h.serve("a", "--broker-platforms", platforms, "--log-format", "json")
	secrets := map[string]string{"basic password": canaryBasic, "platform's password": canaryPlatform, "wrong password": canaryWrong,
		"director's password": canaryDirector, "parameter": canaryParameter, "context": canaryContext, "bootstrap token": r.admin(),
		"operator's token": r.token("operator", "1h"), "key": keyOf(t, state), "wrong token": "1-" + strings.Repeat("ab12", 12)}

	everything(t, r, hunt, secrets)

	// The same broker with its director away, and wrong in everything it is given.
	h.pool = h.write("pool.yml", awayPool)
	h.shareKeys("a", "b")
	b := h.serve("b", "--broker-platforms", platforms)
	for _, path := range []string{"/admin/v1/pools", "/admin/v1/pools/away/check", "/admin/v1/orphans"} {
		_, _, text := b.ask(bearer(r.admin()), "GET", path, nil)
		hunt.add("answers", []byte(text))
	}
	h.write("platforms.yml", "platforms: ["+canaryPlatform)
	spec.Eventually(t, "a bad file is told of", func() error {
		if !strings.Contains(b.Output(), "is not in force") {
			return fmt.Errorf("the log does not say so")
		}
		return nil
	})

	stop()
	hunt.files(filepath.Join(h.dir, "etcd"))
	hunt.files(state, "token", "broker.key", "broker.json", "director.json", "bosh", "bin")
	r.Dump()
	b.Dump()
	hunt.add("the logs", []byte(r.Output()))
	hunt.add("the logs", []byte(b.Output()))
	hunt.find(secrets)
	hunt.sings("the logs", "instance_id")
	hunt.sings("the logs", "SIGQUIT")
	hunt.sings("answers", "in progress")
	hunt.sings("answers", `serviceforge_operations_total{kind="provision",result="succeeded"} 1`)
	hunt.sings("answers", `serviceforge_director_request_duration_seconds_count{code="200",method="GET",pool="local"}`)
	hunt.sings("etcd/", "etcd-canary")
	hunt.sings("the cmdline of children", "__spiff")
	hunt.sings("the environ of children", "SERVICEFORGE_STATE")
}

func keyOf(t *testing.T, state string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(state, "broker.key"))
	if err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile(`"key":"([^"=]+)`).FindStringSubmatch(string(content))[1]
}

// everything has a platform and operators do all they can. It adds to secrets
// what it is given, and keeps every answer that is to hold none.
func everything(t *testing.T, r *replica, hunt *hunt, secrets map[string]string) {
	cc, kube := basic("cc", canaryBasic), basic("kube", canaryPlatform)
	identity := func(who caller) caller {
		return func(q *http.Request) {
			who(q)
			q.Header.Set("X-Broker-API-Originating-Identity", "cloudfoundry "+base64Of(`{"user_id": "u"}`))
		}
	}
	private := func(who caller, method, path string, body any) (status int, text string) {
		status, _, text = r.ask(identity(who), method, path, body)
		return status, text
	}
	do := func(who caller, method, path string, body any) int {
		status, text := private(who, method, path, body)
		hunt.add("answers", []byte(method+" "+path+": "+text))
		return status
	}
	instance := "/v2/service_instances/canary"
	binding, async := instance+"/service_bindings/b", "?accepts_incomplete=true"
	plan := "service_id=" + spec.Service + "&plan_id=" + spec.OneServer
	full := order(spec.OneServer)
	full["parameters"] = map[string]any{"prefix": "/" + canaryParameter}
	full["context"] = map[string]any{"platform": "cloudfoundry", "organization_guid": "o", "space_guid": "s", "organization_annotations": map[string]string{"a/b": canaryContext}}
	failing := func() {
		for _, parameters := range []any{map[string]any{"prefix": canaryParameter + " "}, map[string]any{"unknown": canaryParameter}, map[string]any{"snapshot_count": canaryParameter},
			map[string]any{"prefix": "((" + canaryParameter + "))"}, canaryParameter, []string{canaryParameter}} {
			wrong := maps.Clone(full)
			wrong["parameters"] = parameters
			do(cc, "PUT", "/v2/service_instances/wrong"+async, wrong)
			do(cc, "PUT", instance+async, wrong)
			do(cc, "PATCH", instance+async, wrong)
			do(cc, "PUT", binding, map[string]any{"service_id": spec.Service, "plan_id": spec.OneServer, "parameters": parameters})
			do(bearer(r.admin()), "PUT", "/admin/v1/instances/wrong", wrong)
			do(bearer(r.admin()), "PUT", "/admin/v1/instances/canary/bindings/b", map[string]any{"parameters": parameters})
		}
		do(cc, "PUT", instance+async, canaryParameter)
		do(kube, "PATCH", instance+async, full)
		do(cc, "PUT", instance, full)
		do(basic("cc", canaryWrong), "GET", "/v2/catalog", nil)
		do(basic(canaryWrong, canaryWrong), "GET", instance, nil)
		do(bearer(secrets["wrong token"]), "GET", "/admin/v1/catalog", nil)
		do(bearer(canaryWrong), "GET", "/admin/v1/catalog", nil)
		do(bearer(secrets["operator's token"]), "GET", "/admin/v1/tokens", nil)
	}
	looking := func() {
		do(cc, "GET", "/v2/catalog", nil)
		do(cc, "GET", instance+"/last_operation", nil)
		do(cc, "GET", "/service_instances/canary", nil)
		do(nobody, "GET", "/readyz", nil)
		for _, path := range []string{"/catalog", "/engine", "/pools", "/pools/local/check", "/orphans", "/instances", "/tokens", "/instances/canary", "/instances/canary/operation",
			"/instances/canary/explanation", "/instances/canary/history", "/instances/canary/bindings"} {
			do(bearer(r.admin()), "GET", "/admin/v1"+path, nil)
		}
		do(bearer(r.admin()), "GET", "/metrics", nil)
		for _, command := range [][]string{{"services"}, {"service", "canary"}, {"history", "canary"}, {"explain", "canary"}, {"pools"}, {"token", "list"}} {
			out, errs, _ := r.Account.Run(t, append(command, "--json", "--state", r.state)...)
			hunt.add("answers", []byte(out+errs))
		}
	}
	failing()
	if status := do(cc, "PUT", instance+async, full); status != http.StatusAccepted {
		t.Fatalf("provision: %d", status)
	}
	looking()
	failing()
	r.settled(cc, instance, "succeeded")
	do(cc, "PUT", instance+async, full)
	status, text := private(cc, "PUT", binding, map[string]any{"service_id": spec.Service, "plan_id": spec.OneServer, "app_guid": "app", "bind_resource": map[string]any{"app_guid": "app"}})
	var bound struct{ Credentials struct{ Password string } }
	if err := json.Unmarshal([]byte(text), &bound); err != nil || status != http.StatusCreated {
		t.Fatalf("bind: %d %v", status, err)
	}
	secrets["binding's password"] = bound.Credentials.Password
	private(cc, "GET", binding, nil) // credentials are what it is for
	private(cc, "GET", instance, nil)
	failing()
	do(cc, "PATCH", instance+async, map[string]any{"service_id": spec.Service, "parameters": map[string]any{"prefix": "/" + canaryParameter + "/2"}})
	r.settled(cc, instance, "")
	do(bearer(r.admin()), "POST", "/admin/v1/instances/canary/repair", nil)
	r.settled(cc, instance, "")
	looking()
	do(cc, "DELETE", binding+"?"+plan, nil)
	do(cc, "DELETE", binding+"?"+plan, nil)
	if status := do(cc, "DELETE", instance+async+"&"+plan, nil); status != http.StatusAccepted {
		t.Errorf("deprovision: %d", status)
	}
	looking()
	spec.Eventually(t, "the instance is gone", func() error {
		if status, _, text, err := r.try(cc, "GET", instance, nil); err != nil || status != http.StatusNotFound {
			return fmt.Errorf("%d %s %w", status, text, err)
		}
		return nil
	})
	looking()
}

// settled waits for the end of an operation; "" = either.
func (r *replica) settled(who caller, instance, want string) {
	r.house.t.Helper()
	spec.Eventually(r.house.t, "the operation ends", func() error {
		_, _, text, err := r.try(who, "GET", instance+"/last_operation", nil)
		var last struct{ State, Description string }
		if err == nil {
			err = json.Unmarshal([]byte(text), &last)
		}
		if err != nil {
			return err
		}
		if last.State == "in progress" {
			return fmt.Errorf("%s", text)
		}
		if want != "" && last.State != want {
			r.house.t.Fatalf("%s: %s\n%s", instance, text, r.Output())
		}
		return nil
	})
}
