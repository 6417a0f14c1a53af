package catalog

import (
	"slices"
	"strings"

	"github.com/serviceforge/serviceforge"
)

// Limit replaces the name of a service ("etcd-dedicated") or of a plan
// ("etcd-dedicated/3-servers") in a limit by its id. Errors: Invalid (there is no
// such service or plan).
func (c *Catalog) Limit(l serviceforge.Limit) (serviceforge.Limit, error) {
	if l.ID == "" || l.Scope != serviceforge.ServiceScope && l.Scope != serviceforge.PlanScope {
		return l, nil
	}
	service, plan, _ := strings.Cut(l.ID, "/")
	for _, o := range c.offerings {
		if l.Scope == serviceforge.ServiceScope && (o.ID == l.ID || o.Name == l.ID) {
			l.ID = o.ID
			return l, nil
		}
		if i := slices.IndexFunc(o.Plans, func(p Plan) bool { return p.ID == l.ID || o.Name == service && p.Name == plan }); l.Scope == serviceforge.PlanScope && i >= 0 {
			l.ID = o.Plans[i].ID
			return l, nil
		}
	}
	return l, serviceforge.Errorf(serviceforge.Invalid, "quota %s: there is no %s %q: name it as etcd-dedicated or etcd-dedicated/3-servers, or by its id", l, l.Scope, l.ID)
}

// Name undoes Limit for people: the name of what a quota is for, its ID where it
// has no name.
func (c *Catalog) Name(q serviceforge.Quota) string {
	for _, o := range c.offerings {
		if q.Scope == serviceforge.ServiceScope && o.ID == q.ID {
			return o.Name
		}
		for _, p := range o.Plans {
			if q.Scope == serviceforge.PlanScope && p.ID == q.ID {
				return o.Name + "/" + p.Name
			}
		}
	}
	return q.ID
}
