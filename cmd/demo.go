package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/config"
	"github.com/serviceforge/serviceforge/demo"
)

func newDemoCommand() *cobra.Command {
	var keep bool
	command := settingsCommand(demoDefaults, &cobra.Command{
		Use:   "demo",
		Short: "Show the main job on this machine, then clean up",
		Long: `Show the main job: start everything in a temporary folder, order a 3-server etcd
cluster, bind, use it, kill a server, unbind, delete, and clean up.`,
		Example: `  serviceforge demo
  serviceforge demo --keep`,
	}, func(command *cobra.Command, c config.Config) error {
		return runDemo(command.Context(), c, keep, command.OutOrStdout(), command.ErrOrStderr())
	}, "listen", "log-")
	command.Flags().BoolVar(&keep, "keep", false, "leave the broker running with the instance in it, until Ctrl-C")
	return command
}

// demoDefaults are those of dev, beside any dev that runs: a temporary folder
// and free ports; runDemo chooses free addresses for the VMs.
func demoDefaults() config.Config {
	c := config.Dev()
	c.Ephemeral = true
	c.Broker.Listen, c.BOSH.Listen = "127.0.0.1:0", "127.0.0.1:0"
	return c
}

// freeNetwork finds a part of 127.0.0.0/8 that nobody uses for etcd now.
func freeNetwork() string {
	for {
		network := fmt.Sprintf("127.%d.%d", 64+rand.IntN(128), rand.IntN(256))
		if free(network) {
			return network + ".0/24"
		}
	}
}

func free(network string) bool {
	for host := 2; host < 20; host++ {
		listener, err := net.Listen("tcp", fmt.Sprintf("%s.%d:2379", network, host))
		if err != nil {
			return false
		}
		_ = listener.Close()
	}
	return true
}

func runDemo(ctx context.Context, c config.Config, keep bool, out, log io.Writer) error {
	began := time.Now()
	if c.BOSH.Network == config.Dev().BOSH.Network {
		c.BOSH.Network = freeNetwork()
	}
	app := New(c, Parts{Etcd: true, BOSH: true, Web: true}, c.Log.Logger(log))
	if err := app.Start(ctx); err != nil {
		return err
	}
	o := demo.Options{
		URL: app.brokerURL, Username: c.Broker.Username, Password: c.Broker.Password.Reveal(), State: app.config.State,
		Out: out, Terminal: isTerminal(out), Keep: keep,
	}
	o.Say("start", time.Since(began), "etcd, BOSH director and broker at "+app.brokerURL)
	warming := time.Now()
	if app.warming(ctx) {
		o.Doing(rubyIsCompiled)
	}
	err := app.director.AwaitRenderer(ctx)
	if err == nil {
		o.Say("warm up", time.Since(warming), "templates can be rendered (the first time on a machine, Ruby is compiled)")
		_, err = demo.Run(ctx, o)
	}
	if err == nil && keep {
		app.greet(out, time.Since(began))
		err = app.Wait(ctx)
	}
	if err != nil && ctx.Err() != nil {
		o.Clear()
		err = serviceforge.Wrap(err, serviceforge.Unavailable, "the demo was given up; what it had started is stopped and removed")
	}
	stopping := time.Now()
	err = errors.Join(err, app.Stop(context.WithoutCancel(ctx)))
	if err == nil && c.Ephemeral {
		err = demo.Gone(app.config.State)
	}
	if err != nil {
		return err
	}
	o.Say("clean up", time.Since(stopping), "everything is stopped and removed")
	_, _ = fmt.Fprintf(out, "The demo took %s.\n", time.Since(began).Round(10*time.Millisecond))
	return nil
}

// rubyIsCompiled says what is waited for where templates cannot be rendered yet.
const rubyIsCompiled = "preparing to render templates: the first time on a machine this takes up to a minute, as Ruby is compiled"

// warming says whether the local director needs more than a moment before it
// can render templates.
func (a *App) warming(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return errors.Is(a.director.AwaitRenderer(ctx), context.DeadlineExceeded)
}

func isTerminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	return ok && isatty.IsTerminal(file.Fd())
}
