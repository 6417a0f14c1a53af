package orchestrator

import (
	"context"
	"sync"
	"time"
)

// stuckAfter is how long work may be due without a step being made: longer than
// any step takes that waits for a director, a service and the store in turn.
const stuckAfter = time.Minute

// pulse tells a leader that works from one that is stuck.
type pulse struct {
	mu      sync.Mutex
	working int       // instances that are worked on
	since   time.Time // since when work is due and no step was made; zero = none is due
}

// begin notes that an instance is worked on.
func (p *pulse) begin(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.working++
	if p.since.IsZero() {
		p.since = now
	}
}

// beat notes that a step was made.
func (p *pulse) beat(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.since.IsZero() {
		p.since = now
	}
}

// end notes that the work on an instance ended. Where it failed for the store's
// sake it is still due: only a step that is made ends that.
func (p *pulse) end(now time.Time, failed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.working--
	if failed {
		return
	}
	if p.since = now; p.working == 0 {
		p.since = time.Time{}
	}
}

// silence is how long work has been due without a step.
func (p *pulse) silence(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.since.IsZero() {
		return 0
	}
	return now.Sub(p.since)
}

// watchPulse gives the leadership up when no step is made though work is due:
// another replica may be able to. It does not wait for what is stuck, which
// cannot write any more.
func (l *leader) watchPulse(ctx context.Context, resign func()) {
	tick := time.NewTicker(l.StuckAfter / 10)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if l.gate.paused() {
			l.pulse.beat(l.Now())
			continue
		}
		if silent := l.pulse.silence(l.Now()); silent > l.StuckAfter {
			l.Log.Error("no step was made though work is due: another replica is to lead", "for", silent, "term", l.term)
			resign()
			return
		}
	}
}
