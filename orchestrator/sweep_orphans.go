package orchestrator

import (
	"context"
	"fmt"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator/ownership"
	"github.com/serviceforge/serviceforge/store"
)

// orphans deletes again what a deleted instance has left, e.g. since a request
// of a frozen leader reached the director late, when the grace period is over.
// What it is, is found out by the same looks as for `orphans delete`: all but
// orphans is left alone.
func (s *sweeper) orphans(ctx context.Context, deployments []string, stones []store.Tombstone) error {
	buried := map[string]store.Tombstone{}
	for _, stone := range stones {
		buried[stone.Deployment] = stone
	}
	mine := map[string]bool{}
	for _, i := range s.Store.Summaries() {
		mine[i.Deployment] = true
	}
	var left []store.Finding
	for _, name := range deployments {
		stone, ok := buried[name]
		if !ok || mine[name] || s.Now().Sub(stone.DeletedAt) < ownership.DefaultGrace {
			continue
		}
		f := store.Finding{Kind: orphaned, Pool: s.pools[0], Instance: stone.ID, Deployment: name}
		err := s.ask(ctx, sweepGap, func(ctx context.Context) error {
			task, err := s.strays.Delete(ctx, "the engine", s.pools[0], name, ownership.DefaultGrace, false)
			f.Says = fmt.Sprintf("it is deleted by task %d of the director", task)
			return err
		})
		switch serviceforge.CodeOf(err) {
		case "":
		case serviceforge.Forbidden, serviceforge.NotFound, serviceforge.Conflict, serviceforge.NotReady:
			continue // not an orphan, or not now
		case serviceforge.Unavailable:
			return err
		default:
			f.Says = serviceforge.MessageOf(err)
		}
		left = append(left, f)
	}
	s.replace(ctx, func(f *store.Finding) bool { return f.Kind == orphaned }, left)
	return nil
}
