package progress

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator/work"
	"github.com/serviceforge/serviceforge/store"
)

// Hear takes what the leader tells, until ctx ends.
func (b *Board) Hear(ctx context.Context) {
	b.store.FollowTold(ctx, func(pool string, t store.Told) {
		b.set(pool, t)
		b.Tell()
	})
}

// TellEvery is the least pause between two writes of what is told: of a pool,
// and of who looks.
const TellEvery = 2 * time.Second

// lookAgain is how often the leader is told that somebody still looks.
const lookAgain = interest / 2

// ReportLooks tells the leader, where this replica does not lead, at which
// instances somebody looks: when that changed, at most every tellEvery.
func (b *Board) ReportLooks(ctx context.Context, replica string, leads func() bool, log *slog.Logger) {
	var before []string
	var at time.Time
	for ctx.Err() == nil {
		looked := b.tasksLookedAt()
		switch {
		case len(looked) == 0 || leads():
			before = nil
			select {
			case <-ctx.Done():
				return
			case <-b.looked:
			}
			continue
		case b.now().Sub(at) < lookAgain && !slices.ContainsFunc(looked, func(id string) bool { return !slices.Contains(before, id) }):
		default:
			if err := b.store.PutLooks(ctx, replica, looked, interest); err != nil && ctx.Err() == nil {
				log.Warn("the leader was not told who looks", "error", serviceforge.DetailOf(err))
			}
			before, at = looked, b.now()
		}
		work.Pause(ctx, TellEvery)
	}
}

// looksMost bounds what one replica reports: progress of so many cannot be read anyway.
const looksMost = 500

// tasksLookedAt are the instances with a task at whose progress somebody looks.
func (b *Board) tasksLookedAt() []string {
	looked := slices.DeleteFunc(b.Wanted(), func(id string) bool {
		s, found, _ := b.store.Summary(id)
		return !found || !s.HasTask()
	})
	return looked[:min(len(looked), looksMost)]
}
