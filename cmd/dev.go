package cmd

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/serviceforge/serviceforge/config"
)

func newDevCommand() *cobra.Command {
	return settingsCommand(config.Dev, &cobra.Command{
		Use:   "dev",
		Short: "Run everything on this machine: broker, BOSH director and etcd",
		Long: `Run everything on this machine: an embedded etcd, an embedded BOSH-compatible
director that runs real processes, and the broker.

State lives in one folder. Ctrl-C stops broker, director and etcd, but not the
services; starting again finds every instance, running. Several run side by
side when each has its own --state, --listen, --bosh-listen and --network.`,
		Example: `  serviceforge dev
  serviceforge dev --ephemeral
  serviceforge dev --state /tmp/two --listen 127.0.0.1:5001 --bosh-listen 127.0.0.1:25556 --network 127.245.0.0/16`,
	}, func(command *cobra.Command, c config.Config) error {
		return runDev(command.Context(), c, command.OutOrStdout(), command.ErrOrStderr())
	})
}

func runDev(ctx context.Context, c config.Config, out, log io.Writer) error {
	began := time.Now()
	app := New(c, Parts{Etcd: true, BOSH: true, Web: true}, c.Log.Logger(log))
	if err := app.Start(ctx); err != nil {
		return err
	}
	app.greet(out, time.Since(began))
	if app.warming(ctx) {
		_, _ = fmt.Fprintln(out, "\nWhat is created waits a moment: "+rubyIsCompiled)
	}
	err := app.Wait(ctx)
	_, _ = fmt.Fprintln(out, "stopping")
	if stopping := app.Stop(context.WithoutCancel(ctx)); err == nil {
		err = stopping
	}
	if err == nil && !c.Ephemeral {
		_, _ = fmt.Fprintln(out, "stopped; the services go on running, and the next `serviceforge dev` finds them")
	}
	return err
}

// greet prints what was started, and commands to paste.
func (a *App) greet(out io.Writer, took time.Duration) {
	auth := a.config.Broker.Username + ":" + a.config.Broker.Password.Reveal()
	after := "services go on running"
	if a.config.Ephemeral {
		after = "everything is removed then"
	}
	state := ""
	if a.config.State != config.DefaultState() {
		state = " --state " + a.config.State
	}
	_, _ = fmt.Fprintf(out, `ServiceForge is ready after %s.

  broker    %s   user %s, password %s
  director  %s   (bosh CLI: see below)
  etcd      embedded
  state     %s

Try:

  curl -u %s %s/v2/catalog
  serviceforge create-service etcd-dedicated 3-servers my-etcd%s
  eval "$(serviceforge env%s)"     # then: bosh deployments

Ctrl-C stops this; %s.
`, took.Round(10*time.Millisecond), a.brokerURL, a.config.Broker.Username, a.config.Broker.Password.Reveal(),
		a.director.URL(), a.config.State, auth, a.brokerURL, state, state, after)
}
