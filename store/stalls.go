package store

import (
	"slices"
	"time"
)

// Stall is a time during which the clocks of deadlines stood still: the engine
// was paused, a pool closed, or its breaker open.
type Stall struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// stallsKept bounds what is remembered of one thing that stood still.
const stallsKept = 32

// Remember adds to what is remembered of stalls, oldest first, and forgets the first.
func Remember(stalls []Stall, more ...Stall) []Stall {
	stalls = append(stalls, more...)
	return stalls[max(0, len(stalls)-stallsKept):]
}

// Stalled adds up the stalls since a time, where they overlap only once.
func Stalled(since time.Time, stalls []Stall) (sum time.Duration) {
	slices.SortFunc(stalls, func(a, b Stall) int { return a.From.Compare(b.From) })
	for _, s := range stalls {
		if s.From.Before(since) {
			s.From = since
		}
		if s.To.After(s.From) {
			sum += s.To.Sub(s.From)
			since = s.To
		}
	}
	return sum
}
