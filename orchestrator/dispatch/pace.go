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
// the first may follow each other at once and the others are callSpacing apart.
const (
	window         = 10 * time.Second
	callsPerWindow = 10
	callsAtOnce    = 4
	callSpacing    = time.Second
)

// pace spaces out calls. Its zero value is ready; it is safe for concurrent use.
type pace struct {
	mu    sync.Mutex
	calls []time.Time // of the last window, oldest first
}

// wait returns when the next call may be made, or with ctx's error.
func (p *pace) wait(ctx context.Context) error {
	for ctx.Err() == nil {
		delay := p.take(time.Now())
		if delay == 0 {
			return nil
		}
		work.Pause(ctx, delay)
	}
	return ctx.Err()
}

// take counts a call at now, if it may be made; else it says how long to wait
// before it is asked again.
func (p *pace) take(now time.Time) (delay time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.calls) > 0 && now.Sub(p.calls[0]) >= window {
		p.calls = p.calls[1:]
	}
	switch n := len(p.calls); {
	case n < callsAtOnce:
	case n < callsPerWindow:
		delay = max(0, callSpacing-now.Sub(p.calls[n-1]))
	default:
		delay = window - now.Sub(p.calls[0])
	}
	if delay == 0 {
		p.calls = append(p.calls, now)
	}
	return delay
}
