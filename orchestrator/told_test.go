package orchestrator_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator"
	"github.com/serviceforge/serviceforge/store"
)

// follower is an engine beside the one that leads: it hears, and never leads.
func (h *house) follower() *orchestrator.Engine {
	h.t.Helper()
	e := h.replica()
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { e.Run(ctx) })
	h.t.Cleanup(func() {
		cancel()
		done.Wait()
	})
	return e
}

// says polls until a replica's answer is what is wanted.
func (h *house) says(e *orchestrator.Engine, a orchestrator.Accepted, what func(serviceforge.Progress) bool) serviceforge.Progress {
	h.t.Helper()
	return eventually(h.t, func() (serviceforge.Progress, error) {
		p, err := e.LastOperation(h.t.Context(), cc, a.Instance.ID, a.Operation)
		if err == nil && !what(p) {
			err = fmt.Errorf("%+v", p)
		}
		return p, err
	})
}

// Every replica tells the place in the line, how long it will take, and how far
// a task is, although only one leads.
func TestAllReplicasTellTheSame(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	director := h.pooled("", "  name: lab\n  max_in_flight: 1\n")["lab"]
	director.hold = true
	director.events = `{"time":1,"stage":"Updating instance","tags":["node"],"task":"node/0 (0) (canary)","index":1,"total":1,"state":"started"}` + "\n"
	h.run()
	first := h.create("a")
	director.awaitRunning(t, 1)
	follower := h.follower() // the other one leads already
	second, third := h.create("b"), h.create("c")
	for _, e := range []*orchestrator.Engine{h.engine(), follower} {
		p := h.says(e, third, func(p serviceforge.Progress) bool { return p.Place == 2 && p.Waiting == 2 })
		if p.Description != "Waiting for a worker of the director: 2nd of 2 in line" || p.RetryAfter != 2*time.Second {
			t.Errorf("nothing was measured yet: %+v", p)
		}
		h.says(e, second, func(p serviceforge.Progress) bool { return p.Place == 1 })
		if x, err := e.Explain(t.Context(), operator, "c"); err != nil || x.Position != 2 {
			t.Errorf("explained: place %d, %v", x.Position, err)
		}
	}
	h.says(follower, first, func(p serviceforge.Progress) bool {
		return p.Stage == "Updating instance" && p.Node == "node/0" && p.Percent == 50
	})
	director.step()
	h.until("a", first.Operation, serviceforge.Succeeded)
	for _, e := range []*orchestrator.Engine{h.engine(), follower} { // one task was measured
		p := h.says(e, third, func(p serviceforge.Progress) bool { return p.Place == 1 && p.Waiting == 1 })
		if !strings.HasPrefix(p.Description, "Waiting for a worker of the director: 1st of 1 in line, ") || p.RetryAfter < time.Second || p.RetryAfter > time.Minute {
			t.Errorf("one was measured: %+v", p)
		}
	}
	director.finish()
	h.until("b", second.Operation, serviceforge.Succeeded)
	h.until("c", third.Operation, serviceforge.Succeeded)
}

// What is told costs a write every two seconds at most, and none where nothing changes.
func TestTellingIsCheap(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	director := h.pooled("", "  name: lab\n  max_in_flight: 1\n", "  name: idle\n  state: cordoned\n")["lab"]
	director.hold = true
	told := map[string]int{}
	var mu sync.Mutex
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go h.store.FollowTold(ctx, func(pool string, _ store.Told) {
		mu.Lock()
		defer mu.Unlock()
		told[pool]++
	})
	begin := time.Now()
	h.run()
	for n := range 60 {
		h.create(fmt.Sprint("i", n))
	}
	h.says(h.engine(), orchestrator.Accepted{Instance: serviceforge.Instance{ID: "i59"}}, func(p serviceforge.Progress) bool { return p.Place == 59 })
	count := func(pool string) int {
		mu.Lock()
		defer mu.Unlock()
		return told[pool]
	}
	eventually(t, func() (int, error) {
		before := count("lab")
		<-time.After(5 * time.Second) // nothing happens but time
		now, most := count("lab"), int(time.Since(begin)/(2*time.Second))+1
		if now > most {
			t.Fatalf("told %d times, at most %d", now, most)
		}
		if now == 0 || now != before {
			return 0, fmt.Errorf("told %d times, %d before", now, before)
		}
		return now, nil
	})
	if n := count("idle"); n != 0 {
		t.Errorf("told %d times of the idle pool", n)
	}
}
