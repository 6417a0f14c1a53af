package breaker

import (
	"testing"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator/verdict"
	"github.com/serviceforge/serviceforge/store"
)

// clock is a time that tests move.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func newTestBreaker() (*Breaker, *clock, *int) {
	c, turned := &clock{at: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)}, new(int)
	return New(c.now, func() { *turned++ }), c, turned
}

func TestABreakerOpensWhenADirectorIsAway(t *testing.T) {
	b, c, turned := newTestBreaker()
	start := c.at
	b.unheard("1")
	b.unheard("2")
	b.answered() // not three in a row
	b.unheard("1")
	b.unheard("2")
	if known := b.State(); known.Open() {
		t.Fatal("open after two")
	}
	b.unheard("3")
	if known := b.State(); !known.Away || known.Cause != "3" || *turned != 1 {
		t.Errorf("%+v, turned %d times", known, *turned)
	}
	if !b.Blocks(serviceforge.VerbDeploy) || !b.Blocks(serviceforge.VerbDelete) || b.Try("a") {
		t.Error("an absent director is given work")
	}
	c.at = c.at.Add(time.Hour)
	if s := store.Stalled(start, b.Stalls()); s != time.Hour {
		t.Errorf("stalled %s while open", s)
	}
	b.answered()
	c.at = c.at.Add(time.Minute)
	if b.Blocks(serviceforge.VerbDeploy) || store.Stalled(start, b.Stalls()) != time.Hour || store.Stalled(start.Add(30*time.Minute), b.Stalls()) != 30*time.Minute {
		t.Errorf("closed: stalled %s", store.Stalled(start, b.Stalls()))
	}
}

func TestABreakerOpensWhenTheInfrastructureFails(t *testing.T) {
	b, c, _ := newTestBreaker()
	b.Ended("a", 1, verdict.Ill, "no room")
	b.Ended("a", 1, verdict.Ill, "no room") // the same task: a step was repeated
	b.Ended("a", 1, verdict.Ill, "no room")
	b.Ended("b", 2, verdict.Ill, "no room")
	b.Ended("c", 3, verdict.Nothing, "the stemcell is missing") // says nothing
	b.answered()                                                // the director is there; its IaaS is not
	if b.Blocks(serviceforge.VerbDeploy) {
		t.Fatal("open after two")
	}
	b.Ended("d", 4, verdict.Ill, "no room")
	if !b.Blocks(serviceforge.VerbDeploy) || b.Blocks(serviceforge.VerbDelete) {
		t.Error("deploys wait, deletes go on")
	}
	if b.Try("e") {
		t.Error("tried at once")
	}
	wait, some := b.TryIn()
	if !some || wait <= 0 {
		t.Errorf("tries in %s, %v", wait, some)
	}
	c.at = c.at.Add(wait)
	if !b.Try("e") || !b.Try("e") || b.Try("f") {
		t.Error("one is let through, and only one")
	}
	b.Ended("e", 5, verdict.Ill, "no room")
	if again, _ := b.TryIn(); again <= wait {
		t.Errorf("the next try comes in %s, after %s", again, wait)
	}
	c.at = c.at.Add(tryMost)
	if !b.Try("f") {
		t.Error("f is not let through")
	}
	b.Over("f") // deleted meanwhile
	if !b.Try("g") {
		t.Error("g is not let through")
	}
	b.Ended("g", 6, verdict.Well, "")
	if b.Blocks(serviceforge.VerbDeploy) || len(b.State().Stalls) != 1 {
		t.Errorf("%+v", b.State())
	}
}

func TestABreakerIsHandedOver(t *testing.T) {
	b, c, _ := newTestBreaker()
	for task := range breakerAt {
		b.Ended("a", task+1, verdict.Ill, "no room")
	}
	c.at = c.at.Add(time.Minute)
	next := New(c.now, func() {})
	next.Restore(b.State())
	if !next.Blocks(serviceforge.VerbDeploy) || store.Stalled(time.Time{}, next.Stalls()) != time.Minute || !next.Try("a") {
		t.Errorf("%+v", next.State())
	}
}
