package orchestrator

import (
	"context"
	"time"

	"github.com/serviceforge/serviceforge/orchestrator/work"
)

// lookEvery is the pause between reads for one instance.
const lookEvery = 300 * time.Millisecond

// look reads events for the instances somebody looks at, until ctx ends.
func (l *leader) look(ctx context.Context) {
	for {
		ids := l.progress.Wanted()
		if len(ids) == 0 {
			select {
			case <-ctx.Done():
				return
			case <-l.progress.Demand():
				continue
			}
		}
		if l.gate.Wait(ctx) != nil {
			return
		}
		for _, id := range ids {
			summary, found, _ := l.Store.Summary(id)
			p, err := l.dispatcher(summary.Pool)
			if !found || err != nil || !summary.HasTask() {
				continue
			}
			p.Look(id, summary.Task)
		}
		work.Pause(ctx, lookEvery)
		if ctx.Err() != nil {
			return
		}
	}
}

// hearLooks notes at what somebody looks through other replicas.
func (l *leader) hearLooks(ctx context.Context) {
	l.Store.FollowLooks(ctx, func(instances []string) {
		for _, id := range instances {
			if s, found, _ := l.Store.Summary(id); found && s.Busy() {
				l.progress.Ask(id, s.OperationID, waitingFor[s.Step].percent)
			}
		}
	})
}
