package orchestrator_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator/bindings"
	"github.com/serviceforge/serviceforge/orchestrator/ownership"
)

// sweeps polls until the sweeps tell what is wanted: "kind instance" of each
// finding, sorted.
func (h *house) sweeps(want ...string) {
	h.t.Helper()
	eventually(h.t, func() (int, error) {
		all, err := h.Sweeps(h.t.Context())
		if err != nil {
			return 0, err
		}
		var got []string
		for _, w := range all {
			if w.At.IsZero() {
				return 0, fmt.Errorf("pool %s was not looked through: %s", w.Pool, w.Cause)
			}
			for _, f := range w.Findings {
				got = append(got, strings.TrimSpace(f.Kind+" "+f.Instance+" "+f.Slot))
			}
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			return 0, fmt.Errorf("found %q, want %q", got, want)
		}
		return 0, nil
	})
}

// round waits until a whole round of the sweep has passed.
func (h *house) round() {
	h.t.Helper()
	begun := h.director.count("Deployments")
	eventually(h.t, func() (int, error) {
		if n := h.director.count("Deployments") - begun; n < 3 {
			return 0, fmt.Errorf("%d rounds have begun", n)
		}
		return 0, nil
	})
}

func (h *house) running(ids ...string) {
	h.t.Helper()
	for _, id := range ids {
		h.until(id, h.create(id).Operation, serviceforge.Succeeded)
	}
}

// What goes wrong while nobody asks is found, told on every replica, in explain
// and the history, and forgotten when it is well again.
func TestASweepFindsWhatNobodyTold(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.options.Sweep = time.Millisecond
	h.run()
	h.running("aa", "gone", "moved", "part", "well")
	h.director.mu.Lock()
	h.director.mute = "plain-aa" // it hides none of the others
	h.director.mu.Unlock()
	bound, err := h.Bind(t.Context(), bindings.BindRequest{Caller: cc, InstanceID: "moved", BindingID: "old", ServiceID: "service", PlanID: "plan"})
	must(t, err)
	h.sweeps()
	d := h.director
	d.mu.Lock()
	lost := d.deployments["plain-gone"]
	delete(d.deployments, "plain-gone")
	d.broken = map[string]bool{"plain-part": true}
	d.moved = map[string]string{"plain-moved": "127.9.9.9"}
	d.mu.Unlock()
	h.sweeps("bindings stale moved", "deployment gone gone", "vm missing part")
	other, err := h.replica().Sweeps(t.Context())
	if err != nil || len(other) != 1 || len(other[0].Findings) != 3 {
		t.Errorf("another replica tells %+v, %v", other, err)
	}
	x, err := h.Explain(t.Context(), cc, "part")
	if err != nil || len(x.Findings) != 1 || !strings.Contains(x.Findings[0].Says, "node/1 has no VM") {
		t.Errorf("explain: %+v, %v", x.Findings, err)
	}
	i, err := h.Instance(t.Context(), cc, "moved")
	must(t, err)
	if i.Facts["node"][0] != "127.9.9.9" || i.Busy() {
		t.Errorf("moved: %+v", i.Facts)
	}
	history, err := h.History(t.Context(), "moved")
	must(t, err)
	if last := history[len(history)-1]; last.What != "sweep" || !strings.Contains(last.Message, "127.1.1.1") || !strings.Contains(last.Message, "127.9.9.9") {
		t.Errorf("history: %+v", last)
	}
	stale, err := h.Bindings(t.Context(), cc, "moved")
	if err != nil || len(stale) != 1 || !stale[0].Stale {
		t.Errorf("bindings: %+v, %v", stale, err)
	}
	_, err = h.Unbind(t.Context(), bindings.UnbindRequest{Caller: cc, InstanceID: "moved", BindingID: bound.Binding.ID})
	must(t, err)
	d.mu.Lock()
	d.deployments["plain-gone"] = lost
	d.broken = nil
	d.mu.Unlock()
	h.sweeps()
	if h.director.count("Delete")+h.director.count("Cancel") > 0 || h.director.count("Deploy") != 5 {
		t.Error("a sweep asked for more than lists")
	}
}

// A claim whose instance is no more is given back, unless its deployment stands.
func TestASweepFreesSlotsWithoutOwner(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	d := h.pooled("", "  name: lab\n"+slots(4))["lab"]
	h.options.Sweep = time.Millisecond
	d.stands("plain-stands", "name: plain-stands\n", "") // before any round looks
	h.run()
	h.running("a")
	d.stands("plain-stands", "name: plain-stands\n", "") // before its claim, which would be given back else
	for slot, id := range map[string]string{"10.244.1.0": "never", "10.244.2.0": "stands"} {
		_, err := h.client.Put(t.Context(), "/serviceforge/v1/slots/lab/"+slot, id)
		must(t, err)
	}
	h.sweeps("slot without owner stands " + "10.244.2.0")
	claims, err := h.store.Claims(t.Context())
	must(t, err)
	if len(claims) != 2 || claims[serviceforge.Claim{Pool: "lab", Slot: "10.244.2.0"}] != "stands" {
		t.Errorf("claims %v", claims)
	}
	if h.status("lab").Free != 2 {
		t.Errorf("%+v", h.status("lab"))
	}
}

// What a deleted instance has left, e.g. since a request reached the director
// late, is deleted again after the grace period, and nothing else is.
func TestASweepDeletesOrphans(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	var later atomic.Int64
	h.options.Now = func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	h.options.Sweep = time.Millisecond
	h.run()
	d := h.director
	first, second := h.deleted("late"), h.deleted("never-deployed")
	h.deleted("foreign")
	back := h.deleted("back")
	deletes := d.count("Delete")
	d.stands("plain-late", fmt.Sprintf("# serviceforge broker=%s instance=late operation=%s\n", h.store.BrokerID(), first), "")
	d.stands("plain-never-deployed", "", second+".deploy.0")
	d.stands("plain-foreign", "", "somebody.deploy.0")
	d.stands("plain-unknown", fmt.Sprintf("# serviceforge broker=%s instance=unknown operation=o\n", h.store.BrokerID()), "")
	d.stands("plain-back", "", back+".deploy.0")
	h.until("back", h.create("back").Operation, serviceforge.Failed) // it is not deployed over
	h.round()
	if d.count("Delete") != deletes {
		t.Error("something was deleted within the grace period")
	}
	heal := d.failing(func(call string) error { // the next round forgets what this one tells
		if call == "Deployments" && d.count("Delete") == deletes+2 {
			return lost(call)
		}
		return nil
	})
	later.Store(int64(ownership.DefaultGrace))
	h.sweeps("orphan late", "orphan never-deployed")
	heal()
	h.round()
	d.mu.Lock()
	left := slices.Sorted(maps.Keys(d.deployments))
	d.mu.Unlock()
	if d.count("Delete") != deletes+2 || fmt.Sprint(left) != "[plain-back plain-foreign plain-unknown]" {
		t.Errorf("%d deletions, left: %v", d.count("Delete")-deletes, left)
	}
	h.sweeps()
}

// A claim that is somebody's is never given back.
func TestAClaimIsFreedOnlyWithoutAnOwner(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.pooled("", "  name: lab\n"+slots(1))
	h.run()
	h.running("a")
	claims, err := h.store.Claims(t.Context())
	must(t, err)
	for claim, id := range claims {
		code(t, h.store.FreeClaim(t.Context(), claim, id, 0), serviceforge.Conflict)
		code(t, h.store.FreeClaim(t.Context(), claim, "somebody", 0), serviceforge.Conflict)
	}
	if again, err := h.store.Claims(t.Context()); err != nil || len(claims) != 1 || len(again) != 1 {
		t.Errorf("%v, then %v, %v", claims, again, err)
	}
}

// While the engine is paused or a breaker is open, nothing is asked. A round
// asks once for the list and once for each instance.
func TestASweepKeepsToItsBudget(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.options.Sweep = time.Millisecond
	h.run()
	h.running("a", "b")
	h.sweeps()
	all, err := h.Sweeps(t.Context())
	must(t, err)
	eventually(t, func() (int, error) { // the round that was under way was over fewer
		all, err = h.Sweeps(t.Context())
		if err == nil && all[0].Calls != 3 {
			err = fmt.Errorf("%d calls in a round over two instances", all[0].Calls)
		}
		return all[0].Calls, err
	})
	must(t, h.Pause(t.Context(), serviceforge.Caller{Actor: "token 1"}, "x"))
	before := eventually(t, func() (int, error) { // what was under way ends
		n := h.director.total()
		select {
		case <-t.Context().Done():
		case <-time.After(1500 * time.Millisecond):
		}
		if h.director.total() != n {
			return 0, fmt.Errorf("something is asked while the engine is paused")
		}
		return n, nil
	})
	must(t, h.Resume(t.Context(), serviceforge.Caller{Actor: "token 1"}))
	eventually(t, func() (int, error) {
		if h.director.total() == before {
			return 0, fmt.Errorf("nothing is asked")
		}
		return 0, nil
	})
}

// A director that is away is told of, and not asked while its breaker is open.
func TestASweepWaitsForTheBreaker(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.options.Sweep = time.Millisecond
	h.run()
	h.running("a")
	h.sweeps()
	h.director.mu.Lock()
	h.director.fault = func(_, call string) error {
		if call == "Deployments" || call == "Instances" {
			return nil // only the poller hears nothing
		}
		return lost(call)
	}
	h.director.mu.Unlock()
	h.create("b") // its deploy opens the breaker
	eventually(t, func() (int, error) {
		all, err := h.Sweeps(t.Context())
		if err == nil && !strings.Contains(all[0].Cause, "the breaker of pool local is open") {
			err = fmt.Errorf("cause %q", all[0].Cause)
		}
		return 0, err
	})
}
