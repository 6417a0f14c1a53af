package cmd

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/admin"
	pools "github.com/serviceforge/serviceforge/infrastructure_pools"
)

func newPoolsCommand(env *clientEnv) *cobra.Command {
	command := showing(env, &cobra.Command{
		Use:     "pools",
		Short:   "List the infrastructure pools: state, room, load and health",
		Example: "  serviceforge pools\n  serviceforge pools check\n  serviceforge pools check eu-1",
		Args:    cobra.NoArgs,
	}, func(ctx context.Context, client *admin.Client, _ []string) ([]admin.Pool, error) {
		return client.Pools(ctx)
	}, func(_ context.Context, r reader, all []admin.Pool) error {
		table := newTable("name", "director", "state", "instances", "free", "in flight", "queue", "health")
		for i := range all {
			p := &all[i]
			table.add(text(p.Name), text(p.Director), stateOf(p), text(roomOf(p)), text(freeOf(p)),
				text(fmt.Sprintf("%d/%d", p.InFlight, p.MaxInFlight)), text(strconv.Itoa(p.Queued)), healthOf(p))
		}
		return table.write(r.out, r.colour)
	})
	command.AddCommand(newPoolsCheckCommand(env), newPoolsSyncCommand(env))
	return command
}

// missingPool says of a pool that is not there which ones are.
func missingPool(err error) error {
	if serviceforge.CodeOf(err) == serviceforge.NotFound {
		return serviceforge.Wrap(err, serviceforge.NotFound, "%s (`serviceforge pools` lists them)", err.Error())
	}
	return err
}

// stateOf is "cordoned: new racks (token 1)".
func stateOf(p *admin.Pool) cell {
	told := p.State
	if p.Reason != "" {
		told += ": " + p.Reason
	}
	if p.Actor != "" {
		told += " (" + p.Actor + ")"
	}
	if p.State == string(pools.Active) {
		return cell{told, green}
	}
	return cell{told, yellow}
}

func roomOf(p *admin.Pool) string {
	if p.Capacity == 0 {
		return strconv.Itoa(p.Instances)
	}
	return fmt.Sprintf("%d/%d", p.Instances, p.Capacity)
}

func freeOf(p *admin.Pool) string {
	if p.Capacity == 0 {
		return "-"
	}
	return strconv.Itoa(p.Free)
}

func healthOf(p *admin.Pool) cell {
	switch {
	case !p.Healthy:
		return cell{p.Health, red}
	case p.Breaker != "":
		return cell{"breaker open: " + p.Breaker, red}
	}
	return cell{p.Health, green}
}

func newPoolsCheckCommand(env *clientEnv) *cobra.Command {
	return showing(env, &cobra.Command{
		Use:     "check [POOL]",
		Short:   "Check that directors let us in, with no more rights than needed, and have what the pool files name",
		Example: "  serviceforge pools check\n  serviceforge pools check eu-1 --json",
		Args:    cobra.MaximumNArgs(1),
	}, checkPools, func(_ context.Context, r reader, findings []admin.Finding) error {
		table := newTable("pool", "what", "result", "says")
		for _, f := range findings {
			result := cell{"ok", green}
			switch {
			case !f.Good:
				result = cell{"bad", red}
			case f.Warning:
				result = cell{"warning", yellow}
			}
			table.add(text(f.Pool), text(f.What), result, text(f.Says))
		}
		return table.write(r.out, r.colour)
	}, func(findings []admin.Finding) error {
		bad := 0
		for _, f := range findings {
			if !f.Good {
				bad++
			}
		}
		if bad == 0 {
			return nil
		}
		return serviceforge.Errorf(serviceforge.Unprocessable, "%d of %d checks failed", bad, len(findings))
	})
}

// checkPools checks the pool that is named, or all.
func checkPools(ctx context.Context, client *admin.Client, names []string) (findings []admin.Finding, err error) {
	if len(names) == 0 {
		all, err := client.Pools(ctx)
		if err != nil {
			return nil, err
		}
		for i := range all {
			names = append(names, all[i].Name)
		}
	}
	for _, name := range names {
		found, err := client.CheckPool(ctx, name)
		if err != nil {
			return nil, missingPool(err)
		}
		findings = append(findings, found...)
	}
	return findings, nil
}

// newPoolStateCommand makes cordon, uncordon and drain.
func newPoolStateCommand(env *clientEnv, use, short string, state pools.State, says string) *cobra.Command {
	var reason string
	command := &cobra.Command{
		Use: use + " POOL", Short: short, Args: cobra.ExactArgs(1), SilenceUsage: true, SilenceErrors: true,
	}
	command.Example = "  serviceforge " + use + " eu-1"
	if state != pools.Active {
		command.Flags().StringVar(&reason, "reason", "", "why, for the others (required)")
		command.Example += " --reason \"new racks on Monday\""
	}
	return showing(env, command, func(ctx context.Context, client *admin.Client, args []string) (admin.Pool, error) {
		if state != pools.Active && reason == "" {
			return admin.Pool{}, serviceforge.Errorf(serviceforge.Invalid, "say why, with --reason: the others will ask")
		}
		return setPool(ctx, client, args[0], admin.PoolOrder{State: string(state), Reason: reason})
	}, func(_ context.Context, r reader, pool admin.Pool) error {
		_, err := fmt.Fprintf(r.out, "%s %s\n", printable(pool.Name), says)
		return err
	})
}

// setPool sets a pool's state and returns the pool as it is then.
func setPool(ctx context.Context, client *admin.Client, name string, order admin.PoolOrder) (admin.Pool, error) {
	if err := client.SetPool(ctx, name, order); err != nil {
		return admin.Pool{}, missingPool(err)
	}
	all, err := client.Pools(ctx)
	if i := slices.IndexFunc(all, func(p admin.Pool) bool { return p.Name == name }); i >= 0 {
		return all[i], nil
	}
	return admin.Pool{Name: name, State: order.State, Reason: order.Reason}, err
}
