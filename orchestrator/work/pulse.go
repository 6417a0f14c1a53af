package work

import (
	"sync"
	"time"
)

// Pulse tells a leader that works from one that is stuck.
type Pulse struct {
	mu      sync.Mutex
	working int       // instances that are worked on
	since   time.Time // since when work is due and no step was made; zero = none is due
}

// Begin notes that an instance is worked on.
func (p *Pulse) Begin(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.working++
	if p.since.IsZero() {
		p.since = now
	}
}

// Beat notes that a step was made.
func (p *Pulse) Beat(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.since.IsZero() {
		p.since = now
	}
}

// End notes that the work on an instance ended. Where it failed for the store's
// sake it is still due: only a step that is made ends that.
func (p *Pulse) End(now time.Time, failed bool) {
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

// Silence is how long work has been due without a step.
func (p *Pulse) Silence(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.since.IsZero() {
		return 0
	}
	return now.Sub(p.since)
}
