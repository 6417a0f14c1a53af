package cmd

import (
	"cmp"
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/serviceforge/serviceforge/admin"
)

func newQuotaCommand(env *clientEnv) *cobra.Command {
	command := showing(env, &cobra.Command{
		Use: "quota", Short: "Show the limits and what is used of them",
		Long: "Show the limits and what is used of them. Limits are settings of the broker, e.g.\n\n" +
			"  quotas: [broker/instances=500, organization/instances=10, plan:etcd-dedicated/5-servers/ips=50]",
		Example: "  serviceforge quota\n  serviceforge quota --json\n  serviceforge quota recount", Args: cobra.NoArgs,
	}, func(ctx context.Context, client *admin.Client, _ []string) (admin.Quotas, error) {
		return client.Quotas(ctx)
	}, func(_ context.Context, r reader, q admin.Quotas) error { return writeQuotas(r, &q) })
	command.AddCommand(showing(env, &cobra.Command{
		Use: "recount", Short: "Count anew what exists, and correct what is wrong",
		Example: "  serviceforge quota recount", Args: cobra.NoArgs,
	}, func(ctx context.Context, client *admin.Client, _ []string) (admin.Recounted, error) {
		return client.Recount(ctx)
	}, func(_ context.Context, r reader, done admin.Recounted) error { return writeRecounted(r, &done) }))
	return command
}

func writeQuotas(r reader, q *admin.Quotas) error {
	if len(q.Limits) == 0 {
		_, err := fmt.Fprintln(r.out, "nothing is limited (setting quotas, e.g. --quotas organization/instances=10)")
		return err
	}
	t := newTable("scope", "of", "resource", "used", "limit")
	for _, u := range q.Use {
		style := plain
		switch {
		case u.Used >= u.Limit:
			style = red
		case u.Used >= u.Limit-u.Limit/10:
			style = yellow
		}
		t.add(text(u.Scope), text(cmp.Or(u.Name, "-")), text(u.Resource), cell{strconv.FormatInt(u.Used, 10), style}, text(strconv.FormatInt(u.Limit, 10)))
	}
	if err := t.write(r.out, r.colour); err != nil {
		return err
	}
	for _, l := range q.Limits {
		if _, err := fmt.Fprintln(r.out, "limit "+l); err != nil {
			return err
		}
	}
	if !q.Counting {
		return nil
	}
	_, err := fmt.Fprintln(r.out, "The quotas are being counted; requests wait.")
	return err
}

func writeRecounted(r reader, done *admin.Recounted) error {
	if len(done.Corrections) == 0 {
		_, err := fmt.Fprintln(r.out, "all counters were right")
		return err
	}
	t := newTable("quota", "was", "is")
	for _, c := range done.Corrections {
		t.add(text(c.Quota), text(strconv.FormatInt(c.Was, 10)), text(strconv.FormatInt(c.Is, 10)))
	}
	return t.write(r.out, r.colour)
}
