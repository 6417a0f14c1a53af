package tasks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"runtime/debug"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/serviceforge/serviceforge/localbosh/bosherr"
	"github.com/serviceforge/serviceforge/localbosh/durable"
)

// Run is a task while it runs: its handler writes events, results and debug
// lines through it. It is safe for concurrent use.
type Run struct {
	q   *Queue
	t   *task
	log *slog.Logger

	mu     sync.Mutex
	events *os.File
	result *os.File

	held []*lock // guarded by Queue.mu
}

// ID is the task's number.
func (r *Run) ID() int { return r.t.ID }

// User is who asked for the task.
func (r *Run) User() string { return r.t.User }

// Log writes to the task's debug output.
func (r *Run) Log() *slog.Logger { return r.log }

// WriteResult appends to the task's result output.
func (r *Run) WriteResult(p []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.result == nil {
		f, err := r.q.output(r.t.ID, "result")
		if err != nil {
			return err
		}
		r.result = f
	}
	_, err := r.result.Write(p)
	return err
}

// run runs one task to its end.
func (q *Queue) run(ctx context.Context, t *task) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	q.mu.Lock()
	t.cancel = cancel
	if t.State == Cancelling {
		cancel(errCancelled)
	}
	q.mu.Unlock()

	r := &Run{q: q, t: t, log: q.log}
	var result string
	dbg, err := q.output(t.ID, "debug")
	if err == nil {
		defer dbg.Close()
		r.log = slog.New(slog.NewTextHandler(&capped{w: dbg, left: maxDebug}, &slog.HandlerOptions{Level: slog.LevelDebug}))
		r.events, err = q.output(t.ID, "event")
	}
	if err == nil {
		result, err = q.call(ctx, r)
	}
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx) // whatever it says, it ended since it was told to
	}
	r.close(err)
	q.finish(t, result, err)
	q.prune(t.kind)
}

// call runs the handler; a panic of one task must not end the director and with
// it all other tasks.
func (q *Queue) call(ctx context.Context, r *Run) (result string, err error) {
	defer func() {
		if p := recover(); p != nil {
			q.log.Error("task panicked", "task", r.t.ID, "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("the director has a defect: %v", p)
		}
	}()
	h, ok := q.handlers[r.t.kind]
	if !ok {
		return "", fmt.Errorf("nothing runs tasks of type %s", r.t.kind)
	}
	r.log.Info("task started", "task", r.t.ID, "type", r.t.kind, "description", r.t.Description)
	return h(ctx, r, r.t.args)
}

// close writes the closing error line, frees locks and ends the outputs.
func (r *Run) close(err error) {
	if err != nil {
		r.log.Error("task failed", "error", err)
		e := taskError(r.t.ID, err)
		r.write(line{Time: time.Now().Unix(), Error: &lineError{Code: e.Code, Message: e.Description}})
	}
	r.q.unlock(r.held)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range []*os.File{r.events, r.result} {
		if f != nil {
			_ = f.Close()
		}
	}
}

// finish stores how t ended, then makes it known: what a client was told must
// not be forgotten by a crash.
func (q *Queue) finish(t *task, result string, err error) {
	q.mu.Lock()
	t.ending = true
	final := t.Task
	q.mu.Unlock()

	now := time.Now().Unix()
	final.State = Done
	switch {
	case errors.Is(err, errCancelled):
		final.State, result = Cancelled, "task cancelled"
	case errors.Is(err, errStopping): // nobody can say how far it came
		final.State, result = Timeout, errStopping.Error()
	case err != nil:
		final.State, result = Failed, taskError(t.ID, err).Description
	}
	result = truncate(result)
	final.Timestamp, final.Result = &now, &result
	level := durable.Power
	if t.kind.ReadOnly() {
		level = durable.Process
	}
	q.save(row{final, t.kind, nil}, level)

	q.mu.Lock()
	defer q.mu.Unlock()
	t.Task, t.events, t.args, t.cancel, t.ending = final, -1, nil, nil, false
	q.touch(t)
}

func taskError(id int, err error) *bosherr.Error {
	if errors.Is(err, errCancelled) {
		return bosherr.New(bosherr.TaskCancelled, "Task %d cancelled", id)
	}
	return bosherr.Of(err)
}

var lastWord = regexp.MustCompile(`(?m)\s+?(\S+)?$`)

// truncate shortens a result as the director does (job_runner.rb): to 128
// characters, dropping the last word of every line.
func truncate(s string) string {
	s = strings.TrimSpace(s)
	if utf8.RuneCountInString(s) <= 128 {
		return s
	}
	return lastWord.ReplaceAllString(string([]rune(s)[:129]), "") + "..."
}

// maxDebug is the greatest debug log of one task, in bytes.
const maxDebug = 4 << 20

// capped drops what goes beyond its limit, so that one task cannot fill the
// disk. Each write comes from one slog handler, which serializes them.
type capped struct {
	w    *os.File
	left int
}

func (c *capped) Write(p []byte) (int, error) {
	if c.left < len(p) {
		c.left = 0
		return len(p), nil
	}
	c.left -= len(p)
	return c.w.Write(p)
}
