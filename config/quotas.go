package config

import "github.com/serviceforge/serviceforge"

// maxQuotasOfOne is how many limits may concern one instance: its counters move
// in one transaction of etcd, beside what else that writes.
const maxQuotasOfOne = 20

// Limits reads the quotas. Errors: Invalid.
func (c *Config) Limits() ([]serviceforge.Limit, error) {
	var limits []serviceforge.Limit
	known := map[serviceforge.Quota]bool{}
	concern := map[serviceforge.Quota]bool{}
	for _, text := range c.Quotas {
		l, err := serviceforge.ParseLimit(text)
		if err != nil {
			return nil, invalid("quotas", "%s", err)
		}
		if known[l.Quota] {
			return nil, invalid("quotas", "%s has two limits", l.Quota)
		}
		known[l.Quota] = true
		concern[serviceforge.Quota{Scope: l.Scope, Resource: l.Resource}] = true
		limits = append(limits, l)
	}
	if len(concern) > maxQuotasOfOne {
		return nil, invalid("quotas", "%d limits would concern one service instance, at most %d may", len(concern), maxQuotasOfOne)
	}
	return limits, nil
}
