// Package crash_test kills the real program, at chosen moments and at random,
// and counts what was lost: nothing.
package crash_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/serviceforge/serviceforge/spec"
	"github.com/serviceforge/serviceforge/spec/address"
)

// moment is when the broker is killed: around the n-th request of a kind.
type moment struct {
	name   string
	after  bool // when the director has answered, but the broker has not heard it
	method string
	path   string // begins the request's path
	verb   string // of the operation under way: create or delete
}

var moments = []moment{
	{"before the name is looked up", false, "GET", "/deployments/", "create"},
	{"after the name was looked up", true, "GET", "/deployments/", "create"},
	{"before the deploy is posted", false, "POST", "/deployments", "create"},
	{"after the deploy was posted", true, "POST", "/deployments", "create"},
	{"while the task is asked for", false, "GET", "/tasks/", "create"},
	{"after the task was asked for", true, "GET", "/tasks/", "create"},
	{"before the addresses are read", false, "GET", "/deployments/etcd-i/instances", "create"},
	{"before the delete is sent", false, "DELETE", "/deployments/", "delete"},
	{"after the delete was sent", true, "DELETE", "/deployments/", "delete"},
	{"after the delete's task was asked for", true, "GET", "/tasks/", "delete"},
}

// The broker is killed at ten chosen moments of a create or a delete; director
// and etcd go on. The operation ends, with one deployment posted once, or none.
func TestKillTheBrokerAtChosenMoments(t *testing.T) {
	state := filepath.Join(spec.Folder(t), "s")
	self := spec.Self(t)
	etcd := address.Free(t)
	spec.StartProcess(t, self, "etcd:", "etcd", "--state", state, "--etcd-listen", etcd)
	spec.StartProcess(t, self, "director:", "bosh", "--state", state, "--bosh-listen", "127.0.0.1:0", "--network", "127.240.0.0/24")
	tr := &trap{}
	spec.ProxyDirector(t, state, tr.see)
	address := address.Free(t)
	web := spec.StartProcess(t, self, "broker:", "web", "--state", state, "--etcd-listen", etcd, "--listen", address, "--broker-password", "secret",
		"--engine-lease", "2s", "--engine-director-timeout", "1s")
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(web.Output())
		}
	})
	broker := spec.NewBroker(t, "http://"+address)
	for _, m := range moments {
		t.Run(m.name, func(t *testing.T) {
			if m.verb == "delete" {
				broker.Await("i", broker.Create("i", spec.OneServer))
			}
			struck := tr.set(m)
			var operation string
			if m.verb == "create" {
				operation = broker.Create("i", spec.OneServer)
			} else {
				operation = broker.Delete("i")
			}
			<-struck
			web.Kill()
			web.Start()
			broker.Await("i", operation)
			if n := tr.count(); m.verb == "create" && n != 1 {
				t.Errorf("the deploy was posted %d times", n)
			}
			if m.verb == "create" {
				if n := len(spec.EtcdsOf(state)); n != 1 {
					t.Errorf("%d etcd processes run, want 1", n)
				}
				broker.Await("i", broker.Delete("i"))
			}
			if left := spec.EtcdsOf(state); len(left) > 0 {
				t.Errorf("processes are left: %v", left)
			}
		})
	}
}

// trap closes struck at a moment and keeps that request from going on; it
// counts the deploys that the director took.
type trap struct {
	mu     sync.Mutex
	moment moment
	struck chan struct{} // nil = not set, or sprung
	posts  int
}

func (tr *trap) set(m moment) <-chan struct{} {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.moment, tr.struck, tr.posts = m, make(chan struct{}), 0
	return tr.struck
}

// see says whether the exchange may go on.
func (tr *trap) see(r *http.Request, after bool) bool {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if after && r.Method == http.MethodPost && r.URL.Path == "/deployments" {
		tr.posts++
	}
	m := tr.moment
	if tr.struck == nil || after != m.after || r.Method != m.method || !strings.HasPrefix(r.URL.Path, m.path) {
		return true
	}
	close(tr.struck)
	tr.struck = nil
	return false
}

func (tr *trap) count() int {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.posts
}

// rounds is how often everything is killed at random: more in `make soak`.
func rounds(t *testing.T) int {
	n, err := strconv.Atoi(os.Getenv("SERVICEFORGE_SOAK_ROUNDS"))
	if err != nil {
		return 20
	}
	t.Logf("%d rounds", n)
	return n
}

// Broker, director and etcd are one process that is killed at random, again and
// again, while instances are created and deleted.
func TestKillEverythingAtRandom(t *testing.T) {
	dev := spec.StartDev(t, spec.Self(t), "127.241.0.0/24")
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	const slots = 3 // instances that come and go
	operations := map[string]string{}
	present := map[string]bool{} // what the last accepted request asked for
	for range rounds(t) {
		for range 2 {
			id := fmt.Sprint("i", random.IntN(slots))
			operation, wants := change(t, dev, id, present[id])
			if operation != "" {
				operations[id], present[id] = operation, wants
			}
		}
		<-time.After(time.Duration(random.IntN(900)) * time.Millisecond) // the moment is the fault
		dev.Kill()
		dev.Start()
	}
	want := 0
	for id, operation := range operations {
		dev.Await(id, operation)
		if present[id] {
			want++
		}
	}
	if got := dev.Etcds(); len(got) != want {
		t.Errorf("%d etcd processes run, want %d", len(got), want)
	}
	vms, err := os.ReadDir(filepath.Join(dev.State, "bosh", "vms"))
	if err != nil || len(vms) != want {
		t.Errorf("%d VMs are there, want %d: %v", len(vms), want, err)
	}
	for id, there := range present {
		status := dev.Call("GET", "/v2/service_instances/"+id, nil, nil)
		if there != (status == http.StatusOK) {
			t.Errorf("%s: GET answers %d, present should be %v", id, status, there)
		}
	}
}

// tell logs what is known of an instance: what the engine did, and the tasks of
// the director that are about it.
func tell(t *testing.T, dev *spec.Dev, id string) {
	t.Helper()
	for _, command := range []string{"explain", "history"} {
		out, errs, _ := dev.Account.Run(t, command, id, "--state", dev.State)
		t.Log(out, errs)
	}
	folder := filepath.Join(dev.State, "bosh", "director", "tasks")
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	tasks := map[int]string{}
	for _, e := range entries {
		content, err := os.ReadFile(filepath.Join(folder, e.Name(), "task.json"))
		if number, wrong := strconv.Atoi(e.Name()); err == nil && wrong == nil && strings.Contains(string(content), "etcd-"+id) {
			tasks[number] = string(content)
		}
	}
	numbers := slices.Sorted(maps.Keys(tasks))
	for _, number := range numbers[max(0, len(numbers)-30):] {
		t.Log(tasks[number])
	}
	t.Log(dev.Output())
}

// change asks for the opposite of what is there; "" = the broker refused, since
// the last operation is under way. None may have failed.
func change(t *testing.T, dev *spec.Dev, id string, present bool) (operation string, wants bool) {
	t.Helper()
	var last struct{ State, Description string }
	dev.Call(http.MethodGet, "/v2/service_instances/"+id+"/last_operation", nil, &last)
	if last.State == "failed" {
		tell(t, dev, id)
		t.Fatalf("%s failed: %s", id, last.Description)
	}
	method, body := http.MethodPut, any(map[string]any{
		"service_id": spec.Service, "plan_id": spec.OneServer, "organization_guid": "o", "space_guid": "s"})
	if present {
		method, body = http.MethodDelete, nil
	}
	var accepted struct{ Operation string }
	if dev.Call(method, "/v2/service_instances/"+id+"?accepts_incomplete=true&service_id="+spec.Service+"&plan_id="+spec.OneServer, body, &accepted) != http.StatusAccepted {
		return "", present
	}
	return accepted.Operation, !present
}
