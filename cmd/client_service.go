package cmd

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/admin"
)

func newServiceCommand(env *clientEnv) *cobra.Command {
	return showing(env, &cobra.Command{
		Use:     "service NAME",
		Short:   "Show a service instance: state, progress, addresses, bindings",
		Example: "  serviceforge service my-etcd\n  serviceforge service my-etcd --json",
		Args:    cobra.ExactArgs(1),
	}, func(ctx context.Context, client *admin.Client, args []string) (admin.Instance, error) {
		return client.Instance(ctx, args[0])
	}, func(ctx context.Context, r reader, instance admin.Instance) error {
		return writeInstance(ctx, r.out, r.client, &instance, r.colour)
	})
}

func writeInstance(ctx context.Context, out io.Writer, client *admin.Client, i *admin.Instance, colour bool) error {
	t := &table{}
	row := func(name, value string, with style) {
		if value != "" {
			t.add(text(name+":"), cell{value, with})
		}
	}
	service, plan := namesOf(i)
	row("name", i.ID, bold)
	row("service", service, plain)
	row("plan", plan, plain)
	row("platform", i.Platform, plain)
	row("state", string(i.State), styleOf(i.State))
	row("last operation", lastOperation(i), plain)
	if i.OperationState == serviceforge.InProgress {
		if now, err := client.Operation(ctx, i.ID, "", 0, ""); err == nil {
			row("progress", fmt.Sprintf("%d %%  %s", now.Percent, describe(now)), plain)
		}
	}
	row("message", i.Message, plain)
	row("cause", i.Cause, red)
	row("deployment", i.Deployment, plain)
	row("pool", i.Pool, plain)
	row("release", i.Release, plain)
	if i.Task != 0 {
		row("bosh task", fmt.Sprint(i.Task), plain)
	}
	for _, group := range slices.Sorted(maps.Keys(i.Facts)) {
		row(group, strings.Join(i.Facts[group], ", "), plain)
	}
	row("bindings", strings.Join(i.Bindings, ", "), plain)
	row("stale bindings", strings.Join(i.StaleBindings, ", "), yellow)
	row("created", i.CreatedAt.Local().Format(time.RFC3339), plain)
	if !i.UpdatedAt.IsZero() {
		row("changed", i.UpdatedAt.Local().Format(time.RFC3339), plain)
	}
	return t.write(out, colour)
}
