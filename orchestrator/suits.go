package orchestrator

import (
	"context"
	"slices"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/catalog"
	pools "github.com/serviceforge/serviceforge/infrastructure_pools"
	"github.com/serviceforge/serviceforge/orchestrator/director"
	"github.com/serviceforge/serviceforge/orchestrator/dispatch"
)

// lack says what the pool's director does not have of what a plan needs of it,
// or "". The kind of a network is not known where our client may not read the
// cloud config.
func lack(ctx context.Context, d director.Director, p *pools.Pool, needs catalog.DirectorNeeds) (string, error) {
	if needs.ConfigServer || needs.LocalDNS {
		info, err := d.Info(ctx)
		switch {
		case err != nil:
			return "", err
		case needs.ConfigServer && !info.ConfigServer:
			return "has a director without a config server", nil
		case needs.LocalDNS && !info.LocalDNS:
			return "has a director without local DNS", nil
		}
	}
	if !needs.ManualNetwork {
		return "", nil
	}
	texts, err := d.CloudConfigs(ctx)
	if err != nil {
		return "", err
	}
	config, err := pools.ParseCloudConfig(texts...)
	if err != nil || !config.Dynamic[p.Network] {
		return "", err
	}
	return "has the network " + p.Network + ", which is no manual one", nil
}

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
	missing, err := lack(asking, p.Director, &p.Pool, plan.Needs.Director)
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
