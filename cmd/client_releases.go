package cmd

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/serviceforge/serviceforge/admin"
)

func newReleasesCommand(env *clientEnv) *cobra.Command {
	return showing(env, &cobra.Command{
		Use:   "releases",
		Short: "List the service releases: versions, how many instances use them, and the pools that can carry them",
		Long: `List the service releases: versions, how many instances use them, and the pools that can carry them.
What a pool's director has is looked at when a release is installed, and again by "serviceforge pools sync".`,
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
		Use:   "sync [POOL [FILE|URL|DIR…]]",
		Short: "Look again what a pool's director has for installed service releases, and give it what it lacks",
		Long: `Look again what a pool's director, or every pool's, has of the installed service
releases, and offer there what it can carry: for a pool that was added, was away
when a release was installed, or lost something since. Of the packed releases
that are named, it is given what it lacks.`,
		Example: "  serviceforge pools sync\n  serviceforge pools sync eu-1 serviceforge-redis-1.0.0.tgz",
		Args:    cobra.ArbitraryArgs,
	}
	return showing(env, command, func(ctx context.Context, client *admin.Client, args []string) (admin.Synced, error) {
		return inProgress(command, "synced", func(shown *progress) (admin.Synced, error) {
			if len(args) == 0 {
				return syncPools(ctx, client, shown)
			}
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

// syncPools looks at every pool. One whose director does not answer keeps no
// other from being looked at.
func syncPools(ctx context.Context, client *admin.Client, shown *progress) (all admin.Synced, err error) {
	pools, err := client.Pools(ctx)
	if err != nil {
		return all, err
	}
	var errs []error
	for i := range pools {
		name := pools[i].Name
		done, err := syncPool(ctx, client, name, nil, shown)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		all.Uploaded = append(all.Uploaded, done.Uploaded...)
		for _, ref := range done.Ready {
			all.Ready = append(all.Ready, ref+" on pool "+name)
		}
		for _, lack := range done.Lacking {
			all.Lacking = append(all.Lacking, "pool "+name+": "+lack)
		}
	}
	return all, errors.Join(errs...)
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
