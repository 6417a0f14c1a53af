package cmd

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/serviceforge/serviceforge/admin"
)

func newBindCommand(env *clientEnv) *cobra.Command {
	var parameters string
	var asJSON bool
	command := &cobra.Command{
		Use:   "bind NAME BINDING",
		Short: "Make credentials for a service instance and print them",
		Long: "Make credentials for a service instance and print them as JSON.\n\n" +
			"The same command again prints the same credentials.",
		Example: `  serviceforge bind my-etcd my-app
  serviceforge bind my-etcd my-app --json`,
		Args:          cobra.ExactArgs(2),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	connection := connectionFlags(command, env)
	command.Flags().StringVarP(&parameters, "parameters", "c", "", "parameters: a `JSON` object, or @FILE")
	command.Flags().BoolVar(&asJSON, "json", false, "print the whole binding, not only the credentials")
	command.RunE = func(command *cobra.Command, args []string) error {
		given, err := parametersFlag(parameters)
		if err != nil {
			return err
		}
		client, err := connection.client()
		if err != nil {
			return err
		}
		binding, err := client.Bind(command.Context(), args[0], args[1], admin.BindingOrder{Parameters: given})
		if err != nil {
			return connection.explain(client, err)
		}
		if asJSON {
			return writeJSON(command.OutOrStdout(), binding)
		}
		if binding.Existed {
			fmt.Fprintf(command.ErrOrStderr(), "%s existed already\n", printable(binding.ID))
		}
		return writeJSON(command.OutOrStdout(), binding.Credentials)
	}
	return command
}
