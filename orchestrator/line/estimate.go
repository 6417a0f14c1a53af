package line

import (
	"container/heap"
	"slices"
	"strings"
	"time"
)

// Durations is how long tasks took, by verb and plan: moving averages. Plain data.
type Durations map[string]time.Duration

// taskKind names the tasks whose durations are alike.
func taskKind(verb, plan string) string { return verb + "/" + plan }

// Learn takes the duration of a task that succeeded.
func (d Durations) Learn(verb, plan string, took time.Duration) {
	kind := taskKind(verb, plan)
	if known, ok := d[kind]; ok {
		took = (3*known + took) / 4
	}
	d[kind] = took
}

// Of is how long a task takes: as others for the plan, else as others of the
// verb. false = none is known.
func (d Durations) Of(verb, plan string) (time.Duration, bool) {
	if known, ok := d[taskKind(verb, plan)]; ok {
		return known, true
	}
	sum, n := time.Duration(0), time.Duration(0)
	for kind, took := range d {
		if strings.HasPrefix(kind, verb+"/") {
			sum, n = sum+took, n+1
		}
	}
	if n == 0 {
		return 0, false
	}
	return sum / n, true
}

// slotTimes are the times from now at which the slots of a pool become free.
type slotTimes []time.Duration

func (s slotTimes) Len() int           { return len(s) }
func (s slotTimes) Less(a, b int) bool { return s[a] < s[b] }
func (s slotTimes) Swap(a, b int)      { s[a], s[b] = s[b], s[a] }

// Push is heap's.
func (s *slotTimes) Push(x any) { *s = append(*s, x.(time.Duration)) }

// Pop is heap's.
func (s *slotTimes) Pop() any {
	last := (*s)[len(*s)-1]
	*s = (*s)[:len(*s)-1]
	return last
}

// NewSlotTimes makes them of what is left of the tasks that run.
func NewSlotTimes(slots int, left []time.Duration) slotTimes {
	s := slices.Clone(left)
	slices.Sort(s)
	s = s[max(0, len(s)-slots):] // more than allowed run: the first ends free nothing
	for len(s) < slots {
		s = append(s, 0)
	}
	heap.Init((*slotTimes)(&s))
	return s
}

// Next gives the slot that is free first to a task, and says in how long.
func (s slotTimes) Next(task time.Duration) time.Duration {
	in := s[0]
	s[0] = in + task
	heap.Fix(&s, 0)
	return in
}

// Rough rounds up to what an estimate is good for.
func Rough(d time.Duration) time.Duration {
	step := time.Hour
	switch {
	case d <= time.Minute:
		step = 15 * time.Second
	case d <= 10*time.Minute:
		step = time.Minute
	case d <= time.Hour:
		step = 5 * time.Minute
	case d <= 2*time.Hour:
		step = 15 * time.Minute
	}
	return max(step, (d+step-1)/step*step)
}
