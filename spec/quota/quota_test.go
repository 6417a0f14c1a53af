// Package quota_test lets many create at once through two brokers on one etcd,
// kills brokers meanwhile, and counts: a limit of 10 means 10.
package quota_test

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/serviceforge/serviceforge/spec"
	"github.com/serviceforge/serviceforge/spec/address"
)

// pool is one on a director that knows of no deployment and takes none: orders
// are accepted and wait, and can be deleted.
const pool = `pool:
  name: busy
  director:
    url: %s
    username: u
    password: p
    ca: |
%s
  azs: [z1]
  network: default
  vm_types: {small: small, medium: medium}
  disk_types: {small: small, medium: medium}
  vm_extensions: []
  stemcells: {ubuntu-jammy: "1.0"}
  reachable: true
stub: {}
`

// house is two brokers on one etcd.
type house struct {
	t       *testing.T
	brokers []*spec.Process
	osb     []spec.Broker
	state   string // of the first
}

func newHouse(t *testing.T, limits ...string) *house {
	h := &house{t: t}
	dir := spec.Folder(t)
	self := spec.Self(t)
	etcd := address.Free(t)
	spec.StartProcess(t, self, "etcd:", "etcd", "--state", filepath.Join(dir, "e"), "--etcd-listen", etcd)
	file := filepath.Join(dir, "pool.yml")
	h.write(file, h.director())
	for n := range 2 {
		state := filepath.Join(dir, fmt.Sprint(n))
		if n == 0 {
			h.state = state
		} else { // they share the keys of the store
			ring, err := os.ReadFile(filepath.Join(h.state, "broker.key"))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.MkdirAll(state, 0o700); err != nil {
				t.Fatal(err)
			}
			h.write(filepath.Join(state, "broker.key"), ring)
		}
		address := address.Free(t)
		h.brokers = append(h.brokers, spec.StartProcess(t, self, "broker:", "serve", "--state", state, "--etcd", "http://"+etcd,
			"--listen", address, "--broker-password", "secret", "--pools", file, fmt.Sprintf("--bootstrap=%t", n == 0),
			"--engine-lease", "2s", "--engine-director-timeout", "1s", "--broker-drain", "0s", "--log-level", "warn", "--quotas", strings.Join(limits, ",")))
		h.osb = append(h.osb, spec.NewBroker(t, "http://"+address))
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, b := range h.brokers {
				t.Log(b.Output())
			}
		}
	})
	return h
}

// director starts the pool's director and returns the pool's file.
func (h *house) director() []byte {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.Method != http.MethodGet:
			http.Error(w, `{}`, http.StatusServiceUnavailable)
		case r.URL.Path == "/tasks" || r.URL.Path == "/deployments":
			_, _ = w.Write([]byte(`[]`))
		default:
			http.Error(w, `{"code":70000,"description":"Deployment doesn't exist"}`, http.StatusNotFound)
		}
	}))
	h.t.Cleanup(server.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	return fmt.Appendf(nil, pool, server.URL, "      "+strings.ReplaceAll(strings.TrimSpace(string(ca)), "\n", "\n      "))
}

func (h *house) write(path string, content []byte) {
	h.t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		h.t.Fatal(err)
	}
}

func path(id string) string { return "/v2/service_instances/" + url.PathEscape(id) }

// create orders an instance of an organization and a space; status 0 = no answer.
func (h *house) create(broker int, id, organization, space string) (status int, description string) {
	var answer struct{ Description string }
	status, err := h.osb[broker].TryCall("PUT", path(id)+"?accepts_incomplete=true", map[string]any{
		"service_id": spec.Service, "plan_id": spec.OneServer, "organization_guid": organization, "space_guid": space}, &answer)
	if err != nil {
		return 0, err.Error()
	}
	return status, answer.Description
}

func (h *house) delete(broker int, id string) (status int) {
	status, err := h.osb[broker].TryCall("DELETE", path(id)+"?accepts_incomplete=true&service_id="+spec.Service+"&plan_id="+spec.OneServer, nil, nil)
	if err != nil {
		return 0
	}
	return status
}

// burst orders 200 instances at once, half through each broker, and returns who
// was accepted and what the others were told.
func (h *house) burst(prefix string, organization, space func(n int) string) (accepted []string, told map[string]int) {
	h.t.Helper()
	var mu sync.Mutex
	told = map[string]int{}
	var all sync.WaitGroup
	for n := range 200 {
		all.Go(func() {
			id := fmt.Sprintf("%s-%d", prefix, n)
			status, description := h.create(n%2, id, organization(n), space(n))
			mu.Lock()
			defer mu.Unlock()
			switch status {
			case http.StatusAccepted:
				accepted = append(accepted, id)
			case http.StatusUnprocessableEntity:
				told[description]++
			default:
				h.t.Errorf("%s: %d %s", id, status, description)
			}
		})
	}
	all.Wait()
	return accepted, told
}

// used reads what `serviceforge quota` shows, by "scope:id/resource".
func (h *house) used() map[string]int {
	h.t.Helper()
	var shown struct {
		Use []struct {
			Scope, ID, Resource string
			Used                int
		}
	}
	out := h.run("quota", "--json")
	if err := json.Unmarshal([]byte(out), &shown); err != nil {
		h.t.Fatalf("%v: %s", err, out)
	}
	used := map[string]int{}
	for _, u := range shown.Use {
		if u.Used > 0 {
			used[u.Scope+":"+u.ID+"/"+u.Resource] = u.Used
		}
	}
	return used
}

func (h *house) run(args ...string) string {
	h.t.Helper()
	out, errs, code := h.brokers[0].Account.Run(h.t, append(args, "--state", h.state)...)
	if code != 0 {
		h.t.Fatalf("%v: %d %s%s", args, code, out, errs)
	}
	return out
}

// right checks that a count finds every counter right.
func (h *house) right(when string) {
	h.t.Helper()
	if out := h.run("quota", "recount"); out != "all counters were right\n" {
		h.t.Errorf("%s:\n%s", when, out)
	}
}

// clear deletes instances and waits until nothing is used any more.
func (h *house) clear(ids []string) {
	h.t.Helper()
	for _, id := range ids {
		if status := h.delete(0, id); status != http.StatusAccepted && status != http.StatusGone {
			h.t.Errorf("delete %s: %d", id, status)
		}
	}
	spec.Eventually(h.t, "nothing is used any more", func() error {
		if used := h.used(); len(used) > 0 {
			return fmt.Errorf("%v", used)
		}
		return nil
	})
}

func always(s string) func(int) string { return func(int) string { return s } }

func each(prefix string) func(int) string {
	return func(n int) string { return fmt.Sprint(prefix, n) }
}

func TestALimitOf10Means10(t *testing.T) {
	h := newHouse(t, "broker/instances=40", "organization/instances=30", "organization:small/instances=10", "space/ips=10", "platform:cc/instances=40",
		"plan:etcd-dedicated/1-server/instances=40", "service:etcd-dedicated/instances=40")
	for _, level := range []struct {
		name                string
		organization, space func(int) string
		want                int
		told                string
	}{
		{"organization", always("small"), each("s"), 10, "the limit of 10 instances for the organization small is used up"},
		{"space", each("o"), always("s"), 10, "the limit of 10 ips for the space s is used up"},
		{"both", always("small"), always("s"), 10, "is used up: delete a service instance, or ask the operator to raise it"},
		{"some of the broker", each("o"), each("s"), 40, "the limit of 40 instances for "},
	} {
		accepted, told := h.burst(level.name, level.organization, level.space)
		if len(accepted) != level.want {
			t.Errorf("%s: %d were accepted, want %d", level.name, len(accepted), level.want)
		}
		for description := range told {
			if !strings.Contains(description, level.told) {
				t.Errorf("%s: told %q, want %q", level.name, description, level.told)
			}
		}
		if used := h.used()["broker:/instances"]; used != level.want {
			t.Errorf("%s: %d are counted, want %d", level.name, used, level.want)
		}
		if status, _ := h.create(1, accepted[0], "other", "other"); status != http.StatusConflict {
			t.Errorf("%s: another order of the same id: %d", level.name, status)
		}
		h.right(level.name)
		h.clear(accepted)
	}
	accepted, _ := h.burst("again", always("small"), each("s"))
	if len(accepted) != 10 {
		t.Errorf("again: %d were accepted, want 10", len(accepted))
	}
	if status, description := h.create(1, accepted[0], "small", "s"+accepted[0][len("again-"):]); status != http.StatusAccepted {
		t.Errorf("a repeated order is answered %d %s", status, description)
	}
}

// A broker is killed at random, again and again, while instances come and go
// through both.
func TestNothingLeaksWhenBrokersDie(t *testing.T) {
	h := newHouse(t, "broker/instances=25", "organization/instances=10", "space/ips=7")
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	all := map[string]bool{}
	for round := range 6 {
		stop := make(chan struct{})
		var users sync.WaitGroup
		for u := range uint64(16) {
			own := rand.New(rand.NewPCG(seed, uint64(round)*100+u))
			ids := make([]string, 4)
			for n := range ids {
				ids[n] = fmt.Sprintf("%d-%d", u, n)
				all[ids[n]] = true
			}
			users.Go(func() { h.comeAndGo(own, ids, stop) })
		}
		victim := random.IntN(2)
		<-time.After(time.Duration(100+random.IntN(300)) * time.Millisecond) // a random moment is the point
		h.brokers[victim].Kill()
		<-time.After(time.Duration(random.IntN(200)) * time.Millisecond)
		h.brokers[victim].Start()
		close(stop)
		users.Wait()
		h.right(fmt.Sprintf("round %d", round))
		for quota, used := range h.used() {
			if most := map[bool]int{true: 25, false: 10}[strings.HasPrefix(quota, "broker")]; used > most {
				t.Errorf("round %d: %s: %d", round, quota, used)
			}
		}
	}
	h.clear(slices.Collect(maps.Keys(all)))
}

func (h *house) comeAndGo(random *rand.Rand, ids []string, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		id := ids[random.IntN(len(ids))]
		broker := random.IntN(2)
		if random.IntN(2) == 0 {
			h.delete(broker, id)
			continue
		}
		n := len(id) % 3
		switch status, description := h.create(broker, id, fmt.Sprint("o", n), fmt.Sprint("s", n)); status {
		case 0, http.StatusAccepted, http.StatusConflict, http.StatusServiceUnavailable:
		case http.StatusUnprocessableEntity:
			if !strings.Contains(description, "is used up") && !strings.Contains(description, "concurrent requests") {
				h.t.Errorf("%s: %s", id, description)
			}
		default:
			h.t.Errorf("%s: %d %s", id, status, description)
		}
	}
}
