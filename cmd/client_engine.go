package cmd

import (
	"context"
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
	pause := engineCommand(env, "pause", "Let the engine finish the steps it is at, and do no more", func(ctx context.Context, client *admin.Client) (admin.Engine, error) {
		return client.TurnEngine(ctx, admin.EngineOrder{Paused: true, Reason: reason})
	})
	pause.Flags().StringVar(&reason, "reason", "", "why; everybody who asks is told")
	group.AddCommand(pause,
		engineCommand(env, "resume", "Let the engine work again", func(ctx context.Context, client *admin.Client) (admin.Engine, error) {
			return client.TurnEngine(ctx, admin.EngineOrder{})
		}),
		engineCommand(env, "status", "Tell whether the engine works, and on which replica", func(ctx context.Context, client *admin.Client) (admin.Engine, error) {
			return client.Engine(ctx)
		}))
	return group
}

// engineCommand makes a subcommand that asks for the engine's status in some way.
func engineCommand(env *clientEnv, name, short string, ask func(context.Context, *admin.Client) (admin.Engine, error)) *cobra.Command {
	return showing(env, &cobra.Command{
		Use: name, Short: short, Example: "  serviceforge engine " + name, Args: cobra.NoArgs,
	}, func(ctx context.Context, client *admin.Client, _ []string) (admin.Engine, error) {
		return ask(ctx, client)
	}, func(_ context.Context, r reader, e admin.Engine) error {
		return writeEngine(r.out, &e, r.colour)
	})
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
