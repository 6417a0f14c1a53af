package dispatch

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	pools "github.com/serviceforge/serviceforge/infrastructure_pools"
	"github.com/serviceforge/serviceforge/orchestrator/work"
)

func TestNeverMoreThanTenCallsInTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pace
		var calls []time.Time
		for range 100 {
			if err := p.wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			calls = append(calls, time.Now())
		}
		if at := calls[3].Sub(calls[0]); at != 0 {
			t.Errorf("the fourth call came after %s, want at once", at)
		}
		for n := range len(calls) - callsPerWindow {
			if span := calls[n+callsPerWindow].Sub(calls[n]); span < window {
				t.Fatalf("calls %d to %d within %s", n, n+callsPerWindow, span)
			}
		}
		if all := calls[99].Sub(calls[0]); all > 100*callSpacing {
			t.Errorf("100 calls took %s: the pace wastes its budget", all)
		}
	})
}

// How a task ended is asked as soon as the list lacks it, and costs no more calls for that.
func TestAHarvestFollowsItsListAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pace
		var calls []time.Time
		started := time.Now()
		call := func(await func(context.Context) error) (waited time.Duration) {
			from := time.Now()
			if err := await(t.Context()); err != nil {
				t.Fatal(err)
			}
			calls = append(calls, time.Now())
			return time.Since(from)
		}
		for n := range 100 {
			list := call(p.wait)
			if n%3 == 0 {
				continue // nothing has ended
			}
			work.Pause(t.Context(), 100*time.Millisecond) // it takes a while to answer
			if harvest := call(p.ahead); harvest > 0 && time.Since(started) > 2*window {
				t.Errorf("harvest %d came %s after the answer of its list, which had waited for %s", n, harvest, list)
			}
		}
		for n := range len(calls) - callsPerWindow {
			if span := calls[n+callsPerWindow].Sub(calls[n]); span < window {
				t.Fatalf("calls %d to %d within %s", n, n+callsPerWindow, span)
			}
		}
		if all := time.Since(started); all > time.Duration(len(calls))*callSpacing {
			t.Errorf("%d calls took %s: the pace wastes its budget", len(calls), all)
		}
	})
}

// Pools of one director share what it may be asked; others have their own.
func TestPoolsOfOneDirectorAreWatchedAtOnePace(t *testing.T) {
	var all []pools.Pool
	for name, url := range map[string]string{"one": "https://a", "two": "https://b", "three": "https://a"} {
		p, err := pools.Parse([]byte("pool: {name: " + name + ", director: {url: '" + url + "'}, azs: [z1], network: default, vm_types: {small: tiny}, stemcells: {ubuntu-jammy: '1'}}"))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	set, err := pools.NewSet(all...)
	if err != nil {
		t.Fatal(err)
	}
	l := New(&Common{Now: time.Now}, set, nil)
	one, two, three := l["one"].budget, l["two"].budget, l["three"].budget
	if one != three || one == two {
		t.Errorf("pools one and three are to share a budget (%p, %p), two has its own (%p)", one, three, two)
	}
	synctest.Test(t, func(t *testing.T) {
		told := make(chan time.Time)
		for _, b := range []*budget{newBudget(), newBudget()} {
			for range 2 {
				go func() {
					for range 20 {
						_ = b.pace.wait(t.Context())
						told <- time.Now()
					}
				}()
			}
		}
		var calls []time.Time
		for range 80 {
			calls = append(calls, <-told)
		}
		slices.SortFunc(calls, time.Time.Compare)
		for n := range len(calls) - 2*callsPerWindow {
			if span := calls[n+2*callsPerWindow].Sub(calls[n]); span < window {
				t.Fatalf("two directors: calls %d to %d within %s", n, n+2*callsPerWindow, span)
			}
		}
	})
}
