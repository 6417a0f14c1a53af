package cmd

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/admin"
)

func newSweepCommand(env *clientEnv) *cobra.Command {
	return showing(env, &cobra.Command{
		Use:   "sweep",
		Short: "Show what the engine found when it last looked through the directors",
		Long: "Show what the engine found when it last looked through the directors: deployments that are gone, VMs that\n" +
			"are missing, services that do not answer, bindings with old addresses, slots whose instance is no more.\n" +
			"It looks all the time, slowly (setting engine.sweep). The exit code is 1 while there is something to do.",
		Example: "  serviceforge sweep\n  serviceforge sweep --json",
		Args:    cobra.NoArgs,
	}, func(ctx context.Context, client *admin.Client, _ []string) ([]admin.Sweep, error) {
		return client.Sweeps(ctx)
	}, func(_ context.Context, r reader, sweeps []admin.Sweep) error {
		table := newTable("pool", "instance", "found", "since", "says")
		for _, w := range sweeps {
			for _, f := range w.Findings {
				instance := f.Instance
				if f.Slot != "" {
					instance = "slot " + f.Slot
				}
				table.add(text(f.Pool), text(instance), cell{f.Kind, red}, text(f.Since.Local().Format(time.RFC3339)), text(f.Says))
			}
		}
		if len(table.rows) > 1 {
			if err := table.write(r.out, r.colour); err != nil {
				return err
			}
		}
		for _, w := range sweeps {
			if _, err := fmt.Fprintln(r.out, printable(toldOf(&w))); err != nil {
				return err
			}
		}
		return nil
	}, func(sweeps []admin.Sweep) error {
		found := 0
		for _, w := range sweeps {
			found += len(w.Findings) + w.More
		}
		if found == 0 {
			return nil
		}
		return serviceforge.Errorf(serviceforge.Unprocessable, "%d things are not as they should be", found)
	})
}

// toldOf is "pool eu-1: looked through at 12:00, with 31 calls".
func toldOf(w *admin.Sweep) string {
	told := "pool " + w.Pool + ": not looked through yet"
	if !w.At.IsZero() {
		told = fmt.Sprintf("pool %s: looked through at %s, calls to its director: %d", w.Pool, w.At.Local().Format(time.RFC3339), w.Calls)
	}
	if w.More > 0 {
		told += fmt.Sprintf("; %d more findings", w.More)
	}
	if w.Cause != "" {
		told += "; now it cannot be: " + w.Cause
	}
	return told
}
