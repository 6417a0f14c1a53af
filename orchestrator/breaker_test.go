package orchestrator

import (
	"testing"
	"time"

	"github.com/serviceforge/serviceforge/store"
)

// clock is a time that tests move.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func newTestBreaker() (*breaker, *clock, *int) {
	c, turned := &clock{at: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)}, new(int)
	return newBreaker(c.now, func() { *turned++ }), c, turned
}

func TestABreakerOpensWhenADirectorIsAway(t *testing.T) {
	b, c, turned := newTestBreaker()
	start := c.at
	b.unheard("1")
	b.unheard("2")
	b.answered() // not three in a row
	b.unheard("1")
	b.unheard("2")
	if known := b.state(); known.Open() {
		t.Fatal("open after two")
	}
	b.unheard("3")
	if known := b.state(); !known.Away || known.Cause != "3" || *turned != 1 {
		t.Errorf("%+v, turned %d times", known, *turned)
	}
	if !b.blocks(deploy) || !b.blocks(destroy) || b.try("a") {
		t.Error("an absent director is given work")
	}
	c.at = c.at.Add(time.Hour)
	if s := stalled(start, b.stalls()); s != time.Hour {
		t.Errorf("stalled %s while open", s)
	}
	b.answered()
	c.at = c.at.Add(time.Minute)
	if b.blocks(deploy) || stalled(start, b.stalls()) != time.Hour || stalled(start.Add(30*time.Minute), b.stalls()) != 30*time.Minute {
		t.Errorf("closed: stalled %s", stalled(start, b.stalls()))
	}
}

func TestABreakerOpensWhenTheInfrastructureFails(t *testing.T) {
	b, c, _ := newTestBreaker()
	b.ended("a", 1, ill, "no room")
	b.ended("a", 1, ill, "no room") // the same task: a step was repeated
	b.ended("a", 1, ill, "no room")
	b.ended("b", 2, ill, "no room")
	b.ended("c", 3, nothing, "the stemcell is missing") // says nothing
	b.answered()                                        // the director is there; its IaaS is not
	if b.blocks(deploy) {
		t.Fatal("open after two")
	}
	b.ended("d", 4, ill, "no room")
	if !b.blocks(deploy) || b.blocks(destroy) {
		t.Error("deploys wait, deletes go on")
	}
	if b.try("e") {
		t.Error("tried at once")
	}
	wait, some := b.tryIn()
	if !some || wait <= 0 {
		t.Errorf("tries in %s, %v", wait, some)
	}
	c.at = c.at.Add(wait)
	if !b.try("e") || !b.try("e") || b.try("f") {
		t.Error("one is let through, and only one")
	}
	b.ended("e", 5, ill, "no room")
	if again, _ := b.tryIn(); again <= wait {
		t.Errorf("the next try comes in %s, after %s", again, wait)
	}
	c.at = c.at.Add(tryMost)
	if !b.try("f") {
		t.Error("f is not let through")
	}
	b.over("f") // deleted meanwhile
	if !b.try("g") {
		t.Error("g is not let through")
	}
	b.ended("g", 6, well, "")
	if b.blocks(deploy) || len(b.state().Stalls) != 1 {
		t.Errorf("%+v", b.state())
	}
}

func TestABreakerIsHandedOver(t *testing.T) {
	b, c, _ := newTestBreaker()
	for task := range breakerAt {
		b.ended("a", task+1, ill, "no room")
	}
	c.at = c.at.Add(time.Minute)
	next := newBreaker(c.now, func() {})
	next.restore(b.state())
	if !next.blocks(deploy) || stalled(time.Time{}, next.stalls()) != time.Minute || !next.try("a") {
		t.Errorf("%+v", next.state())
	}
}

func TestStallsThatOverlapCountOnce(t *testing.T) {
	at := func(minute int) time.Time { return time.Date(2026, 11, 20, 12, minute, 0, 0, time.UTC) }
	stalls := []store.Stall{{From: at(20), To: at(30)}, {From: at(0), To: at(10)}, {From: at(5), To: at(15)}, {From: at(6), To: at(7)}}
	for since, want := range map[int]time.Duration{0: 25, 8: 17, 12: 13, 25: 5, 30: 0} {
		if got := stalled(at(since), stalls); got != want*time.Minute {
			t.Errorf("since %d: %s, want %d minutes", since, got, want)
		}
	}
}
