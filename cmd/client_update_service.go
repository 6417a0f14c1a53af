package cmd

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/admin"
)

// updateService holds the flags of update-service.
type updateService struct {
	*connection
	plan, parameters        string
	upgrade, noWait, asJSON bool
	timeout                 time.Duration
}

func newUpdateServiceCommand(env *clientEnv) *cobra.Command {
	command := &cobra.Command{
		Use:   "update-service NAME",
		Short: "Change a service instance's plan or parameters, or upgrade it, and wait until it is done",
		Long: "Change a service instance's plan or parameters, or upgrade it, and wait until it is done.\n\n" +
			"Parameters that are not named stay as they are. Only --upgrade moves the instance to the\n" +
			"installed versions. An update that fails leaves plan and parameters as they were.",
		Example: `  serviceforge update-service my-etcd -p 3-servers
  serviceforge update-service my-etcd -c '{"snapshot_count": 50000}'
  serviceforge update-service my-etcd --upgrade --no-wait`,
		Args:          cobra.ExactArgs(1),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	u := &updateService{connection: connectionFlags(command, env)}
	flags := command.Flags()
	flags.StringVarP(&u.plan, "plan", "p", "", "the new `plan`")
	flags.StringVarP(&u.parameters, "parameters", "c", "", "new parameters: a `JSON` object, or @FILE")
	flags.BoolVar(&u.upgrade, "upgrade", false, "move to the installed versions")
	flags.BoolVar(&u.noWait, "no-wait", false, "return as soon as the broker has accepted")
	flags.BoolVar(&u.asJSON, "json", false, "print JSON")
	flags.DurationVar(&u.timeout, "timeout", 0, "wait no longer than this (default: until it is done)")
	command.RunE = func(command *cobra.Command, args []string) error {
		return u.run(command, args[0])
	}
	return command
}

func newUpgradeCommand(env *clientEnv) *cobra.Command {
	command := &cobra.Command{
		Use:   "upgrade NAME",
		Short: "Move a service instance to the version of its service release that is on offer, and wait until it is done",
		Long: "Move a service instance to the version of its service release that is on offer, and to what its\n" +
			"pool file says now, and wait until it is done. An upgrade that fails leaves it as it was.",
		Example:       "  serviceforge upgrade my-etcd",
		Args:          cobra.ExactArgs(1),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	u := &updateService{connection: connectionFlags(command, env), upgrade: true}
	command.Flags().BoolVar(&u.noWait, "no-wait", false, "return as soon as the broker has accepted")
	command.Flags().BoolVar(&u.asJSON, "json", false, "print JSON")
	command.Flags().DurationVar(&u.timeout, "timeout", 0, "wait no longer than this (default: until it is done)")
	command.RunE = func(command *cobra.Command, args []string) error {
		return u.run(command, args[0])
	}
	return command
}

func (u *updateService) run(command *cobra.Command, id string) error {
	parameters, err := parametersFlag(u.parameters)
	if err != nil {
		return err
	}
	if u.plan == "" && u.parameters == "" && !u.upgrade {
		return serviceforge.Errorf(serviceforge.Invalid, "what is to be changed? Name a plan (-p), parameters (-c) or --upgrade")
	}
	client, err := u.client()
	if err != nil {
		return err
	}
	ctx, out, side := command.Context(), command.OutOrStdout(), command.ErrOrStderr()
	accepted, err := u.ask(command, client, id, parameters)
	if err != nil {
		return u.explain(client, err)
	}
	if !accepted.Done && u.noWait {
		if u.asJSON {
			return writeJSON(out, accepted)
		}
		sayStarted(side, serviceforge.Update, id)
		return nil
	}
	if !accepted.Done {
		waiting := &waiting{client: client, id: id, operation: accepted.Operation, kind: serviceforge.Update,
			progress: newProgress(side), timeout: u.timeout}
		if err := waiting.wait(ctx); err != nil {
			return u.explain(client, err)
		}
	}
	instance, err := client.Instance(ctx, id)
	if err != nil {
		return u.explain(client, err)
	}
	if u.asJSON {
		return writeJSON(out, instance)
	}
	done := "is updated"
	if accepted.Done {
		done = "is so already"
	}
	_, err = fmt.Fprintf(out, "%s %s: %s %s\n", printable(id), done, printable(instance.Service), printable(instance.Plan))
	return err
}

// ask orders the update; the plan is one of the instance's service.
func (u *updateService) ask(command *cobra.Command, client *admin.Client, id string, parameters json.RawMessage) (admin.Accepted, error) {
	order := admin.UpdateOrder{Parameters: parameters, Upgrade: u.upgrade}
	if u.plan != "" {
		instance, err := client.Instance(command.Context(), id)
		if err != nil {
			return admin.Accepted{}, err
		}
		offerings, err := client.Catalog(command.Context())
		if err != nil {
			return admin.Accepted{}, err
		}
		_, plan, err := findPlan(offerings, instance.ServiceID, u.plan)
		if err != nil {
			return admin.Accepted{}, err
		}
		order.PlanID = plan.ID
	}
	return client.Update(command.Context(), id, order)
}
