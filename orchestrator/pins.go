package orchestrator

import (
	"context"

	"github.com/serviceforge/serviceforge"
	pools "github.com/serviceforge/serviceforge/infrastructure_pools"
	"github.com/serviceforge/serviceforge/orchestrator/director"
	"github.com/serviceforge/serviceforge/releases/deployed"
)

// pin notes at the first render what of the pool it is made with. The intent's
// write stores it.
func (l *leader) pin(i *serviceforge.Instance) error {
	if !i.Pins.Zero() {
		return nil
	}
	pool, err := l.Pools.Pool(i.Pool)
	if err != nil {
		return err
	}
	i.Pins = pool.Pins()
	if w := &i.Operation.Wish; i.Operation.Kind == serviceforge.Update && w.Pins.Zero() { // of a record without pins
		w.Pins = i.Pins
	}
	return nil
}

// maySucceed refuses a manifest that would lose data of the deployment that
// stands, before it is sent. The manifest of the last success is what counts: a
// deployment that never succeeded holds nothing.
func (l *leader) maySucceed(ctx context.Context, d director.Director, i *serviceforge.Instance, after []byte) error {
	if i.Operation.Kind != serviceforge.Update {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, l.PostTimeout)
	defer cancel()
	before, err := d.Manifest(ctx, i.Deployment)
	if err != nil || len(before) == 0 {
		return err
	}
	return deployed.CheckSuccessor(before, after, func() (map[string]int, error) {
		texts, err := d.CloudConfigs(ctx)
		if err != nil {
			return nil, err
		}
		config, err := pools.ParseCloudConfig(texts...)
		return config.DiskSizes, err
	})
}
