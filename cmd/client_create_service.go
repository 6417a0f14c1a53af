package cmd

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/admin"
)

// createService holds the flags of create-service.
type createService struct {
	*connection
	parameters string
	guid       string
	noWait     bool
	asJSON     bool
	timeout    time.Duration
}

func newCreateServiceCommand(env *clientEnv) *cobra.Command {
	command := &cobra.Command{
		Use:   "create-service SERVICE PLAN NAME",
		Short: "Create a service instance and wait until it runs",
		Long: "Create a service instance and wait until it runs.\n\n" +
			"NAME is the instance's id, unless --guid gives another one. The same command again\n" +
			"continues to wait; with another service, plan or parameters it is refused.",
		Example: `  serviceforge create-service etcd-dedicated 3-servers my-etcd
  serviceforge create-service etcd-dedicated 1-server my-etcd -c '{"key": "value"}'
  serviceforge create-service etcd-dedicated 1-server my-etcd -c @parameters.json --no-wait`,
		Args:          cobra.ExactArgs(3),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	c := &createService{connection: connectionFlags(command, env)}
	flags := command.Flags()
	flags.StringVarP(&c.parameters, "parameters", "c", "", "parameters: a `JSON` object, or @FILE")
	flags.StringVar(&c.guid, "guid", "", "`id` of the instance (default NAME)")
	flags.BoolVar(&c.noWait, "no-wait", false, "return as soon as the broker has accepted")
	flags.BoolVar(&c.asJSON, "json", false, "print JSON")
	flags.DurationVar(&c.timeout, "timeout", 0, "wait no longer than this (default: until it is done)")
	command.RunE = func(command *cobra.Command, args []string) error {
		return c.run(command, args[0], args[1], args[2])
	}
	return command
}

func (c *createService) run(command *cobra.Command, service, plan, name string) error {
	parameters, err := parametersFlag(c.parameters)
	if err != nil {
		return err
	}
	id := name
	if c.guid != "" {
		id = c.guid
	}
	client, err := c.client()
	if err != nil {
		return err
	}
	ctx, out, side := command.Context(), command.OutOrStdout(), command.ErrOrStderr()
	offerings, err := client.Catalog(ctx)
	if err != nil {
		return c.explain(client, err)
	}
	o, p, err := findPlan(offerings, service, plan)
	if err != nil {
		return err
	}
	accepted, err := client.Create(ctx, id, admin.Order{ServiceID: o.ID, PlanID: p.ID, Name: name, Parameters: parameters})
	if err != nil {
		return c.explain(client, err)
	}
	if !accepted.Done && c.noWait {
		if c.asJSON {
			return writeJSON(out, accepted)
		}
		sayStarted(side, serviceforge.Provision, id)
		return nil
	}
	if !accepted.Done {
		waiting := &waiting{client: client, id: id, operation: accepted.Operation, kind: serviceforge.Provision,
			progress: newProgress(side), timeout: c.timeout}
		if err := waiting.wait(ctx); err != nil {
			return c.explain(client, err)
		}
	}
	if c.asJSON {
		instance, err := client.Instance(ctx, id)
		if err != nil {
			return c.explain(client, err)
		}
		return writeJSON(out, instance)
	}
	_, err = fmt.Fprintf(out, "%s runs: %s %s. Next: serviceforge bind %s BINDING\n", printable(id), o.Name, p.Name, printable(id))
	return err
}
