package cluster_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/serviceforge/serviceforge/spec"
)

// load is platforms at work: instances come and go, asked for and asked about
// through whichever broker comes next.
type load struct {
	*history
	t       *testing.T
	cluster *cluster
	stop    chan struct{}
	owners  sync.WaitGroup
	askers  sync.WaitGroup
	done    chan struct{} // closed when the owners are

	mu      sync.Mutex
	current map[string]string // the last operation of each instance
	rounds  int               // how often an instance was created and deleted
}

// lookEvery is the pause between two questions of one client.
const lookEvery = 40 * time.Millisecond

// begin starts n platforms, with one instance each, named after the spec.
func (c *cluster) begin(t *testing.T, name string, n int) *load {
	l := &load{history: newHistory(), t: t, cluster: c, stop: make(chan struct{}), done: make(chan struct{}), current: map[string]string{}}
	for i := range n {
		id := fmt.Sprint(name, i)
		l.owners.Go(func() { l.own(id, 2*i) })
		l.askers.Go(func() { l.look(id, 2*i+1) })
	}
	return l
}

// end lets every platform finish what it began, now that the fault is over, and says that nothing is left,
// nothing was lost, and nobody was lied to.
func (l *load) end() {
	l.t.Helper()
	close(l.stop)
	l.owners.Wait()
	close(l.done)
	l.askers.Wait()
	if l.rounds == 0 {
		l.t.Error("no instance came and went: this shows nothing")
	}
	l.t.Logf("%d instances came and went", l.rounds)
	l.check(l.t)
	if l.t.Failed() {
		l.t.FailNow()
	}
	l.cluster.nothingIsLeft(l.t)
}

// progressed waits until n more instances have come and gone.
func (l *load) progressed(n int) {
	l.t.Helper()
	l.mu.Lock()
	want := l.rounds + n
	l.mu.Unlock()
	spec.Eventually(l.t, "instances come and go", func() error {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.rounds < want {
			return fmt.Errorf("%d, want %d", l.rounds, want)
		}
		return nil
	})
}

func (l *load) any() *replica { return l.cluster.replicas[rand.IntN(len(l.cluster.replicas))] }

// own creates and deletes one instance, again and again.
func (l *load) own(id string, number int) {
	c := &client{history: l.history, t: l.t, number: number, timeout: 3 * time.Second}
	for {
		select {
		case <-l.stop:
			return
		default:
		}
		if !l.run(c, call{verb: "PUT", id: id}) || !l.run(c, call{verb: "DELETE", id: id}) {
			return
		}
		l.mu.Lock()
		l.rounds++
		l.mu.Unlock()
	}
}

// run asks for a change until it is accepted, and then after it until it is made.
func (l *load) run(c *client, change call) bool {
	op, ok := l.accepted(c, change)
	if !ok {
		return false
	}
	l.mu.Lock()
	l.current[change.id] = op
	l.mu.Unlock()
	return op == "" || l.until(change.String()+" is done", func() (bool, error) {
		out := c.ask(l.any(), call{verb: "POLL", id: change.id, op: op})
		if out.state == "failed" {
			return false, fmt.Errorf("%s failed: %s", change, out.why)
		}
		return out.state == "succeeded", nil
	})
}

// accepted repeats a change whose fate is unknown.
func (l *load) accepted(c *client, change call) (op string, ok bool) {
	unknown := false
	ok = l.until(change.String()+" is accepted", func() (bool, error) {
		out := c.ask(l.any(), change)
		op = out.op
		switch {
		case out.status == 0:
			unknown = true
			l.rest(time.Second) // each may still happen: more of them say nothing more
			return false, nil
		case out.status == http.StatusAccepted:
			return true, nil
		case unknown && (out.status == http.StatusOK || out.status == http.StatusGone): // it was made meanwhile
			return true, nil
		}
		return false, fmt.Errorf("%s: %d %s", change, out.status, out.why)
	})
	return op, ok
}

// until repeats do; false = the error was told.
func (l *load) until(what string, do func() (bool, error)) bool {
	const patience = 90 * time.Second
	deadline := time.After(patience)
	for {
		done, err := do()
		if done {
			return true
		}
		select {
		case <-deadline:
			err = errors.New("it is stuck")
		default:
		}
		if err != nil {
			l.t.Errorf("%s: %v", what, err)
			return false
		}
		l.rest(lookEvery)
	}
}

func (l *load) rest(d time.Duration) {
	select {
	case <-l.done:
	case <-time.After(d):
	}
}

// look asks all brokers about an instance while its owner works.
func (l *load) look(id string, number int) {
	c := &client{history: l.history, t: l.t, number: number, timeout: 3 * time.Second}
	for {
		select {
		case <-l.done:
			return
		default:
		}
		l.mu.Lock()
		op := l.current[id]
		l.mu.Unlock()
		if op != "" && rand.IntN(3) > 0 {
			c.ask(l.any(), call{verb: "POLL", id: id, op: op})
		} else {
			c.ask(l.any(), call{verb: "GET", id: id})
		}
		l.rest(lookEvery)
	}
}

// nothingIsLeft says that no broker, director or machine has anything of an
// instance any more.
func (c *cluster) nothingIsLeft(t *testing.T) {
	t.Helper()
	spec.Eventually(t, "nothing is left", func() error {
		for _, prefix := range []string{"instances/", "bindings/", "slots/"} {
			found, err := c.keys(prefix)
			if err != nil {
				return err
			}
			if len(found) > 0 {
				return fmt.Errorf("etcd has %s%v", prefix, found)
			}
		}
		names, err := c.director.deployments()
		if err != nil {
			return err
		}
		if len(names) > 0 {
			return fmt.Errorf("the director has %v", names)
		}
		if left := spec.EtcdsOf(c.director.state); len(left) > 0 {
			return fmt.Errorf("processes %v run", left)
		}
		return nil
	})
}

// oneOfEach says that each instance has one deployment, that was made once,
// one process and one place, and that there are no others.
func (c *cluster) oneOfEach(t *testing.T, ids ...string) {
	t.Helper()
	names, err := c.director.deployments()
	must(t, err)
	claims, err := c.keys("slots/")
	must(t, err)
	if len(names) != len(ids) || len(spec.EtcdsOf(c.director.state)) != len(ids) || len(claims) != len(ids) {
		t.Errorf("deployments %v, processes %v and places %v for %d instances", names, spec.EtcdsOf(c.director.state), claims, len(ids))
	}
	for _, id := range ids {
		var tasks []struct{ Description, State string }
		must(t, c.director.ask("/tasks?verbose=2&deployment=etcd-"+id, &tasks))
		deploys := 0
		for _, task := range tasks {
			if strings.HasPrefix(task.Description, "create deployment") {
				deploys++
			}
		}
		if deploys != 1 {
			t.Errorf("%s was deployed %d times: %v", id, deploys, tasks)
		}
	}
}
