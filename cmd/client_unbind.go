package cmd

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newUnbindCommand(env *clientEnv) *cobra.Command {
	var asJSON bool
	command := &cobra.Command{
		Use:           "unbind NAME BINDING",
		Short:         "Revoke credentials of a service instance",
		Example:       "  serviceforge unbind my-etcd my-app",
		Args:          cobra.ExactArgs(2),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	connection := connectionFlags(command, env)
	command.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	command.RunE = func(command *cobra.Command, args []string) error {
		client, err := connection.client()
		if err != nil {
			return err
		}
		unbound, err := client.Unbind(command.Context(), args[0], args[1])
		if err != nil {
			return connection.explain(client, err)
		}
		if asJSON {
			return writeJSON(command.OutOrStdout(), unbound)
		}
		says := "%s is revoked\n"
		if unbound.UserStays {
			says = "%s is unbound; its user goes when the service answers, or with the update that replaces it\n"
		}
		_, err = fmt.Fprintf(command.OutOrStdout(), says, printable(args[1]))
		return err
	}
	return command
}
