package orchestrator

import (
	"testing"
	"testing/synctest"
	"time"
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
		if all := calls[99].Sub(calls[0]); all > 100*time.Second {
			t.Errorf("100 calls took %s: the pace wastes its budget", all)
		}
	})
}
