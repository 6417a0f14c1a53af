package cmd

import (
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/serviceforge/serviceforge/admin"
)

func newEngineCommand(env *clientEnv) *cobra.Command {
	group := &cobra.Command{
		Use:           "engine",
		Short:         "Pause the engine, let it work again, or tell whether it works",
		Long:          "Pause the engine of all replicas, let it work again, or tell whether it works.\n\nWhile it is paused, requests are accepted and bindings made, but no director is asked anything.",
		Example:       "  serviceforge engine pause --reason \"the director is being upgraded\"\n  serviceforge engine resume",
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	var reason string
	pause := engineCommand(env, "pause", "Let the engine finish the steps it is at, and do no more", func(command *cobra.Command, client *admin.Client) (admin.Engine, error) {
		return client.TurnEngine(command.Context(), admin.EngineOrder{Paused: true, Reason: reason})
	})
	pause.Flags().StringVar(&reason, "reason", "", "why; everybody who asks is told")
	group.AddCommand(pause,
		engineCommand(env, "resume", "Let the engine work again", func(command *cobra.Command, client *admin.Client) (admin.Engine, error) {
			return client.TurnEngine(command.Context(), admin.EngineOrder{})
		}),
		engineCommand(env, "status", "Tell whether the engine works, and on which replica", func(command *cobra.Command, client *admin.Client) (admin.Engine, error) {
			return client.Engine(command.Context())
		}))
	return group
}

// engineCommand makes a subcommand that asks for the engine's status in some way.
func engineCommand(env *clientEnv, name, short string, ask func(*cobra.Command, *admin.Client) (admin.Engine, error)) *cobra.Command {
	var asJSON bool
	command := &cobra.Command{
		Use:           name,
		Short:         short,
		Example:       "  serviceforge engine " + name,
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
		status, err := ask(command, client)
		if err != nil {
			return connection.explain(client, err)
		}
		out := command.OutOrStdout()
		if asJSON {
			return writeJSON(out, status)
		}
		return writeEngine(out, &status, env.colourful(out))
	}
	return command
}

func writeEngine(out io.Writer, e *admin.Engine, colour bool) error {
	t := &table{}
	state := cell{"at work", green}
	if e.Paused {
		state = cell{"paused", yellow}
	}
	t.add(text("engine:"), state)
	leader := e.Leader
	if leader == "" {
		leader = "nobody at the moment"
	}
	t.add(text("leader:"), text(leader))
	if !e.At.IsZero() {
		t.add(text("turned:"), text(e.At.Local().Format(time.RFC3339)+" by "+e.Actor))
	}
	if e.Reason != "" {
		t.add(text("reason:"), text(e.Reason))
	}
	return t.write(out, colour)
}
