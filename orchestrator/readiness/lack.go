package readiness

import (
	"context"

	"github.com/serviceforge/serviceforge/catalog"
	pools "github.com/serviceforge/serviceforge/infrastructure_pools"
	"github.com/serviceforge/serviceforge/orchestrator/director"
)

// Lack says what the pool's director does not have of what a plan needs of it,
// or "". The kind of a network is not known where our client may not read the
// cloud config.
func Lack(ctx context.Context, d director.Director, p *pools.Pool, needs catalog.DirectorNeeds) (string, error) {
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
