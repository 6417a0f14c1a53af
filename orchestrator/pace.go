package orchestrator

import (
	"context"
	"time"
)

// The pace of a poller: at most callsPerWindow calls in any window, of which
// the first may follow each other at once and the others are callSpacing apart.
const (
	window         = 10 * time.Second
	callsPerWindow = 10
	callsAtOnce    = 4
	callSpacing    = time.Second
)

// pace spaces out the calls of one poller. Its zero value is ready; it is not
// safe for concurrent use.
type pace struct {
	calls []time.Time // of the last window, oldest first
}

// wait returns when the next call may be made, or with ctx's error.
func (p *pace) wait(ctx context.Context) error {
	pause(ctx, p.delay(time.Now()))
	if ctx.Err() == nil {
		p.calls = append(p.calls, time.Now())
	}
	return ctx.Err()
}

// delay says how long a call at now has to wait.
func (p *pace) delay(now time.Time) time.Duration {
	for len(p.calls) > 0 && now.Sub(p.calls[0]) >= window {
		p.calls = p.calls[1:]
	}
	switch n := len(p.calls); {
	case n < callsAtOnce:
		return 0
	case n < callsPerWindow:
		return max(0, callSpacing-now.Sub(p.calls[n-1]))
	default:
		return window - now.Sub(p.calls[0])
	}
}
