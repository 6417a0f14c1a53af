package cmd

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/admin"
)

func newCatalogCommand(env *clientEnv) *cobra.Command {
	var asJSON bool
	command := &cobra.Command{
		Use:           "catalog",
		Aliases:       []string{"marketplace"},
		Short:         "List the services and plans that can be created",
		Example:       "  serviceforge catalog\n  serviceforge catalog --json",
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	connection := connectionFlags(command, env)
	command.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	command.RunE = func(command *cobra.Command, _ []string) error {
		client, err := connection.client()
		if err != nil {
			return err
		}
		offerings, err := client.Catalog(command.Context())
		if err != nil {
			return connection.explain(client, err)
		}
		out := command.OutOrStdout()
		if asJSON {
			return writeJSON(out, offerings)
		}
		table := newTable("service", "plan", "description")
		for _, o := range offerings {
			table.add(text(o.Name), text(""), text(o.Description))
			for _, p := range o.Plans {
				table.add(text(""), text(p.Name), text(p.Description))
			}
		}
		return table.write(out, env.colourful(out))
	}
	return command
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
