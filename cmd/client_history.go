package cmd

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/admin"
)

func newHistoryCommand(env *clientEnv) *cobra.Command {
	return showing(env, &cobra.Command{
		Use:     "history NAME",
		Short:   "Show who changed a service instance, when and why, also of a deleted one",
		Long:    "Show who changed a service instance, when and why, also of a deleted one.\nWith --json, the originating identities are shown as the platform sent them.",
		Example: "  serviceforge history my-etcd\n  serviceforge history my-etcd --json",
		Args:    cobra.ExactArgs(1),
	}, func(ctx context.Context, client *admin.Client, args []string) ([]admin.Change, error) {
		return client.History(ctx, args[0])
	}, func(_ context.Context, r reader, changes []admin.Change) error {
		table := newTable("time", "what", "who", "state", "task", "why")
		for i := range changes {
			c := &changes[i]
			table.add(text(c.At.Local().Format(time.RFC3339)), cell{happened(c), styleOfResult(c.Result)}, text(c.Actor),
				text(turned(c)), text(taskNumber(c.Task)), text(whyOf(c)))
		}
		return table.write(r.out, r.colour)
	})
}

// happened is "bind my-app", "bind my-app failed" or "provision failed".
func happened(c *admin.Change) string {
	if c.Binding != "" && c.Result == serviceforge.Failed {
		return c.What + " " + c.Binding + " failed"
	}
	if c.Binding != "" {
		return c.What + " " + c.Binding
	}
	return c.What + " " + string(c.Result)
}

func turned(c *admin.Change) string {
	if c.Before == c.After || c.Before == "" {
		return string(c.After)
	}
	return fmt.Sprintf("%s → %s", c.Before, c.After)
}

func taskNumber(task int) string {
	if task == 0 {
		return ""
	}
	return fmt.Sprint(task)
}

// whyOf is the first line of what the operator is told, else what the app developer was.
func whyOf(c *admin.Change) string {
	if c.Cause == "" {
		return c.Message
	}
	line, _, _ := strings.Cut(c.Cause, "\n")
	return line
}

func styleOfResult(s serviceforge.OperationState) style {
	switch s {
	case serviceforge.Succeeded:
		return green
	case serviceforge.Failed:
		return red
	}
	return plain
}
