package cmd

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/admin"
)

func newCatalogCommand(env *clientEnv) *cobra.Command {
	return showing(env, &cobra.Command{
		Use:     "catalog",
		Aliases: []string{"marketplace"},
		Short:   "List the services and plans that can be created",
		Example: "  serviceforge catalog\n  serviceforge catalog --json",
		Args:    cobra.NoArgs,
	}, func(ctx context.Context, client *admin.Client, _ []string) ([]admin.Offering, error) {
		return client.Catalog(ctx)
	}, func(_ context.Context, r reader, offerings []admin.Offering) error {
		table := newTable("service", "plan", "description")
		for _, o := range offerings {
			table.add(text(o.Name), text(""), text(o.Description))
			for _, p := range o.Plans {
				table.add(text(""), text(p.Name), text(p.Description))
			}
		}
		return table.write(r.out, r.colour)
	})
}

// findPlan finds a plan by the names, or ids, of offering and plan.
func findPlan(offerings []admin.Offering, service, plan string) (admin.Offering, admin.Plan, error) {
	var names []string
	for _, o := range offerings {
		names = append(names, o.Name)
		if o.Name != service && o.ID != service {
			continue
		}
		var plans []string
		for _, p := range o.Plans {
			if p.Name == plan || p.ID == plan {
				return o, p, nil
			}
			plans = append(plans, p.Name)
		}
		return o, admin.Plan{}, serviceforge.Errorf(serviceforge.Invalid,
			"service %s has no plan %q; it has %s", o.Name, plan, strings.Join(plans, ", "))
	}
	if len(names) == 0 {
		return admin.Offering{}, admin.Plan{}, serviceforge.Errorf(serviceforge.Invalid, "the catalog is empty: no service release is installed")
	}
	return admin.Offering{}, admin.Plan{}, serviceforge.Errorf(serviceforge.Invalid,
		"there is no service %q; there is %s", service, strings.Join(names, ", "))
}
