package orchestrator

import (
	"context"
	"slices"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/catalog"
	"github.com/serviceforge/serviceforge/orchestrator/dispatch"
	"github.com/serviceforge/serviceforge/orchestrator/readiness"
)

// mayStand asks the director, before anything is deployed there, whether it has
// what the plan needs. Where it has not, a new instance goes to another pool, if
// there is one; left says that it does.
func (l *leader) mayStand(ctx context.Context, i *serviceforge.Instance, p *dispatch.Dispatcher) (left bool, err error) {
	wished := i.Wished()
	plan, err := l.wishedPlan(i, wished.Present())
	if err != nil || plan.Needs.Director == (catalog.DirectorNeeds{}) {
		return false, err
	}
	asking, cancel := context.WithTimeout(ctx, l.PostTimeout)
	defer cancel()
	missing, err := readiness.Lack(asking, p.Director, &p.Pool, plan.Needs.Director)
	if err != nil || missing == "" {
		return false, err
	}
	if i.Operation.Kind == serviceforge.Provision && i.Operation.Intent.Verb == "" {
		w, err := l.wishFor(i.Release, plan, i.Parameters.Reveal())
		if err != nil {
			return false, err
		}
		w.Not = append(slices.Clone(i.Operation.Tried), i.Pool)
		if _, none := l.candidates(w, l.Store.PoolMarks()); none == nil {
			l.Log.Warn("a pool does not have what a plan needs; another one is tried", "instance", i.ID, "pool", i.Pool, "lacks", missing)
			_, err := l.elsewhere(ctx, i)
			return true, err
		}
	}
	return false, serviceforge.Errorf(serviceforge.Unprocessable, "the infrastructure is not ready for plan %s: pool %s %s", plan.Name, i.Pool, missing)
}
