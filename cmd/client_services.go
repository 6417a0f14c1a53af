package cmd

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/admin"
)

func newServicesCommand(env *clientEnv) *cobra.Command {
	var asJSON bool
	command := &cobra.Command{
		Use:           "services",
		Short:         "List the service instances and their states",
		Example:       "  serviceforge services\n  serviceforge services --json",
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
		instances, err := client.Instances(command.Context())
		if err != nil {
			return connection.explain(client, err)
		}
		out := command.OutOrStdout()
		if asJSON {
			return writeJSON(out, instances)
		}
		if len(instances) == 0 {
			_, err := fmt.Fprintln(out, "No service instances. `serviceforge catalog` lists what can be created.")
			return err
		}
		table := newTable("name", "service", "plan", "state", "last operation", "deployment", "pool")
		for i := range instances {
			s := &instances[i]
			service, plan := namesOf(s)
			table.add(text(s.ID), text(service), text(plan), cell{string(s.State), styleOf(s.State)},
				text(lastOperation(s)), text(s.Deployment), text(s.Pool))
		}
		return table.write(out, env.colourful(out))
	}
	return command
}

// namesOf falls back to ids where the catalog has lost an offering.
func namesOf(i *admin.Instance) (service, plan string) {
	if i.Service == "" {
		return i.ServiceID, i.PlanID
	}
	return i.Service, i.Plan
}

// lastOperation is cf's wording: "provision in progress".
func lastOperation(i *admin.Instance) string {
	if i.OperationState == "" {
		return ""
	}
	return fmt.Sprintf("%s %s", i.Operation, serviceforge.OperationState(i.OperationState))
}
