// Package breaker keeps new work from a director that does not answer, or whose
// infrastructure fails.
package breaker

import (
	"slices"
	"sync"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator/verdict"
	"github.com/serviceforge/serviceforge/store"
)

const (
	// breakerAt is how many failures of the infrastructure in a row open a breaker.
	breakerAt = 3
	// tryFirst and tryMost bound the pause after which an open breaker lets one
	// deploy through, to see whether the infrastructure is well again.
	tryFirst = 2 * time.Second
	tryMost  = 2 * time.Minute
)

// Breaker says whether a director is given new work. It opens when the director
// does not answer (away: it is asked until it does) or when its tasks fail
// for reasons of the infrastructure (sick: one deploy at a time is let through).
type Breaker struct {
	now     func() time.Time
	changed func() // it opened or closed; called without mu

	mu         sync.Mutex
	unanswered int // requests in a row
	ill        int // failed tasks in a row
	lastTask   int // each task is counted once
	known      store.Breaker
	pause      time.Duration // before the next try
	nextTry    time.Time
	trier      string // the instance that is let through
}

// New returns a closed breaker; changed is called when it opens or closes.
func New(now func() time.Time, changed func()) *Breaker {
	return &Breaker{now: now, changed: changed, pause: tryFirst}
}

// Restore takes what the leader before knew; a try may be made at once.
func (b *Breaker) Restore(known store.Breaker) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.known = known
	b.nextTry = b.now()
}

// turn stores the two reasons and notes when the breaker opens or closes; b.mu
// is held. It says whether anything changed.
func (b *Breaker) turn(away, sick bool, cause string) bool {
	if away == b.known.Away && sick == b.known.Sick {
		return false
	}
	was := b.known.Open()
	b.known.Away, b.known.Sick = away, sick
	switch now := b.now().UTC(); {
	case b.known.Open() && !was:
		b.known.Since, b.known.Cause = now, cause
	case b.known.Open():
		b.known.Cause = cause
	case was:
		b.known = store.Breaker{Stalls: store.Remember(b.known.Stalls, store.Stall{From: b.known.Since, To: now})}
	}
	return true
}

// answered: the director answers.
func (b *Breaker) answered() {
	b.mu.Lock()
	b.unanswered = 0
	turned := b.turn(false, b.known.Sick, b.known.Cause)
	b.mu.Unlock()
	if turned {
		b.changed()
	}
}

// unheard: a request got no answer, or a 5xx, or we are not let in.
func (b *Breaker) unheard(cause string) {
	b.mu.Lock()
	b.unanswered++
	turned := b.unanswered >= breakerAt && b.turn(true, b.known.Sick, cause)
	b.mu.Unlock()
	if turned {
		b.changed()
	}
}

// Ended takes the end of an instance's deploy task.
func (b *Breaker) Ended(instance string, task int, h verdict.Health, cause string) {
	b.mu.Lock()
	turned := false
	if task != b.lastTask {
		b.lastTask = task
		switch h {
		case verdict.Well:
			b.ill, b.pause = 0, tryFirst
			turned = b.turn(b.known.Away, false, b.known.Cause)
		case verdict.Ill:
			b.ill++
			if b.trier == instance {
				b.pause = min(2*b.pause, tryMost)
			}
			b.nextTry = b.now().Add(b.pause)
			turned = b.ill >= breakerAt && b.turn(b.known.Away, true, cause)
		}
	}
	if b.trier == instance {
		b.trier = ""
	}
	b.mu.Unlock()
	if turned {
		b.changed()
	}
}

// over: nothing more comes of the instance.
func (b *Breaker) Over(instance string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.trier == instance {
		b.trier = ""
	}
}

// Blocks says whether new work of the verb waits. Where only tasks fail,
// deletes go on: they make room.
func (b *Breaker) Blocks(verb string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.known.Away || b.known.Sick && verb == serviceforge.VerbDeploy
}

// Try says whether the instance is the one that is let through an open breaker.
func (b *Breaker) Try(instance string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.known.Away || b.trier != "" && b.trier != instance || b.now().Before(b.nextTry) && b.trier == "" {
		return false
	}
	b.trier = instance
	return true
}

// TryIn says when somebody may be let through; false = not by time alone.
func (b *Breaker) TryIn() (time.Duration, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.known.Away || !b.known.Sick || b.trier != "" {
		return 0, false
	}
	return max(0, b.nextTry.Sub(b.now())), true
}

// State is what is known, as it is stored.
func (b *Breaker) State() store.Breaker {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.known
}

// Stalls are the times during which the breaker was open, to this moment.
func (b *Breaker) Stalls() []store.Stall {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := slices.Clone(b.known.Stalls)
	if b.known.Open() {
		all = append(all, store.Stall{From: b.known.Since, To: b.now()})
	}
	return all
}
