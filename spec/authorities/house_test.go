// Package authorities_test holds black-box specs of who may do what, of what the
// broker's HTTP server does to those who behave badly, and of what nobody may
// ever read. The brokers are real processes on a real etcd; their director is
// away, which none of this needs.
package authorities_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge/spec"
	"github.com/serviceforge/serviceforge/spec/address"
)

// awayPool is a pool whose director nobody answers for.
const awayPool = `pool: {name: away, infrastructure: default, azs: [z1], network: default, vm_types: {small: small, medium: medium, large: large},
  disk_types: {small: small, medium: medium, large: large}, stemcells: {ubuntu-jammy: "1.0"}, reachable: true,
  director: {url: "https://127.0.0.1:1", username: admin, password: "` + canaryDirector + `"}}
`

// house is an etcd and a pool file for brokers to stand on.
type house struct {
	t    testing.TB
	dir  string
	etcd string // its URL
	pool string // file
}

// replica is one broker process.
type replica struct {
	*spec.Process
	house *house
	state string
	url   string
	http  *http.Client
}

func newHouse(t testing.TB) *house {
	t.Helper()
	h := &house{t: t, dir: spec.Folder(t)}
	address := address.Free(t)
	spec.StartProcess(t, spec.Self(t), "etcd: http", "etcd", "--state", filepath.Join(h.dir, "etcd"), "--etcd-listen", address)
	h.etcd = "http://" + address
	h.pool = h.write("pool.yml", awayPool)
	return h
}

// write makes or replaces a file of the house at once.
func (h *house) write(name, content string) (path string) {
	h.t.Helper()
	path = filepath.Join(h.dir, name)
	err := os.WriteFile(path+".new", []byte(content), 0o600)
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return path
}

// serve starts a broker with a state folder of that name, and platform
// credentials cc:secret unless args say otherwise. Brokers share their key file.
func (h *house) serve(name string, args ...string) *replica {
	h.t.Helper()
	r := &replica{house: h, state: filepath.Join(h.dir, name), http: &http.Client{}}
	if err := os.MkdirAll(r.state, 0o700); err != nil {
		h.t.Fatal(err)
	}
	config := h.write(name+".yml", "broker: {password: "+canaryBasic+"}\n")
	all := append([]string{"serve", "--config", config, "--state", r.state, "--listen", "127.0.0.1:0", "--etcd", h.etcd,
		"--bootstrap", "--log-level", "debug"}, args...)
	if h.pool != "" {
		all = append(all, "--pools", h.pool)
	}
	r.Process = spec.StartProcess(h.t, spec.Self(h.t), "broker: http", all...)
	r.url = regexp.MustCompile(`broker: (https?://\S+)`).FindStringSubmatch(r.Output())[1]
	return r
}

// shareKeys gives the broker "to" the key file of another.
func (h *house) shareKeys(from, to string) {
	h.t.Helper()
	content, err := os.ReadFile(filepath.Join(h.dir, from, "broker.key"))
	if err == nil {
		err = os.MkdirAll(filepath.Join(h.dir, to), 0o700)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(h.dir, to, "broker.key"), content, 0o600)
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

// admin is the token of the state folder.
func (r *replica) admin() string {
	r.house.t.Helper()
	content, err := os.ReadFile(filepath.Join(r.state, "token"))
	if err != nil {
		r.house.t.Fatal(err)
	}
	return strings.TrimSpace(string(content))
}

// token makes an operator token.
func (r *replica) token(role string, expires string) string {
	r.house.t.Helper()
	out, errs, code := r.Account.Run(r.house.t, "token", "create", "spec", "--role", role, "--expires", expires, "--state", r.state)
	if code != 0 {
		r.house.t.Fatalf("token create: %s", errs)
	}
	return strings.TrimSpace(out)
}

// caller is somebody who asks, with what they show.
type caller func(*http.Request)

func basic(user, password string) caller {
	return func(r *http.Request) { r.SetBasicAuth(user, password) }
}

func bearer(token string) caller {
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
}

func nobody(*http.Request) {}

// ask sends one request and returns status, header and body.
func (r *replica) ask(who caller, method, path string, body any) (int, http.Header, string) {
	r.house.t.Helper()
	status, header, text, err := r.try(who, method, path, body)
	if err != nil {
		r.house.t.Fatalf("%s %s: %v", method, path, err)
	}
	return status, header, text
}

func (r *replica) try(who caller, method, path string, body any) (int, http.Header, string, error) {
	var content bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&content).Encode(body); err != nil {
			return 0, nil, "", err
		}
	}
	request, err := http.NewRequest(method, r.url+path, &content)
	if err != nil {
		return 0, nil, "", err
	}
	request.Header.Set("X-Broker-API-Version", "2.17")
	request.Header.Set("Content-Type", "application/json")
	who(request)
	response, err := r.http.Do(request)
	if err != nil {
		return 0, nil, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, response.Header, string(text), err
}

// eventually polls until the answer has that status.
func (r *replica) eventually(who caller, method, path string, want int) {
	r.house.t.Helper()
	spec.Eventually(r.house.t, fmt.Sprintf("%s %s is answered with %d", method, path, want), func() error {
		status, _, text, err := r.try(who, method, path, nil)
		if err != nil || status != want {
			return fmt.Errorf("%d %s %w", status, text, err)
		}
		return nil
	})
}

// order is the body of a provision.
func order(plan string) map[string]any {
	return map[string]any{"service_id": spec.Service, "plan_id": plan, "organization_guid": "o", "space_guid": "s"}
}
