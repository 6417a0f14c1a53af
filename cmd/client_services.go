package cmd

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/admin"
)

func newServicesCommand(env *clientEnv) *cobra.Command {
	return showing(env, &cobra.Command{
		Use:     "services",
		Short:   "List the service instances and their states",
		Example: "  serviceforge services\n  serviceforge services --json",
		Args:    cobra.NoArgs,
	}, func(ctx context.Context, client *admin.Client, _ []string) ([]admin.Instance, error) {
		return client.Instances(ctx)
	}, func(_ context.Context, r reader, instances []admin.Instance) error {
		if len(instances) == 0 {
			_, err := fmt.Fprintln(r.out, "No service instances. `serviceforge catalog` lists what can be created.")
			return err
		}
		table := newTable("name", "service", "plan", "state", "last operation", "deployment", "pool")
		for i := range instances {
			s := &instances[i]
			service, plan := namesOf(s)
			table.add(text(s.ID), text(service), text(plan), cell{string(s.State), styleOf(s.State)},
				text(lastOperation(s)), text(s.Deployment), text(s.Pool))
		}
		return table.write(r.out, r.colour)
	})
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
