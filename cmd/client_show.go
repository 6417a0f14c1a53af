package cmd

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/serviceforge/serviceforge/admin"
)

// reader is who a command shows its answer to.
type reader struct {
	client *admin.Client // for what an answer leaves open
	out    io.Writer
	colour bool
}

// showing makes of command one that asks the broker a question and shows the
// answer: as it is with --json, else by show. What judge makes of the answer
// after that is the command's error.
func showing[T any](env *clientEnv, command *cobra.Command,
	ask func(ctx context.Context, client *admin.Client, args []string) (T, error), show func(ctx context.Context, r reader, answer T) error,
	judge ...func(answer T) error) *cobra.Command {
	var asJSON bool
	command.SilenceUsage, command.SilenceErrors = true, true
	connection := connectionFlags(command, env)
	command.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	command.RunE = func(command *cobra.Command, args []string) error {
		client, err := connection.client()
		if err != nil {
			return err
		}
		answer, err := ask(command.Context(), client, args)
		if err != nil {
			return connection.explain(client, err)
		}
		out := command.OutOrStdout()
		if asJSON {
			err = writeJSON(out, answer)
		} else {
			err = show(command.Context(), reader{client: client, out: out, colour: env.colourful(out)}, answer)
		}
		if err == nil && len(judge) > 0 {
			err = judge[0](answer)
		}
		return err
	}
	return command
}
