package cmd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/admin"
	"github.com/serviceforge/serviceforge/orchestrator/ownership"
)

func newOrphansCommand(env *clientEnv) *cobra.Command {
	command := showing(env, &cobra.Command{
		Use:   "orphans",
		Short: "List deployments on the directors that look like ours and have no instance",
		Long: "List deployments on the directors that look like ours and have no instance:\n\n" +
			"  orphan   made by this broker for an instance that was deleted: `orphans delete` removes it\n" +
			"  unknown  made by this broker, but nothing is known of its instance: its record was lost\n" +
			"  foreign  a name like ours, made by somebody else, or never deployed",
		Example: "  serviceforge orphans\n  serviceforge orphans delete etcd-my-etcd",
		Args:    cobra.NoArgs,
	}, func(ctx context.Context, client *admin.Client, _ []string) (admin.Orphans, error) {
		return client.Orphans(ctx)
	}, func(_ context.Context, r reader, found admin.Orphans) error {
		if len(found.Orphans) == 0 && len(found.Silent) == 0 {
			_, err := fmt.Fprintln(r.out, "No orphans.")
			return err
		}
		table := newTable("deployment", "pool", "group", "instance", "deleted")
		for i := range found.Orphans {
			o := &found.Orphans[i]
			deleted := ""
			if !o.DeletedAt.IsZero() {
				deleted = o.DeletedAt.Local().Format(time.RFC3339)
			}
			table.add(text(o.Deployment), text(o.Pool), cell{string(o.Group), styleOfGroup(o.Group)}, text(o.Instance), text(deleted))
		}
		return table.write(r.out, r.colour)
	}, func(found admin.Orphans) error {
		if len(found.Silent) == 0 {
			return nil
		}
		var silent []string
		for _, s := range found.Silent {
			silent = append(silent, "pool "+s.Pool+": "+s.Cause)
		}
		return serviceforge.Errorf(serviceforge.Unavailable, "not everything could be looked at: %s", strings.Join(silent, "; "))
	})
	command.AddCommand(newOrphansDeleteCommand(env))
	return command
}

func styleOfGroup(g ownership.Group) style {
	if g == ownership.Orphan {
		return yellow
	}
	return red
}

func newOrphansDeleteCommand(env *clientEnv) *cobra.Command {
	var pool string
	var grace time.Duration
	var own []string
	command := &cobra.Command{
		Use:   "delete NAME…",
		Short: "Delete orphans; anything else only with --i-own NAME",
		Example: `  serviceforge orphans delete etcd-4711
  serviceforge orphans delete --i-own etcd-from-the-old-broker`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	connection := connectionFlags(command, env)
	flags := command.Flags()
	flags.StringVar(&pool, "pool", "", "the pool whose director has it, where several do")
	flags.DurationVar(&grace, "grace", ownership.DefaultGrace, "how long its instance must have been gone")
	flags.StringArrayVar(&own, "i-own", nil, "delete `NAME` although it is unknown or foreign: you answer for it")
	command.RunE = func(command *cobra.Command, names []string) error {
		for _, name := range own {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
		if len(names) == 0 {
			return serviceforge.Errorf(serviceforge.Invalid, "name the deployments (`serviceforge orphans` lists them)")
		}
		client, err := connection.client()
		if err != nil {
			return err
		}
		var errs []error
		for _, name := range names {
			task, err := client.DeleteOrphan(command.Context(), pool, name, grace, slices.Contains(own, name))
			if err != nil {
				errs = append(errs, err)
				continue
			}
			_, _ = fmt.Fprintf(command.OutOrStdout(), "%s is being deleted: BOSH task %d\n", printable(name), task)
		}
		if len(errs) == 1 {
			return errs[0]
		}
		return errors.Join(errs...)
	}
	return command
}
