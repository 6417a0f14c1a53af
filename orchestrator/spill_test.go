package orchestrator_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator/director"
)

const outOfCapacity = "CPI error 'Bosh::Clouds::VMCreationFailed' with message 'InsufficientInstanceCapacity: no m5.large left' in 'create_vm' CPI method"

// full makes a director's next deploys fail for want of room.
func (d *scripted) full(words string, times int) {
	d.words = words
	for range times {
		d.outcome = append(d.outcome, director.TaskError)
	}
}

func TestACreateGoesWhereThereIsRoom(t *testing.T) {
	t.Parallel()
	const anywhere = ", pools: {choose: in_order}"
	for _, test := range []struct {
		name, rule, words string
		vms               int // of the failed deployments
		full              []string
		want              string // the pool at the end; "" = it failed
		tried             []string
	}{
		{"no capacity", anywhere, outOfCapacity, 0, []string{"one"}, "two", []string{"one"}},
		{"no addresses", anywhere, "Failed to reserve IP for 'default' (no more available)", 0, []string{"one"}, "two", []string{"one"}},
		{"twice", anywhere, outOfCapacity, 0, []string{"one", "two"}, "three", []string{"one", "two"}},
		{"not a third time", anywhere, outOfCapacity, 0, []string{"one", "two", "three"}, "", []string{"one", "two"}},
		{"a VM ran", anywhere, outOfCapacity, 1, []string{"one"}, "", nil},
		{"only one pool is allowed", ", pools: [one]", outOfCapacity, 0, []string{"one"}, "", nil},
		{"not for want of room", anywhere, "'node/0' is not running after update", 0, []string{"one"}, "", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			directors := h.pooled(test.rule, "  name: one\n  capacity: 1\n", "  name: two\n  capacity: 1\n", "  name: three\n  capacity: 1\n", "  name: four\n  capacity: 1\n")
			for _, name := range test.full {
				directors[name].full(test.words, 9)
				directors[name].inventory.vms = test.vms
			}
			h.run()
			state := serviceforge.Succeeded
			if test.want == "" {
				state = serviceforge.Failed
			}
			h.until("a", h.create("a").Operation, state)
			i, err := h.Instance(t.Context(), cc, "a")
			must(t, err)
			if test.want != "" && i.Pool != test.want || !slices.Equal(i.Operation.Tried, test.tried) {
				t.Errorf("in %s after %v", i.Pool, i.Operation.Tried)
			}
			for name, d := range directors {
				if left := len(d.deployments); left != 0 && name != i.Pool {
					t.Errorf("%d deployments are left in %s", left, name)
				}
			}
			if c := h.claims(); len(c) != 1 || c[serviceforge.Claim{Pool: i.Pool, Slot: "1"}] != "a" {
				t.Errorf("claims %v", c)
			}
			h.until("a", h.remove("a").Operation, serviceforge.Succeeded)
			for name, d := range directors {
				if len(d.deployments) != 0 {
					t.Errorf("a deployment is left in %s", name)
				}
			}
			if c := h.claims(); len(c) != 0 {
				t.Errorf("claims %v", c)
			}
		})
	}
}

// The crash walk over a create that leaves a pool: cut before and after each
// call to either director.
func TestEveryCallOfASpillMayBeTheLast(t *testing.T) {
	t.Parallel()
	points := spill(t, never)
	if points < 14 {
		t.Errorf("only %d points: the walk does not see the calls", points)
	}
	for cut := 1; cut <= points; cut++ {
		t.Run(fmt.Sprintf("cut at %d of %d", cut, points), func(t *testing.T) {
			t.Parallel()
			spill(t, cut)
		})
	}
}

func spill(t *testing.T, cut int) (points int) {
	h := newHouse(t)
	directors := h.pooled(", pools: {choose: in_order}", "  name: one\n  capacity: 1\n", "  name: two\n  capacity: 1\n")
	one, two := directors["one"], directors["two"]
	one.full(outOfCapacity, 9) // also where the cut hides the reason of the first failure
	killed, moments := one.dieAt(cut)
	two.fault = one.fault
	stop := h.run()
	accepted := h.create("a")
	eventually(t, func() (bool, error) {
		select {
		case <-killed:
			return true, nil
		default:
		}
		p, err := h.LastOperation(t.Context(), cc, "a", accepted.Operation)
		if err == nil && p.State == serviceforge.InProgress {
			err = errors.New("neither cut nor done")
		}
		return true, err
	})
	stop()
	points = moments()
	one.live()
	two.live()
	h.run()
	h.until("a", accepted.Operation, serviceforge.Succeeded)
	if len(one.deployments) != 0 || len(two.deployments) != 1 || two.deployments["plain-a"].posts != 1 {
		t.Errorf("one has %v, two has %v", one.deployments, two.deployments)
	}
	if c := h.claims(); len(c) != 1 || c[serviceforge.Claim{Pool: "two", Slot: "1"}] != "a" {
		t.Errorf("claims %v", c)
	}
	return points
}

func TestADeleteTakesOverACreateThatLeavesItsPool(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	one := h.pooled(", pools: {choose: in_order}", "  name: one\n", "  name: two\n")["one"]
	one.full(outOfCapacity, 1)
	refused := make(chan struct{})
	one.fault = func(when, call string) error {
		if when == "before" && call == "Delete" {
			select {
			case <-refused:
				return nil
			default:
				return lost(call)
			}
		}
		return nil
	}
	h.run()
	h.create("a")
	eventually(t, func() (int, error) {
		if s, _, _ := h.store.Summary("a"); s.Step != serviceforge.Leaving {
			return 0, errors.New("at " + string(s.Step))
		}
		return 0, nil
	})
	if p, err := h.LastOperation(t.Context(), cc, "a", ""); err != nil || !strings.Contains(p.Description, "room") {
		t.Errorf("%+v, %v", p, err)
	}
	removed := h.remove("a")
	close(refused)
	h.until("a", removed.Operation, serviceforge.Succeeded)
	if len(one.deployments) != 0 {
		t.Error("a deployment is left")
	}
}
