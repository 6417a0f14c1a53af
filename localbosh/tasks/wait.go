package tasks

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Wait returns task id as soon as it has ended, else as it is when d has passed
// or ctx is done.
func (q *Queue) Wait(ctx context.Context, id int, d time.Duration) (Task, error) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		q.mu.Lock()
		changed := q.changed
		q.mu.Unlock()
		t, err := q.Get(id)
		if err != nil || t.State.Ended() {
			return t, err
		}
		select {
		case <-changed:
		case <-timer.C:
			return t, nil
		case <-ctx.Done():
			return t, nil
		}
	}
}

// WaitList is List that is held while nothing happens: it returns when a task
// that matches f (its state apart) has started or ended since `since`, at once
// if no task is selected, and in any case when d has passed or ctx is done. The
// empty since means the time of the call. The second result is the since of the
// next call, so that nothing is missed in between.
func (q *Queue) WaitList(ctx context.Context, f Filter, since string, d time.Duration) ([]Task, string) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	q.mu.Lock()
	from, ok := q.version, true
	if since != "" {
		from, ok = q.parseMark(since)
	}
	for {
		list, mark, changed := q.list(f), q.mark(), q.changed
		happened := !ok || q.happened(f, from)
		q.mu.Unlock()
		if len(list) == 0 || happened || d <= 0 {
			return list, mark
		}
		select {
		case <-changed:
		case <-timer.C:
			d = 0
		case <-ctx.Done():
			d = 0
		}
		q.mu.Lock()
	}
}

// happened says whether a task has started or ended since version from.
func (q *Queue) happened(f Filter, from uint64) bool {
	for _, t := range q.tasks {
		if t.changed > from && t.State != Queued && f.matches(t) {
			return true
		}
	}
	return false
}

func (q *Queue) mark() string { return fmt.Sprintf("%x.%d", q.boot, q.version) }

// parseMark refuses marks of a former director: much may have happened since.
func (q *Queue) parseMark(s string) (uint64, bool) {
	var boot int64
	var v uint64
	if _, err := fmt.Fscanf(strings.NewReader(s), "%x.%d", &boot, &v); err != nil || boot != q.boot {
		return 0, false
	}
	return v, true
}
