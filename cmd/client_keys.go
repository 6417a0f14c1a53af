package cmd

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/admin"
	"github.com/serviceforge/serviceforge/store"
)

func newKeysCommand(env *clientEnv) *cobra.Command {
	group := &cobra.Command{
		Use:   "keys",
		Short: "Rotate the keys that seal secrets in the store, and live with a lost one",
		Long: "Rotate the keys that seal secrets in the store, and live with a lost one.\n\n" +
			"To rotate: add a key to the key file, give every broker the new file (it is read again within seconds),\n" +
			"and seal everything anew. The old key may be taken out when `keys list` shows no record of it.",
		Example:       "  serviceforge keys add broker.key\n  serviceforge keys rotate\n  serviceforge keys list",
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	group.AddCommand(newKeysAddCommand(), newKeysListCommand(env), newKeysRotateCommand(env), newKeysResetCommand(env))
	return group
}

func newKeysAddCommand() *cobra.Command {
	return &cobra.Command{
		Use:           "add FILE",
		Short:         "Add a new key to a key file on this machine; nothing uses it yet",
		Example:       "  serviceforge keys add ~/.local/state/serviceforge/broker.key",
		Args:          cobra.ExactArgs(1),
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(command *cobra.Command, args []string) error {
			id, err := store.AddKey(args[0])
			if err == nil {
				_, err = fmt.Fprintf(command.OutOrStdout(), "key %s was added to %s; give every broker this file, then: serviceforge keys rotate\n", id, args[0])
			}
			return err
		},
	}
}

func newKeysListCommand(env *clientEnv) *cobra.Command {
	return showing(env, &cobra.Command{
		Use:     "list",
		Short:   "List the keys: which one seals, what each has sealed, which are lost",
		Example: "  serviceforge keys list\n  serviceforge keys list --json",
		Args:    cobra.NoArgs,
	}, func(ctx context.Context, client *admin.Client, _ []string) ([]admin.Key, error) {
		return client.Keys(ctx)
	}, func(_ context.Context, r reader, keys []admin.Key) error {
		table := newTable("key", "state", "records", "not known to", "instances")
		for _, k := range keys {
			state := text("")
			switch {
			case !k.Here && k.Records == 0:
				state = cell{"not here", yellow}
			case !k.Here:
				state = cell{"lost", red}
			case k.Current:
				state = cell{"in use", green}
			}
			table.add(text(k.ID), state, text(strconv.Itoa(k.Records)), text(strings.Join(k.Lacking, ", ")), text(strings.Join(k.Instances, ", ")))
		}
		return table.write(r.out, r.colour)
	})
}

// rotatePause is how long a rotation waits for brokers that have yet to hear of it.
const rotatePause = time.Second

func newKeysRotateCommand(env *clientEnv) *cobra.Command {
	var command *cobra.Command
	command = showing(env, &cobra.Command{
		Use:     "rotate",
		Short:   "Seal all secrets with the newest key, while the brokers work",
		Long:    "Seal all secrets with the newest key of the key file, while the brokers work.\n\nIt may be interrupted and begun again.",
		Example: "  serviceforge keys rotate",
		Args:    cobra.NoArgs,
	}, func(ctx context.Context, client *admin.Client, _ []string) (admin.Rotation, error) {
		return rotateKeys(ctx, client, command.ErrOrStderr())
	}, func(_ context.Context, r reader, done admin.Rotation) error {
		_, err := fmt.Fprintf(r.out, "key %s is in use: %d records were sealed anew\n", done.To, done.Sealed)
		if err == nil && done.Sealed == 0 {
			_, err = fmt.Fprintln(r.out, "a key that was added a moment ago is known within seconds: serviceforge keys list")
		}
		if err == nil && done.Lost > 0 {
			_, err = fmt.Fprintf(r.out, "%d records stay closed, their keys are lost: serviceforge keys list\n", done.Lost)
		}
		return err
	})
	return command
}

// rotateKeys asks again until it is done, and once more after the last broker
// has heard of it: that may have sealed something with the old key before.
func rotateKeys(ctx context.Context, client *admin.Client, side io.Writer) (admin.Rotation, error) {
	sealed, settled := 0, 0
	for {
		r, err := client.RotateKeys(ctx)
		if err != nil {
			return r, err
		}
		sealed += r.Sealed
		if r.Done {
			settled++
		}
		if settled == 2 {
			r.Sealed = sealed
			return r, nil
		}
		if waiting := printable(strings.Join(r.Waiting, ", ")); waiting != "" {
			fmt.Fprintf(side, "%d sealed, %d left; waiting for %s\n", sealed, r.Left-r.Lost, waiting)
		} else {
			fmt.Fprintf(side, "%d sealed, %d left\n", sealed, r.Left-r.Lost)
		}
		if r.Sealed == 0 && !r.Done {
			select {
			case <-ctx.Done():
				return r, ctx.Err()
			case <-time.After(rotatePause):
			}
		}
	}
}

func newKeysResetCommand(env *clientEnv) *cobra.Command {
	var force, noWait bool
	command := &cobra.Command{
		Use:   "reset-instance NAME",
		Short: "Make new secrets for a service instance and deploy it anew, without its data",
		Long: "Make new secrets for a service instance whose key is lost, or whose secrets are known to others: its deployment is\n" +
			"deleted with all data and made anew. Bindings made before are of no use afterwards: unbind and bind again.",
		Example:       "  serviceforge keys reset-instance my-etcd\n  serviceforge keys reset-instance my-etcd -f --no-wait",
		Args:          cobra.ExactArgs(1),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	connection := connectionFlags(command, env)
	command.Flags().BoolVarP(&force, "force", "f", false, "do not ask")
	command.Flags().BoolVar(&noWait, "no-wait", false, "return as soon as the broker has accepted")
	command.RunE = func(command *cobra.Command, args []string) error {
		client, err := connection.client()
		if err != nil {
			return err
		}
		ctx, side := command.Context(), command.ErrOrStderr()
		if !force {
			if err := env.confirm(side, fmt.Sprintf("Deploy %s anew, without its data and its bindings?", printable(args[0]))); err != nil {
				return err
			}
		}
		accepted, err := client.Reset(ctx, args[0])
		if err != nil {
			return connection.explain(client, err)
		}
		if noWait {
			sayStarted(side, serviceforge.Provision, args[0])
			return nil
		}
		waiting := &waiting{client: client, id: args[0], operation: accepted.Operation, kind: serviceforge.Provision, progress: newProgress(side)}
		if err := waiting.wait(ctx); err != nil {
			return connection.explain(client, err)
		}
		_, err = fmt.Fprintf(command.OutOrStdout(), "%s runs, with new secrets\n", printable(args[0]))
		return err
	}
	return command
}
