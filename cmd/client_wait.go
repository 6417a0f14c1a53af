package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/admin"
)

const (
	// pollHold is how long the broker may hold a poll until there is news.
	pollHold = time.Second
	// silence is how long a broker may be away while we wait: it may be restarting.
	silence = time.Minute
	// knock is the pause between attempts to reach a silent broker.
	knock = 500 * time.Millisecond
)

// waiting is a wait for the end of one operation.
type waiting struct {
	client    *admin.Client
	id        string
	operation string
	kind      serviceforge.Kind
	progress  *progress
	timeout   time.Duration // 0 = until it is done; the broker has its own deadline
}

// wait polls until the operation is done. A failed operation is an error.
func (w *waiting) wait(ctx context.Context) error {
	if w.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, w.timeout)
		defer cancel()
	}
	var seen string
	heard := time.Now()
	for {
		now, err := w.client.Operation(ctx, w.id, w.operation, pollHold, seen)
		switch {
		case ctx.Err() != nil:
			w.progress.done("not finished")
			return w.gaveUp(ctx)
		case err == nil && now.State == serviceforge.InProgress:
			seen, heard = now.Seen(), time.Now()
			w.progress.show(now)
			continue
		case err == nil:
			return w.finish(now)
		case w.kind == serviceforge.Deprovision && isGone(err):
			w.progress.done("deleted")
			return nil
		case serviceforge.CodeOf(err) != serviceforge.Unavailable || time.Since(heard) > silence:
			w.progress.done("not finished")
			return err
		}
		select { // the broker is away, or away from its store
		case <-ctx.Done():
		case <-time.After(knock):
		}
	}
}

func isGone(err error) bool {
	code := serviceforge.CodeOf(err)
	return code == serviceforge.Gone || code == serviceforge.NotFound
}

func (w *waiting) finish(now admin.Progress) error {
	if now.State == serviceforge.Failed {
		w.progress.done("failed")
		return serviceforge.Errorf(serviceforge.Unprocessable, "the %s of %q failed: %s", now.Kind, w.id, now.Description)
	}
	if w.kind == serviceforge.Deprovision {
		w.progress.done("deleted")
		return nil
	}
	w.progress.done("succeeded")
	return nil
}

// gaveUp says that only the waiting ended.
func (w *waiting) gaveUp(ctx context.Context) error {
	why := "stopped waiting"
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		why = fmt.Sprintf("not done after %s", w.timeout)
	}
	return serviceforge.Wrap(ctx.Err(), serviceforge.Unavailable,
		"%s; the %s goes on: `serviceforge service %s` shows how far it is", why, w.kind, w.id)
}

// sayStarted tells what --no-wait leaves behind.
func sayStarted(out io.Writer, kind serviceforge.Kind, id string) {
	fmt.Fprintf(out, "%s of %s started; `serviceforge service %s` shows how far it is\n", kind, printable(id), printable(id))
}
