package orchestrator_test

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"

	"github.com/serviceforge/serviceforge"
	pools "github.com/serviceforge/serviceforge/infrastructure_pools"
	"github.com/serviceforge/serviceforge/orchestrator"
	"github.com/serviceforge/serviceforge/orchestrator/director"
	"github.com/serviceforge/serviceforge/store"
)

// pooled gives the house pools of these names, each with more keys of its pool
// file and with a director of its own. rule is added to the plan.
func (h *house) pooled(rule string, more ...string) map[string]*scripted {
	h.t.Helper()
	files := maps.Clone(plain)
	files["service.yml"] = &fstest.MapFile{Data: []byte(strings.Replace(string(plain["service.yml"].Data), "description: a plan", "description: a plan"+rule, 1))}
	h.sell(files, nil)
	directors := map[string]*scripted{}
	h.options.Directors = map[string]director.Director{}
	var all []pools.Pool
	for _, m := range more {
		p, err := pools.Parse([]byte("pool:\n  azs: [z1]\n  network: default\n  vm_types: {small: tiny}\n  stemcells: {ubuntu-jammy: \"1\"}\n" + m))
		must(h.t, err)
		all = append(all, p)
		directors[p.Name] = newScripted()
		h.options.Directors[p.Name] = directors[p.Name]
	}
	set, err := pools.NewSet(all...)
	must(h.t, err)
	h.options.Pools = set
	h.Engine = orchestrator.New(h.options)
	return directors
}

// slots is the part of a pool file for n slots.
func slots(n int) string {
	text := "  slots:\n"
	for i := range n {
		text += fmt.Sprintf("  - {name: 10.244.%d.0, stub: {}}\n", i)
	}
	return text
}

// claims reads the claims and checks that each has its owner, and each owner its claim.
func (h *house) claims() map[serviceforge.Claim]string {
	h.t.Helper()
	claims, err := h.store.Claims(h.t.Context())
	must(h.t, err)
	owned := map[serviceforge.Claim]string{}
	for _, s := range h.store.Summaries() {
		if s.Slot != "" {
			owned[serviceforge.Claim{Pool: s.Pool, Slot: s.Slot}] = s.ID
		}
	}
	if !maps.Equal(claims, owned) {
		h.t.Errorf("claims %v, but the instances hold %v", claims, owned)
	}
	return claims
}

// Two hundred at once for ten slots, or for a capacity of ten: ten are placed,
// and nothing is left when they are deleted.
func TestAPoolTakesNoMoreThanItHasRoomFor(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]string{"slots": slots(10), "capacity": "  capacity: 10\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			director := h.pooled("", "  name: lab\n  max_in_flight: 20\n"+limit)["lab"]
			stop := h.run()
			var mu sync.Mutex
			var all sync.WaitGroup
			accepted, refused := map[string]string{}, 0
			for n := range 200 {
				all.Go(func() {
					id := fmt.Sprint("i", n)
					a, err := h.Provision(t.Context(), order(id))
					mu.Lock()
					defer mu.Unlock()
					switch serviceforge.CodeOf(err) {
					case "":
						accepted[id] = a.Operation
					case serviceforge.Exhausted:
						refused++
					default:
						t.Error(serviceforge.DetailOf(err))
					}
				})
			}
			eventually(t, func() (int, error) { // a new leader goes on in the middle
				if claims, err := h.store.Claims(t.Context()); err != nil || len(claims) < 3 {
					return 0, fmt.Errorf("%d claims, %w", len(claims), err)
				}
				return 0, nil
			})
			stop()
			h.run()
			all.Wait()
			running := h.ended(accepted)
			if len(running) != 10 || len(h.claims()) != 10 || len(director.deployments) != 10 || refused+len(accepted) != 200 {
				t.Errorf("%d run, %d claims, %d deployments, %d refused, %d accepted", len(running), len(h.claims()), len(director.deployments), refused, len(accepted))
			}
			if _, err := h.Provision(t.Context(), order("late")); serviceforge.CodeOf(err) != serviceforge.Exhausted {
				t.Errorf("the pool is full, but: %v", err)
			}
			again := h.create(running[0]) // a repeated order is no new one
			if !again.Done {
				t.Errorf("the same order again: %+v", again)
			}
			removed := map[string]string{}
			for id := range accepted {
				removed[id] = h.remove(id).Operation
			}
			for id, operation := range removed {
				h.until(id, operation, serviceforge.Succeeded)
			}
			if left := h.claims(); len(left) != 0 || len(h.store.Summaries()) != 0 {
				t.Errorf("left: %v, %v", left, h.store.Summaries())
			}
			h.until("late", h.create("late").Operation, serviceforge.Succeeded)
		})
	}
}

// ended waits for the ends of operations and returns the instances that run.
// The others were told that there is no room, and hold nothing.
func (h *house) ended(operations map[string]string) (running []string) {
	h.t.Helper()
	for id, operation := range operations {
		p := eventually(h.t, func() (serviceforge.Progress, error) {
			p, err := h.LastOperation(h.t.Context(), cc, id, operation)
			if err == nil && p.State == serviceforge.InProgress {
				err = errors.New(p.Description)
			}
			return p, err
		})
		i, err := h.Instance(h.t.Context(), cc, id)
		must(h.t, err)
		switch {
		case p.State == serviceforge.Succeeded:
			running = append(running, id)
		case i.State != serviceforge.FailedCreation || i.Pool != "" || i.Slot != "" || !strings.Contains(p.Description, "no infrastructure pool"):
			h.t.Errorf("%s: %s, pool %q, slot %q: %s", id, i.State, i.Pool, i.Slot, p.Description)
		}
	}
	return running
}

func TestTheRuleOfThePlanChoosesThePool(t *testing.T) {
	t.Parallel()
	gold, silver := "  name: gold\n  tags: {tier: gold}\n", "  name: silver\n  tags: {tier: silver}\n"
	for _, test := range []struct{ name, rule, first, second string }{
		{"least used", "", "gold", "silver"},
		{"fixed", ", pools: [silver]", "silver", "silver"},
		{"by tag", ", pools: {match: {tier: silver}}", "silver", "silver"},
		{"in order", ", pools: {names: [silver, gold], choose: in_order}", "silver", "silver"},
		{"spread", ", pools: {names: [silver, gold], choose: spread}", "silver", "gold"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			h.pooled(test.rule, gold, silver)
			h.run()
			for _, step := range []struct{ id, want string }{{"a", test.first}, {"b", test.second}} {
				h.until(step.id, h.create(step.id).Operation, serviceforge.Succeeded)
				if i, err := h.Instance(t.Context(), cc, step.id); err != nil || i.Pool != step.want {
					t.Errorf("%s is in %s, want %s, %v", step.id, i.Pool, step.want, err)
				}
			}
		})
	}
}

func TestARequestNamesThePool(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.pooled(", pool_parameter: true, pools: [one, two]", "  name: one\n", "  name: two\n  capacity: 1\n", "  name: three\n")
	h.run()
	a, err := h.Provision(t.Context(), in("a", "two"))
	must(t, err)
	h.until("a", a.Operation, serviceforge.Succeeded)
	if i, err := h.Instance(t.Context(), cc, "a"); err != nil || i.Pool != "two" || i.Slot != "1" {
		t.Errorf("in %s, place %q, %v", i.Pool, i.Slot, err)
	}
	for pool, want := range map[string]serviceforge.Code{"two": serviceforge.Exhausted, "three": serviceforge.Invalid, "four": serviceforge.Invalid, "((x))": serviceforge.Invalid} {
		_, err := h.Provision(t.Context(), in("b", pool))
		code(t, err, want)
	}
}

// What an operator decided stands above the pool file, on every replica.
func TestACordonedPoolTakesNothing(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.pooled("", "  name: one\n", "  name: two\n  state: cordoned\n")
	waiting := h.create("a") // accepted, then the pool is closed
	must(t, h.store.MarkPool(t.Context(), "one", store.PoolMark{State: string(pools.Draining)}))
	_, err := h.Provision(t.Context(), order("b"))
	code(t, err, serviceforge.Exhausted)
	must(t, h.store.MarkPool(t.Context(), "two", store.PoolMark{State: string(pools.Active)}))
	h.run()
	h.until("a", waiting.Operation, serviceforge.Succeeded)
	if i, err := h.Instance(t.Context(), cc, "a"); err != nil || i.Pool != "two" {
		t.Errorf("in %q, %v", i.Pool, err)
	}
	must(t, h.store.UnmarkPool(t.Context(), "two"))
	_, err = h.Provision(t.Context(), order("b"))
	code(t, err, serviceforge.Exhausted)
}

// A claim that memory does not know of is found by the transaction.
func TestAPlaceThatMemoryThinksFreeIsNotTakenTwice(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.pooled("", "  name: lab\n  capacity: 2\n")
	ghost := serviceforge.Instance{ID: "ghost", ServiceID: "service", PlanID: "plan", Platform: "cc"}
	_, err := h.store.CreateInstance(t.Context(), &ghost)
	must(t, err)
	ghost.Pool, ghost.Slot = "elsewhere", "1"
	must(t, h.store.PutInstance(t.Context(), &ghost, 0))
	other := ghost
	other.Pool = "lab"
	must(t, h.store.PutInstance(t.Context(), &other, 0)) // moves the claim
	if c := h.claims(); len(c) != 1 || c[serviceforge.Claim{Pool: "lab", Slot: "1"}] != "ghost" {
		t.Errorf("claims %v", c)
	}
	h.run()
	h.until("a", h.create("a").Operation, serviceforge.Succeeded)
	if i, err := h.Instance(t.Context(), cc, "a"); err != nil || i.Slot != "2" {
		t.Errorf("place %q, %v", i.Slot, err)
	}
	thief := serviceforge.Instance{ID: "thief", Platform: "cc"}
	_, err = h.store.CreateInstance(t.Context(), &thief)
	must(t, err)
	thief.Pool, thief.Slot = "lab", "2"
	code(t, h.store.PutInstance(t.Context(), &thief, 0), serviceforge.Busy)
	must(t, h.store.BuryInstance(t.Context(), &other, 0))
	if c := h.claims(); len(c) != 1 {
		t.Errorf("claims %v", c)
	}
}

// Whoever has no more than a place in a line does not wait for a director that
// is away, while another one may take it. What is at work stays.
func TestNewInstancesAvoidAPoolWhoseBreakerIsOpen(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	directors := h.pooled(", pools: {names: [gold, silver], choose: in_order}", "  name: gold\n  max_in_flight: 1\n", "  name: silver\n")
	var away atomic.Bool
	away.Store(true)
	directors["gold"].fault = func(when, call string) error {
		if away.Load() && when == "before" {
			return lost(call)
		}
		return nil
	}
	h.run()
	first := h.create("a")
	h.awaits("a", func(x orchestrator.Explanation) bool { return x.Instance.Pool == "gold" })
	second := h.create("b")
	h.until("b", second.Operation, serviceforge.Succeeded) // as soon as the breaker opens
	h.until("c", h.create("c").Operation, serviceforge.Succeeded)
	for id, want := range map[string]string{"a": "gold", "b": "silver", "c": "silver"} {
		if i, err := h.Instance(t.Context(), cc, id); err != nil || i.Pool != want {
			t.Errorf("%s is in %s, want %s, %v", id, i.Pool, want, err)
		}
	}
	away.Store(false)
	h.until("a", first.Operation, serviceforge.Succeeded)
	h.awaits("a", func(orchestrator.Explanation) bool {
		open, err := h.last.Breakers(t.Context())
		return err == nil && len(open) == 0
	})
	h.until("d", h.create("d").Operation, serviceforge.Succeeded)
	if i, err := h.Instance(t.Context(), cc, "d"); err != nil || i.Pool != "gold" {
		t.Errorf("d is in %s though gold is back, %v", i.Pool, err)
	}
}
