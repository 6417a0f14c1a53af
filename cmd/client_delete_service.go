package cmd

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/admin"
)

// deleteService holds the flags of delete-service.
type deleteService struct {
	*connection
	force, noWait, asJSON bool
	timeout               time.Duration
}

func newDeleteServiceCommand(env *clientEnv) *cobra.Command {
	command := &cobra.Command{
		Use:   "delete-service NAME",
		Short: "Delete a service instance with its data and bindings, and wait until it is gone",
		Example: `  serviceforge delete-service my-etcd
  serviceforge delete-service my-etcd -f --no-wait`,
		Args:          cobra.ExactArgs(1),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	d := &deleteService{connection: connectionFlags(command, env)}
	flags := command.Flags()
	flags.BoolVarP(&d.force, "force", "f", false, "do not ask")
	flags.BoolVar(&d.noWait, "no-wait", false, "return as soon as the broker has accepted")
	flags.BoolVar(&d.asJSON, "json", false, "print JSON")
	flags.DurationVar(&d.timeout, "timeout", 0, "wait no longer than this (default: until it is done)")
	command.RunE = func(command *cobra.Command, args []string) error {
		return d.run(command, args[0])
	}
	return command
}

func (d *deleteService) run(command *cobra.Command, id string) error {
	client, err := d.client()
	if err != nil {
		return err
	}
	ctx, out, side := command.Context(), command.OutOrStdout(), command.ErrOrStderr()
	if !d.force {
		instance, err := client.Instance(ctx, id)
		if err != nil {
			return d.explain(client, err)
		}
		if err := d.env.confirm(side, fmt.Sprintf("Delete %s with all its data and %d bindings?", printable(id), len(instance.Bindings))); err != nil {
			return err
		}
	}
	accepted, err := client.Delete(ctx, id)
	if err != nil {
		return d.explain(client, err)
	}
	if !accepted.Done && d.noWait {
		if d.asJSON {
			return writeJSON(out, accepted)
		}
		sayStarted(side, serviceforge.Deprovision, id)
		return nil
	}
	if !accepted.Done {
		waiting := &waiting{client: client, id: id, operation: accepted.Operation, kind: serviceforge.Deprovision,
			progress: newProgress(side), timeout: d.timeout}
		if err := waiting.wait(ctx); err != nil {
			return d.explain(client, err)
		}
	}
	if d.asJSON {
		return writeJSON(out, admin.Accepted{Operation: accepted.Operation, Done: true})
	}
	_, err = fmt.Fprintf(out, "%s is deleted\n", printable(id))
	return err
}

// confirm asks the person before data is lost.
func (e *clientEnv) confirm(side io.Writer, question string) error {
	in := e.stdin
	if in == nil {
		in = os.Stdin
		if !isTerminal(os.Stdin) {
			return serviceforge.Errorf(serviceforge.Invalid, "nobody can be asked: add -f to do it without a question")
		}
	}
	fmt.Fprint(side, question+" [y/N] ")
	answer, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && err != io.EOF {
		return serviceforge.Wrap(err, serviceforge.Invalid, "the answer cannot be read")
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return serviceforge.Errorf(serviceforge.Invalid, "nothing was done")
}
