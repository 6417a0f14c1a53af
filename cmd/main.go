// Package cmd is the program as a value (App: New, Start, Stop) and its
// command line, one file per command.
package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/serviceforge/serviceforge/config"
	"github.com/serviceforge/serviceforge/localbosh/render"
	"github.com/serviceforge/serviceforge/localbosh/vm"
	"github.com/serviceforge/serviceforge/releases/etcdserver"
	"github.com/serviceforge/serviceforge/releases/spiff"
)

// children are what the program is when it runs itself, by its hidden first
// argument.
var children = map[string]func(args []string) int{
	"__vm":      vm.SupervisorMain,
	"__sandbox": vm.SandboxMain,
	"__chpst":   vm.ChpstMain,
	"__erb":     render.ErbMain,
	"__spiff":   spiff.Main,
}

// aliases are what the program is when it is called by another name: the
// package of our etcd service release holds it as "etcd".
var aliases = map[string]func(args []string) int{
	"etcd": etcdserver.Main,
}

// Main runs the program and returns its exit code: 0 only for success.
func Main(args []string, stdout, stderr io.Writer) int {
	if child, rest := childOf(args); child != nil {
		return child(rest)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := newRoot()
	root.SetArgs(args[1:])
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if !errors.Is(err, errShown) {
		_, _ = fmt.Fprintln(stderr, "serviceforge: "+err.Error())
	}
	return 1
}

// errShown ends the program with exit code 1 where everything was said already.
var errShown = errors.New("failed")

// childOf finds the child that args ask for.
func childOf(args []string) (child func([]string) int, rest []string) {
	if alias, ok := aliases[filepath.Base(args[0])]; ok {
		return alias, args[1:]
	}
	if len(args) > 1 {
		return children[args[1]], args[2:]
	}
	return nil, nil
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "serviceforge",
		Short: "Dedicated services on demand: an Open Service Broker backed by BOSH",
		Example: `  serviceforge demo                     show the main job on this machine, then clean up
  serviceforge dev                      run broker, director and etcd on this machine
  serviceforge create-service etcd-dedicated 3-servers my-etcd`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(newDevCommand(), newDemoCommand(), newServeCommand(), newBOSHCommand(), newEtcdCommand(), newEnvCommand(), newPackageCommand(), newValidateCommand(), newRenderCommand(), newDiffCommand(), newConvertCommand(), newGenerateCommand(), newTestCommand())
	addClientCommands(root, &clientEnv{readEndpoint: readEndpoint, defaultState: config.DefaultState})
	arrange(root)
	sayUsage(root)
	return root
}

// settingsCommand makes a command that takes every setting; its help shows those
// whose flags begin with one of the words, or all of them.
func settingsCommand(defaults func() config.Config, command *cobra.Command, run func(command *cobra.Command, c config.Config) error, shown ...string) *cobra.Command {
	command.Args = cobra.NoArgs
	config.AddFlags(command.Flags(), defaults())
	command.Flags().VisitAll(func(f *pflag.Flag) {
		begins := func(word string) bool { return strings.HasPrefix(f.Name, word) }
		f.Hidden = f.Hidden || len(shown) > 0 && !slices.ContainsFunc(shown, begins)
	})
	command.RunE = func(command *cobra.Command, _ []string) error {
		c, err := config.Load(command.Flags(), defaults())
		if err == nil {
			err = c.Validate()
		}
		if err != nil {
			return err
		}
		return run(command, c)
	}
	return command
}
