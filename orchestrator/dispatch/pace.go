package dispatch

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/serviceforge/serviceforge/orchestrator/work"
)

// budget bounds what is asked of one director, whichever of its pools it is
// asked for.
type budget struct {
	pace   pace          // of looks at tasks
	events *rate.Limiter // reads of events
}

func newBudget() *budget {
	return &budget{events: rate.NewLimiter(eventReads, eventReads)}
}

// The pace of looks at tasks: at most callsPerWindow calls in any window, of which
// the first may follow each other at once and the others are callSpacing apart:
// so much that there is always one to be made ahead of its turn.
const (
	window         = 10 * time.Second
	callsPerWindow = 10
	callsAtOnce    = 4
	callSpacing    = window / (callsPerWindow - 1)
)

// pace spaces out calls. Its zero value is ready; it is safe for concurrent use.
type pace struct {
	mu    sync.Mutex
	turns []time.Time // of the calls of the last window, oldest first; a call may be made before its turn
}

// wait returns when the next call may be made, or with ctx's error.
func (p *pace) wait(ctx context.Context) error { return p.await(ctx, false) }

// ahead is wait for a call that the one before is worth little without: it does
// not wait for its turn. Who comes next waits for both.
func (p *pace) ahead(ctx context.Context) error { return p.await(ctx, true) }

func (p *pace) await(ctx context.Context, ahead bool) error {
	for ctx.Err() == nil {
		delay := p.take(time.Now(), ahead)
		if delay == 0 {
			return nil
		}
		work.Pause(ctx, delay)
	}
	return ctx.Err()
}

// take counts a call at now, if it may be made; else it says how long to wait
// before it is asked again.
func (p *pace) take(now time.Time, ahead bool) (delay time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.turns) > 0 && now.Sub(p.turns[0]) >= window {
		p.turns = p.turns[1:]
	}
	n := len(p.turns)
	if n >= callsPerWindow {
		return window - now.Sub(p.turns[0])
	}
	turn := now
	if n >= callsAtOnce {
		turn = now.Add(max(0, callSpacing-now.Sub(p.turns[n-1])))
	}
	if turn.After(now) && !ahead {
		return turn.Sub(now)
	}
	p.turns = append(p.turns, turn)
	return 0
}
