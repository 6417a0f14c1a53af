package cmd

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/admin"
)

// repair holds the flags of repair.
type repair struct {
	*connection
	noWait, asJSON bool
	timeout        time.Duration
}

func newRepairCommand(env *clientEnv) *cobra.Command {
	command := &cobra.Command{
		Use:   "repair NAME",
		Short: "Begin anew what failed of a service instance, or verify a running one",
		Long: "Begin anew what failed of a service instance, with the same versions and secrets: its creation or its deletion.\n\n" +
			"Of a running instance it verifies that deployment and service are there, and learns its addresses again.",
		Example: `  serviceforge repair my-etcd
  serviceforge repair my-etcd --no-wait`,
		Args:          cobra.ExactArgs(1),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	r := &repair{connection: connectionFlags(command, env)}
	flags := command.Flags()
	flags.BoolVar(&r.noWait, "no-wait", false, "return as soon as the broker has accepted")
	flags.BoolVar(&r.asJSON, "json", false, "print JSON")
	flags.DurationVar(&r.timeout, "timeout", 0, "wait no longer than this (default: until it is done)")
	command.RunE = func(command *cobra.Command, args []string) error {
		return r.run(command, args[0])
	}
	return command
}

func (r *repair) run(command *cobra.Command, id string) error {
	client, err := r.client()
	if err != nil {
		return err
	}
	ctx, out, side := command.Context(), command.OutOrStdout(), command.ErrOrStderr()
	accepted, err := client.Repair(ctx, id)
	if err != nil {
		return r.explain(client, err)
	}
	if r.noWait {
		if r.asJSON {
			return writeJSON(out, accepted)
		}
		sayStarted(side, accepted.Kind, id)
		return nil
	}
	waiting := &waiting{client: client, id: id, operation: accepted.Operation, kind: accepted.Kind,
		progress: newProgress(side), timeout: r.timeout}
	if err := waiting.wait(ctx); err != nil {
		return r.explain(client, err)
	}
	if accepted.Kind == serviceforge.Deprovision {
		if r.asJSON {
			return writeJSON(out, admin.Accepted{Operation: accepted.Operation, Kind: accepted.Kind, Done: true})
		}
		_, err = fmt.Fprintf(out, "%s is deleted\n", printable(id))
		return err
	}
	instance, err := client.Instance(ctx, id)
	if err != nil {
		return r.explain(client, err)
	}
	if r.asJSON {
		return writeJSON(out, instance)
	}
	if instance.Message != "" {
		_, err = fmt.Fprintf(out, "%s runs. %s\n", printable(id), printable(instance.Message))
		return err
	}
	_, err = fmt.Fprintf(out, "%s runs\n", printable(id))
	return err
}
