package authorities_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/admin"
	"github.com/serviceforge/serviceforge/spec"
	"github.com/serviceforge/serviceforge/spec/etcd"
	"github.com/serviceforge/serviceforge/users"
)

// localPool is one on the director of this machine, whose address is in the state folder.
const localPool = `pool: {name: here, infrastructure: default, azs: [z1], network: default, vm_types: {small: small, medium: medium, large: large},
  disk_types: {small: small, medium: medium, large: large}, stemcells: {ubuntu-jammy: "1.0"}}
stub: {meta: {heartbeat_interval: 30, election_timeout: 300}}
`

// credentials are a binding's.
type credentials struct {
	URIs               []string
	Username, Password string
	Prefix, CA         string
}

// key is one of a key file.
type key struct {
	ID  string `json:"id"`
	Key string `json:"key"`
}

// safe is two brokers on one etcd and one director, each with a key file of its own.
type safe struct {
	*house
	a, b *replica
}

func newSafe(t *testing.T) *safe {
	t.Helper()
	s := &safe{house: newHouse(t)}
	director := filepath.Join(s.dir, "d")
	spec.StartProcess(t, spec.Self(t), "director: ", "bosh", "--state", director, "--bosh-listen", "127.0.0.1:0", "--network", "127.221.0.0/24")
	s.pool = s.write("pool.yml", localPool)
	found, err := os.ReadFile(filepath.Join(director, "director.json"))
	for _, name := range []string{"a", "b"} {
		err = errors.Join(err, os.MkdirAll(filepath.Join(s.dir, name), 0o700))
		s.write(name+"/director.json", string(found))
	}
	if err != nil {
		t.Fatal(err)
	}
	s.a = s.start("a")
	s.shareKeys("a", "b")
	s.b = s.start("b")
	return s
}

func (s *safe) start(name string, args ...string) *replica {
	s.t.Helper()
	return s.serve(name, append(args, "--broker-drain", "0s", "--log-level", "info")...)
}

// stop ends both brokers.
func (s *safe) stop() {
	s.a.Terminate()
	s.b.Terminate()
}

// ring reads the key file of a broker.
func (s *safe) ring(name string) []key {
	s.t.Helper()
	var file struct{ Keys []key }
	content, err := os.ReadFile(filepath.Join(s.dir, name, "broker.key"))
	if err == nil {
		err = json.Unmarshal(content, &file)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return file.Keys
}

// give writes the key file of brokers.
func (s *safe) give(keys []key, names ...string) {
	s.t.Helper()
	content, err := json.Marshal(map[string][]key{"keys": keys})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, name := range names {
		s.write(name+"/broker.key", string(content))
	}
}

// run runs a command against a broker, which has to succeed.
func (r *replica) run(args ...string) string {
	r.house.t.Helper()
	out, errs, code := r.Account.Run(r.house.t, append(args, "--state", r.state)...)
	if code != 0 {
		r.house.t.Fatalf("%v: %d %s%s", args, code, out, errs)
	}
	return out
}

// refused runs a command against a broker, which has to fail, and returns the error.
func (r *replica) refused(args ...string) string {
	r.house.t.Helper()
	out, errs, code := r.Account.Run(r.house.t, append(args, "--state", r.state)...)
	if code == 0 {
		r.house.t.Fatalf("%v was not refused: %s%s", args, out, errs)
	}
	return errs
}

// keys is what `keys list` tells of each key.
func (r *replica) keys() map[string]admin.Key {
	r.house.t.Helper()
	var all []admin.Key
	out := r.run("keys", "list", "--json")
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		r.house.t.Fatalf("%v: %s", err, out)
	}
	byID := map[string]admin.Key{}
	for _, k := range all {
		byID[k.ID] = k
	}
	return byID
}

// lacking waits until `keys list` says that just these have not got a key.
func (r *replica) lacking(id string, want ...*replica) {
	r.house.t.Helper()
	spec.Eventually(r.house.t, fmt.Sprintf("key %s is known to all but %d", id, len(want)), func() error {
		k := r.keys()[id]
		if !k.Here || !slices.EqualFunc(k.Lacking, want, func(name string, r *replica) bool { return strings.HasSuffix(name, r.port()) }) {
			return fmt.Errorf("%+v", k)
		}
		return nil
	})
}

// seals checks how many records each key has sealed, and which one is in use.
func (r *replica) seals(current string, want map[string]int) {
	r.house.t.Helper()
	keys, records := r.keys(), map[string]int{}
	for id, k := range keys {
		records[id] = k.Records
	}
	if !maps.Equal(records, want) || !keys[current].Current {
		r.house.t.Fatalf("keys %+v; want records %v, and %s in use", keys, want, current)
	}
}

// port is how a replica's name ends.
func (r *replica) port() string { return r.url[strings.LastIndex(r.url, ":"):] }

func path(instance string) string { return "/v2/service_instances/" + instance }

func (r *replica) order(instance string) {
	r.house.t.Helper()
	body := order(spec.OneServer)
	body["parameters"] = map[string]any{"prefix": "/" + instance}
	if status, _, text := r.ask(basic("cc", canaryBasic), "PUT", path(instance)+"?accepts_incomplete=true", body); status != http.StatusAccepted {
		r.house.t.Fatalf("create %s: %d %s", instance, status, text)
	}
}

func (r *replica) await(instance string) {
	r.house.t.Helper()
	r.settled(basic("cc", canaryBasic), path(instance), "succeeded")
}

// tryBind asks for a binding; without credentials its answer is the error.
func (r *replica) tryBind(instance, binding string) (credentials, error) {
	return r.credentials("PUT", http.StatusCreated, instance, binding, map[string]any{"service_id": spec.Service, "plan_id": spec.OneServer})
}

// fetch reads the credentials of a binding.
func (r *replica) fetch(instance, binding string) (credentials, error) {
	return r.credentials("GET", http.StatusOK, instance, binding, nil)
}

func (r *replica) credentials(method string, want int, instance, binding string, body any) (credentials, error) {
	status, _, text, err := r.try(basic("cc", canaryBasic), method, path(instance)+"/service_bindings/"+binding, body)
	var bound struct{ Credentials credentials }
	if err == nil {
		err = json.Unmarshal([]byte(text), &bound)
	}
	if err == nil && status != want {
		err = fmt.Errorf("%s %s of %s: %d %s", method, binding, instance, status, text)
	}
	return bound.Credentials, err
}

func (r *replica) bind(instance, binding string) credentials {
	r.house.t.Helper()
	c, err := r.tryBind(instance, binding)
	if err != nil {
		r.house.t.Fatal(err)
	}
	return c
}

func (r *replica) unbind(instance, binding string) error {
	status, _, text, err := r.try(basic("cc", canaryBasic), "DELETE", path(instance)+"/service_bindings/"+binding+"?service_id="+spec.Service+"&plan_id="+spec.OneServer, nil)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("unbind %s: %d %s", binding, status, text)
	}
	return err
}

// data is what an app finds in the service, after it has put something there
// unless that is ""; an error that it is not let in.
func (c *credentials) data(t testing.TB, put string) (string, error) {
	t.Helper()
	client, err := etcd.Login(t, users.Service{Endpoints: c.URIs, CA: c.CA}, users.User{Name: c.Username, Password: serviceforge.NewSecret(c.Password)})
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if put != "" {
		_, err = client.Put(ctx, "data", put)
	}
	var answer *clientv3.GetResponse
	if err == nil {
		answer, err = client.Get(ctx, "data")
	}
	if err != nil || len(answer.Kvs) == 0 {
		return "", err
	}
	return string(answer.Kvs[0].Value), nil
}

// wants checks that an app is let in and finds that.
func (c *credentials) wants(t testing.TB, want string) {
	t.Helper()
	if got, err := c.data(t, ""); err != nil || got != want {
		t.Errorf("%s finds %q, %v; want %q", c.Username, got, err, want)
	}
}
