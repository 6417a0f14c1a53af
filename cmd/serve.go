package cmd

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/serviceforge/serviceforge/config"
)

func newServeCommand() *cobra.Command {
	return settingsCommand(config.Default, &cobra.Command{
		Use:     "serve",
		Aliases: []string{"web"},
		Short:   "Run the broker against an etcd cluster and BOSH directors",
		Long: `Run the broker against an etcd cluster and BOSH directors.

Pools name the directors; without any, the local director that was started with
the same --state (serviceforge bosh) is used.`,
		Example: `  SERVICEFORGE_BROKER_PASSWORD=… serviceforge serve --etcd https://a:2379,https://b:2379 --etcd-ca ca.pem --pools pools/prod.yml`,
	}, func(command *cobra.Command, c config.Config) error {
		return runParts(command, c, Parts{Web: true}, func(a *App) string { return "broker: " + a.brokerURL })
	})
}

func newBOSHCommand() *cobra.Command {
	return settingsCommand(partDefaults, &cobra.Command{
		Use:     "bosh",
		Short:   "Run only the local BOSH-compatible director",
		Example: `  serviceforge bosh --state .serviceforge`,
	}, func(command *cobra.Command, c config.Config) error {
		return runParts(command, c, Parts{BOSH: true}, func(a *App) string { return "director: " + a.director.URL() })
	}, "bosh-", "network", "state", "log-", "config", "ephemeral")
}

func newEtcdCommand() *cobra.Command {
	return settingsCommand(partDefaults, &cobra.Command{
		Use:     "etcd",
		Short:   "Run only the built-in etcd server, for brokers on this machine",
		Example: `  serviceforge etcd --state .serviceforge --etcd-listen 127.0.0.1:2379`,
	}, func(command *cobra.Command, c config.Config) error {
		return runParts(command, c, Parts{Etcd: true}, func(a *App) string { return "etcd: " + a.etcdURL })
	}, "etcd-listen", "state", "log-", "config", "ephemeral")
}

// partDefaults are production's; the parts that serve no platform need no
// platform password.
func partDefaults() config.Config {
	c := config.Default()
	c.Broker.Password = config.Dev().Broker.Password
	return c
}

// runParts runs some parts until the command is interrupted.
func runParts(command *cobra.Command, c config.Config, p Parts, started func(*App) string) error {
	ctx := command.Context()
	app := New(c, p, c.Log.Logger(command.ErrOrStderr()))
	if err := app.Start(ctx); err != nil {
		return err
	}
	_, _ = fmt.Fprintln(command.OutOrStdout(), started(app))
	err := app.Wait(ctx)
	if stopping := app.Stop(context.WithoutCancel(ctx)); err == nil {
		err = stopping
	}
	return err
}
