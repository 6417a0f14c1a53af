package cluster_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/serviceforge/serviceforge/spec"
)

// asks makes a call that has to be answered with a status.
func (c *cluster) asks(t *testing.T, r *replica, in call, status int) answer {
	t.Helper()
	out, err := send(r.URL(), in, 20*time.Second)
	must(t, err)
	if out.status != status {
		t.Fatalf("%v: %d %s, want %d", in, out.status, out.why, status)
	}
	return out
}

// awaits polls until an operation has succeeded.
func (c *cluster) awaits(t *testing.T, r *replica, id, op string) {
	t.Helper()
	spec.Eventually(t, "the operation on "+id+" succeeds", func() error {
		out, err := send(r.URL(), call{verb: "POLL", id: id, op: op}, 20*time.Second)
		if err == nil && out.state == "failed" {
			t.Fatal(out.why)
		}
		if err == nil && out.state != "succeeded" {
			err = errors.New(out.why)
		}
		return err
	})
}

func (c *cluster) creates(t *testing.T, r *replica, id string) {
	t.Helper()
	c.awaits(t, r, id, c.asks(t, r, call{verb: "PUT", id: id}, http.StatusAccepted).op)
}

func (c *cluster) deletes(t *testing.T, r *replica, id string) {
	t.Helper()
	c.awaits(t, r, id, c.asks(t, r, call{verb: "DELETE", id: id}, http.StatusAccepted).op)
}

// A replica that hears of everything ten seconds late says nothing that is
// older than what others said: who created an instance elsewhere finds it there.
func laggingWatch(t *testing.T, c *cluster) {
	c.awaitLeader()
	late := c.newReplica("late", func(_ *replica, m *member) string { return c.lagging(t, m, 10*time.Second) })
	defer late.Terminate()
	op := c.asks(t, c.replicas[0], call{verb: "PUT", id: "read"}, http.StatusAccepted).op
	c.asks(t, late, call{verb: "POLL", id: "read", op: op}, http.StatusOK)
	if !slices.Contains(late.list(t), "read") {
		t.Error("it is not in the list")
	}
	c.awaits(t, c.replicas[0], "read", op)
	c.asks(t, late, call{verb: "GET", id: "read"}, http.StatusOK)
	c.asks(t, late, call{verb: "BIND", id: "read"}, http.StatusCreated)
	op = c.asks(t, c.replicas[0], call{verb: "DELETE", id: "read"}, http.StatusAccepted).op
	if out := c.asks(t, late, call{verb: "POLL", id: "read", op: op}, http.StatusOK); out.state != "in progress" && late.knows(t, "read") {
		t.Errorf("a poll for the deletion was answered with %s", out.why)
	}
	c.awaits(t, c.replicas[0], "read", op)
	c.asks(t, late, call{verb: "GET", id: "read"}, http.StatusNotFound)
	if slices.Contains(late.list(t), "read") {
		t.Error("it is in the list though it is gone")
	}
	c.replicas = append(c.replicas, late)
	defer func() { c.replicas = c.replicas[:3] }()
	for n := range rounds(t) {
		l := c.begin(t, fmt.Sprint("lag-", n, "-"), platforms)
		l.progressed(platforms)
		l.end()
	}
}

// list is what `serviceforge services` shows.
func (r *replica) list(t *testing.T) (ids []string) {
	t.Helper()
	out, errs, code := r.CLI("services", "--json")
	if code != 0 {
		t.Fatal(errs)
	}
	var all []struct{ ID string }
	must(t, json.Unmarshal([]byte(out), &all))
	for _, one := range all {
		ids = append(ids, one.ID)
	}
	return ids
}

// knows says whether the instance is there, by a read that nothing delays.
func (r *replica) knows(t *testing.T, id string) bool {
	t.Helper()
	found, err := r.cluster.keys("instances/" + id)
	must(t, err)
	return len(found) > 0
}

func isDeploy(r *http.Request) bool {
	return r.Method == http.MethodPost && r.URL.Path == "/deployments"
}

// strandPost creates an instance whose first deploy is on its way when the
// leader that sent it freezes; the next leader deploys it.
func (c *cluster) strandPost(t *testing.T, id string) (frozen *replica, arrive func()) {
	t.Helper()
	frozen = c.awaitLeader()
	held := frozen.mail.hold(isDeploy)
	op := c.asks(t, c.other(frozen), call{verb: "PUT", id: id}, http.StatusAccepted).op
	<-held
	frozen.Freeze()
	c.awaits(t, c.awaitLeader(frozen), id, op)
	c.oneOfEach(t, id)
	return frozen, frozen.mail.release
}

// The director is asked for the same bytes again: that changes nothing.
func latePost(t *testing.T, c *cluster) {
	for n := range rounds(t) {
		id := fmt.Sprint("post", n)
		frozen, arrive := c.strandPost(t, id)
		runs := spec.EtcdsOf(c.director.state)
		arrive()
		spec.Eventually(t, "the late deploy ends", func() error {
			var tasks []struct{ State string }
			if err := c.director.ask("/tasks?verbose=2&deployment=etcd-"+id, &tasks); err != nil {
				return err
			}
			if len(tasks) != 2 || tasks[0].State != "done" || tasks[1].State != "done" {
				return fmt.Errorf("%v", tasks)
			}
			return nil
		})
		if names, err := c.director.deployments(); err != nil || len(names) != 1 || !slices.Equal(runs, spec.EtcdsOf(c.director.state)) {
			t.Errorf("deployments %v, processes %v, were %v: %v", names, spec.EtcdsOf(c.director.state), runs, err)
		}
		if claims, err := c.keys("slots/"); err != nil || len(claims) != 1 {
			t.Errorf("places %v: %v", claims, err)
		}
		frozen.Thaw()
		c.asks(t, frozen, call{verb: "GET", id: id}, http.StatusOK)
		c.deletes(t, frozen, id)
		c.nothingIsLeft(t)
	}
}

// What a request makes that comes after all is an orphan: it has our stamp, and
// its instance a tombstone.
func latestPost(t *testing.T, c *cluster) {
	for n := range rounds(t) {
		id := fmt.Sprint("last", n)
		frozen, arrive := c.strandPost(t, id)
		c.deletes(t, c.other(frozen), id)
		c.nothingIsLeft(t)
		arrive()
		spec.Eventually(t, "the late deploy makes its process", func() error {
			if n := len(spec.EtcdsOf(c.director.state)); n != 1 {
				return fmt.Errorf("%d processes", n)
			}
			return nil
		})
		frozen.Thaw()
		orphan := "etcd-" + id
		spec.Eventually(t, "it is found", func() error {
			out, errs, _ := c.other(frozen).CLI("orphans", "--json")
			if !strings.Contains(out, `"`+orphan+`"`) || !strings.Contains(out, `"orphan"`) {
				return errors.New(out + errs)
			}
			return nil
		})
		if claims, err := c.keys("slots/"); err != nil || len(claims) > 0 {
			t.Errorf("places %v: %v", claims, err)
		}
		spec.Eventually(t, "it is deleted, when nothing works on it any more", func() error {
			_, errs, code := c.other(frozen).CLI("orphans", "delete", orphan, "--grace", "0s")
			if code != 0 && !strings.Contains(errs, "wait for its end") && !strings.Contains(errs, "look again") { // its task ended between two looks
				t.Fatal(errs)
			}
			if code != 0 {
				return errors.New(errs)
			}
			return nil
		})
		c.nothingIsLeft(t)
		c.creates(t, frozen, id) // the id is as good as any
		c.deletes(t, frozen, id)
	}
}

// Without quorum nothing is promised, nothing is half done, and all goes on by
// itself when quorum is back.
func noQuorum(t *testing.T, c *cluster) {
	for n := range rounds(t) {
		id := fmt.Sprint("quorum", n)
		c.creates(t, c.replicas[0], id)
		leader := c.awaitLeader()
		held := leader.mail.hold(isDeploy)
		op := c.asks(t, c.other(leader), call{verb: "PUT", id: id + "-under-way"}, http.StatusAccepted).op
		<-held
		c.members[0].Kill()
		c.members[1].Kill()
		told := make(chan error, 16)
		asked := 0
		for _, r := range c.replicas {
			for _, in := range []call{{verb: "PUT", id: id + "-new"}, {verb: "POLL", id: id + "-under-way", op: op}, {verb: "BIND", id: id}, {verb: "GET", id: id}} {
				asked++
				go func() {
					out, err := send(r.URL(), in, 30*time.Second)
					if err == nil && !strings.HasPrefix(out.why, "503 ") {
						err = fmt.Errorf("%v: %d %s, want 503", in, out.status, out.why)
					}
					told <- err
				}()
			}
		}
		for range asked {
			if err := <-told; err != nil {
				t.Error(err)
			}
		}
		c.members[0].Start()
		c.members[1].Start()
		leader.mail.release()
		c.awaits(t, c.replicas[1], id+"-under-way", op)
		c.eventually(t, call{verb: "BIND", id: id}, http.StatusCreated, http.StatusOK)
		c.awaits(t, c.replicas[2], id+"-new", c.eventually(t, call{verb: "PUT", id: id + "-new"}, http.StatusAccepted, http.StatusOK).op)
		c.oneOfEach(t, id, id+"-under-way", id+"-new")
		for _, one := range []string{id, id + "-under-way", id + "-new"} {
			c.deletes(t, c.replicas[0], one)
		}
		c.nothingIsLeft(t)
	}
}

// eventually repeats a call until it is answered with one of the statuses.
func (c *cluster) eventually(t *testing.T, in call, statuses ...int) (out answer) {
	t.Helper()
	spec.Eventually(t, in.String(), func() (err error) {
		out, err = send(c.replicas[0].URL(), in, 20*time.Second)
		if err == nil && !slices.Contains(statuses, out.status) {
			err = errors.New(out.why)
		}
		return err
	})
	return out
}

// With a lease of ten minutes only a leader that gives it up is replaced within
// the spec. It does that first: it still answers what comes until it has ended.
func handOver(t *testing.T, c *cluster) {
	defer c.restart(lease, 0)
	c.restart(10*time.Minute, 5*time.Second) // once: killed leaders would keep their lease
	for n := range rounds(t) {
		id := fmt.Sprint("handed", n)
		leader := c.awaitLeader()
		other := c.other(leader)
		op := c.asks(t, other, call{verb: "PUT", id: id}, http.StatusAccepted).op
		spec.Eventually(t, "the director's task is known", func() error {
			record, err := c.keys("instances/" + id)
			if err == nil && !strings.Contains(record[""], `"task":`) {
				err = errors.New(record[""])
			}
			return err
		})
		ended := make(chan int)
		go func() { ended <- leader.Terminate() }()
		next := c.awaitLeader(leader)
		select {
		case code := <-ended:
			t.Errorf("it had ended (%d) before %s led", code, next.state)
		default:
		}
		c.asks(t, leader, call{verb: "POLL", id: id, op: op}, http.StatusOK)
		if code := <-ended; code != 0 {
			t.Errorf("it ended with %d", code)
		}
		leader.Start()
		c.awaits(t, leader, id, op)
		c.oneOfEach(t, id)
		c.deletes(t, leader, id)
		c.nothingIsLeft(t)
	}
}

// restart starts all brokers again with other settings.
func (c *cluster) restart(lease, drain time.Duration) {
	for _, r := range c.replicas {
		r.configure(lease, drain)
		r.Kill()
	}
	for _, r := range c.replicas {
		r.Start()
	}
}
