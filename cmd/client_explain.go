package cmd

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/serviceforge/serviceforge/admin"
)

func newExplainCommand(env *clientEnv) *cobra.Command {
	return showing(env, &cobra.Command{
		Use:     "explain NAME",
		Short:   "Tell where a service instance stands, what it waits for, and what to do",
		Example: "  serviceforge explain my-etcd\n  serviceforge explain my-etcd --json",
		Args:    cobra.ExactArgs(1),
	}, func(ctx context.Context, client *admin.Client, args []string) (admin.Explanation, error) {
		return client.Explain(ctx, args[0])
	}, func(_ context.Context, r reader, x admin.Explanation) error {
		return writeExplanation(r.out, &x, r.colour)
	})
}

func writeExplanation(out io.Writer, x *admin.Explanation, colour bool) error {
	t := &table{}
	row := func(name, value string, with style) {
		if value != "" {
			t.add(text(name+":"), cell{value, with})
		}
	}
	row("name", x.ID, bold)
	row("state", string(x.State), styleOf(x.State))
	row("operation", fmt.Sprintf("%s %s, step %s", x.Operation, x.OperationState, x.Step), plain)
	row("waits for", x.Waits, yellow)
	if x.Position > 0 {
		row("place in line", fmt.Sprint(x.Position), plain)
	}
	if !x.Until.IsZero() {
		row("goes on at", x.Until.Local().Format(time.RFC3339), plain)
	}
	if b := x.Breaker; b != nil {
		row("breaker", "open since "+b.Since.Local().Format(time.RFC3339)+": "+b.Cause, red)
	}
	for _, f := range x.Findings {
		row("found", f.Kind+": "+f.Says, red)
	}
	row("told the user", x.Message, plain)
	row("cause", x.Cause, red)
	row("kind of cause", x.Class, plain)
	row("failures", counted(x), plain)
	row("deployment", x.Deployment, plain)
	row("pool", x.Pool, plain)
	row("bosh task", taskNumber(x.Task), plain)
	row("what to do", withTask(x.Advice, x.Task), bold)
	return t.write(out, colour)
}

// withTask puts the director's task into an advice that says "bosh task N".
func withTask(advice string, task int) string {
	if task == 0 {
		return advice
	}
	return strings.ReplaceAll(advice, "bosh task N", fmt.Sprintf("bosh task %d", task))
}

// counted tells what went wrong, as often as it did.
func counted(x *admin.Explanation) string {
	if x.Failures+x.Repeats == 0 {
		return ""
	}
	return fmt.Sprintf("failed tasks: %d, attempts in a row that did not get through: %d", x.Failures, x.Repeats)
}
