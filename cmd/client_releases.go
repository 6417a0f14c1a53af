package cmd

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/serviceforge/serviceforge/admin"
)

func newReleasesCommand(env *clientEnv) *cobra.Command {
	return showing(env, &cobra.Command{
		Use:     "releases",
		Short:   "List the service releases: versions, how many instances use them, and the pools that can carry them",
		Example: "  serviceforge releases\n  serviceforge releases --json",
		Args:    cobra.NoArgs,
	}, func(ctx context.Context, client *admin.Client, _ []string) ([]admin.Release, error) {
		return client.Releases(ctx)
	}, func(_ context.Context, r reader, all []admin.Release) error {
		table := newTable("name", "version", "state", "instances", "pools", "installed")
		for i := range all {
			v := &all[i]
			table.add(text(v.Name), text(v.Version), releaseState(v), text(strconv.Itoa(v.Instances)), poolsOf(v), text(installedBy(v)))
		}
		return table.write(r.out, r.colour)
	})
}

func releaseState(r *admin.Release) cell {
	if r.State == "on offer" {
		return cell{r.State, green}
	}
	return cell{r.State, yellow}
}

// poolsOf is "local", or "local, not eu-1".
func poolsOf(r *admin.Release) cell {
	var ready, not []string
	for _, p := range r.Pools {
		if p.Ready {
			ready = append(ready, p.Pool)
		} else {
			not = append(not, p.Pool)
		}
	}
	if len(not) == 0 {
		return text(strings.Join(ready, ", "))
	}
	return cell{strings.Join(append(ready, "not "+strings.Join(not, ", ")), ", "), yellow}
}

func installedBy(r *admin.Release) string {
	if r.At.IsZero() {
		return "with ServiceForge"
	}
	return r.At.Local().Format(time.DateTime) + " by " + r.Actor
}

func newUninstallCommand(env *clientEnv) *cobra.Command {
	command := &cobra.Command{
		Use:   "uninstall NAME[/VERSION]",
		Short: "Remove a service release, or one version of it, that no service instance uses",
		Long: `Remove a service release, or one version of it, that no service instance uses.
Its BOSH releases stay on the directors ("bosh clean-up" removes them there).`,
		Example: "  serviceforge uninstall redis/1.0.0\n  serviceforge uninstall redis",
		Args:    cobra.ExactArgs(1), SilenceUsage: true, SilenceErrors: true,
	}
	connection := connectionFlags(command, env)
	command.RunE = func(command *cobra.Command, args []string) error {
		client, err := connection.client()
		if err != nil {
			return err
		}
		if err := client.Uninstall(command.Context(), args[0]); err != nil {
			return connection.explain(client, err)
		}
		_, err = fmt.Fprintf(command.OutOrStdout(), "%s is uninstalled\n", printable(args[0]))
		return err
	}
	return command
}

func newPoolsSyncCommand(env *clientEnv) *cobra.Command {
	command := &cobra.Command{
		Use:   "sync POOL [FILE|URL|DIR…]",
		Short: "Give a pool's director what installed service releases need there",
		Long: `Look what a pool's director has of the installed service releases, and offer
there what it can carry: for a pool that was added, or was away when a release
was installed. Of the packed releases that are named, it is given what it lacks.`,
		Example: "  serviceforge pools sync eu-1\n  serviceforge pools sync eu-1 serviceforge-redis-1.0.0.tgz",
		Args:    cobra.MinimumNArgs(1),
	}
	return showing(env, command, func(ctx context.Context, client *admin.Client, args []string) (admin.Synced, error) {
		return inProgress(command, "synced", func(shown *progress) (admin.Synced, error) {
			return syncPool(ctx, client, args[0], args[1:], shown)
		})
	}, func(_ context.Context, r reader, done admin.Synced) error {
		var told strings.Builder
		for _, group := range []struct {
			what  string
			lines []string
		}{{"uploaded", done.Uploaded}, {"ready:", done.Ready}, {"lacking:", done.Lacking}} {
			for _, line := range group.lines {
				fmt.Fprintf(&told, "%s %s\n", group.what, printable(line))
			}
		}
		_, err := fmt.Fprint(r.out, told.String())
		return err
	})
}

// syncPool sends one release after the other, or none; the answer is that of all.
func syncPool(ctx context.Context, client *admin.Client, pool string, from []string, shown *progress) (all admin.Synced, err error) {
	step := func(s admin.InstallStep) { shown.show(admin.Progress{Description: s.Says, Percent: s.Percent}) }
	for _, name := range from {
		packed, size, err := openPacked(ctx, name, "/proc/self/exe", shown)
		if err != nil {
			return all, err
		}
		s := &sending{Reader: packed, from: name, size: size, shown: shown}
		done, err := client.Sync(ctx, pool, s, size, s.step)
		_ = packed.Close()
		if err != nil {
			return all, err
		}
		all.Uploaded = append(all.Uploaded, done.Uploaded...)
	}
	done, err := client.Sync(ctx, pool, nil, 0, step)
	done.Uploaded = append(all.Uploaded, done.Uploaded...)
	return done, err
}
