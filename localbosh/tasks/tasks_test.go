package tasks_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/serviceforge/serviceforge/localbosh/bosherr"
	"github.com/serviceforge/serviceforge/localbosh/tasks"
)

// args are those of the tasks of these tests.
type args struct{ Say string }

// script is what a task does; tests fill it in per task.
type script func(context.Context, *tasks.Run, args) (string, error)

func open(t *testing.T, dir string, o tasks.Options, fn script) *tasks.Queue {
	t.Helper()
	o.Dir = dir
	q, err := tasks.New(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []tasks.Type{tasks.UpdateDeployment, tasks.VMState} {
		tasks.Handle(q, kind, fn)
	}
	return q
}

func running(t *testing.T, o tasks.Options, fn script) *tasks.Queue {
	t.Helper()
	q := open(t, t.TempDir(), o, fn)
	q.Start()
	t.Cleanup(q.Stop)
	return q
}

func enqueue(t *testing.T, q *tasks.Queue, say string) tasks.Task {
	t.Helper()
	got, err := q.Enqueue(tasks.Spec{
		Type: tasks.UpdateDeployment, Description: "create deployment", User: "admin", Deployment: "d", ContextID: say, Args: args{say},
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// ended waits for the end of a task.
func ended(t *testing.T, q *tasks.Queue, id int, want tasks.State) tasks.Task {
	t.Helper()
	got, err := q.Wait(t.Context(), id, 20*time.Second)
	if err != nil || got.State != want {
		t.Fatalf("task %d: %+v, %v; want %s", id, got, err, want)
	}
	return got
}

func output(t *testing.T, q *tasks.Queue, id int, kind string) string {
	t.Helper()
	o, err := q.Open(id, kind)
	if err != nil {
		t.Fatal(err)
	}
	if o == nil {
		return ""
	}
	defer o.Close()
	data, err := io.ReadAll(o)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestLifeOfATask(t *testing.T) {
	go1, gone := make(chan struct{}), make(chan struct{})
	q := running(t, tasks.Options{}, func(_ context.Context, r *tasks.Run, a args) (string, error) {
		<-go1
		stage := r.Stage("Updating instance", 2, "web")
		err := stage.Do("web/0", func(s *tasks.Step) error { s.Progress(50, "half"); return nil })
		r.Warn("careful")
		_ = r.WriteResult([]byte("line\n"))
		<-gone
		return "/deployments/" + a.Say, err
	})
	got := enqueue(t, q, "ctx")
	if got.State != tasks.Queued || got.Timestamp != nil || got.StartedAt != nil || got.Result != nil || *got.Deployment != "d" {
		t.Errorf("queued: %+v", got)
	}
	close(go1)
	for !strings.Contains(output(t, q, got.ID, "event"), "careful") {
		if now, _ := q.Wait(t.Context(), got.ID, 5*time.Millisecond); now.State.Ended() {
			t.Fatalf("ended early: %+v", now)
		}
	}
	now, err := q.Get(got.ID)
	if err != nil || now.State != tasks.Processing || now.Timestamp != nil || now.StartedAt == nil || now.Result != nil {
		t.Errorf("processing: %+v, %v", now, err)
	}
	close(gone)
	done := ended(t, q, got.ID, tasks.Done)
	if *done.Result != "/deployments/ctx" || done.Timestamp == nil {
		t.Errorf("done: %+v", done)
	}
	want := `{"time":T,"stage":"Updating instance","tags":["web"],"total":2,"task":"web/0","index":1,"state":"started","progress":0}
{"time":T,"stage":"Updating instance","tags":["web"],"total":2,"task":"web/0","index":1,"state":"in_progress","progress":50,"data":{"status":"half"}}
{"time":T,"stage":"Updating instance","tags":["web"],"total":2,"task":"web/0","index":1,"state":"finished","progress":100}
{"time":T,"type":"warning","message":"careful"}
`
	if events := timeless(output(t, q, got.ID, "event")); events != want {
		t.Errorf("events:\n%s", events)
	}
	if r := output(t, q, got.ID, "result"); r != "line\n" {
		t.Errorf("result output %q", r)
	}
}

// timeless replaces the times of event lines.
func timeless(s string) string {
	var out strings.Builder
	for line := range strings.Lines(s) {
		_, rest, _ := strings.Cut(line, ",")
		out.WriteString(`{"time":T,` + rest)
	}
	return out.String()
}

func TestFailures(t *testing.T) {
	long := strings.Repeat("word ", 40)
	for _, c := range []struct {
		name string
		fn   script
		code int
		want string
	}{
		{"director's error", func(context.Context, *tasks.Run, args) (string, error) {
			return "", fmt.Errorf("wrapped: %w", bosherr.New(30005, "Release 'x' doesn't exist"))
		}, 30005, "Release 'x' doesn't exist"},
		{"other error", func(context.Context, *tasks.Run, args) (string, error) { return "", errors.New("disk full") }, 100, "disk full"},
		{"long error", func(context.Context, *tasks.Run, args) (string, error) { return "", errors.New(long) }, 100, strings.Repeat("word ", 24) + "word..."},
		{"panic", func(context.Context, *tasks.Run, args) (string, error) { panic("oops") }, 100, "the director has a defect: oops"},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := running(t, tasks.Options{}, c.fn)
			got := ended(t, q, enqueue(t, q, "").ID, tasks.Failed)
			if *got.Result != c.want {
				t.Errorf("result %q, want %q", *got.Result, c.want)
			}
			if events := output(t, q, got.ID, "event"); !strings.Contains(events, fmt.Sprintf(`"error":{"code":%d,`, c.code)) {
				t.Errorf("events %s", events)
			}
		})
	}
}

func TestCancel(t *testing.T) {
	started := make(chan struct{}, 1)
	q := running(t, tasks.Options{Workers: 1}, func(ctx context.Context, r *tasks.Run, _ args) (string, error) {
		started <- struct{}{}
		return "", r.Stage("Waiting", 1).Do("for the end", func(*tasks.Step) error { <-ctx.Done(); return ctx.Err() })
	})
	first, second := enqueue(t, q, "1"), enqueue(t, q, "2")
	<-started
	for _, id := range []int{second.ID, first.ID} {
		if err := q.Cancel(id); err != nil {
			t.Fatal(err)
		}
	}
	if got := ended(t, q, second.ID, tasks.Cancelled); got.StartedAt != nil || *got.Result != "task cancelled" {
		t.Errorf("cancelled while queued: %+v", got)
	}
	ended(t, q, first.ID, tasks.Cancelled)
	events := output(t, q, first.ID, "event")
	if !strings.Contains(events, fmt.Sprintf(`"error":{"code":10001,"message":"Task %d cancelled"}`, first.ID)) ||
		!strings.Contains(events, `"state":"failed"`) {
		t.Errorf("events %s", events)
	}
	err := q.Cancel(first.ID)
	if !bosherr.Is(err, bosherr.TaskBadState) || err.Error() != fmt.Sprintf("Cannot cancel task %d: invalid state (cancelled)", first.ID) {
		t.Errorf("cancelling an ended task: %v", err)
	}
	if err := q.Cancel(4711); !bosherr.Is(err, bosherr.TaskNotFound) {
		t.Errorf("cancelling a task that is not there: %v", err)
	}
}

func TestLocks(t *testing.T) {
	var q *tasks.Queue
	held, release := make(chan struct{}), make(chan struct{})
	q = running(t, tasks.Options{LockWait: 50 * time.Millisecond}, func(ctx context.Context, r *tasks.Run, a args) (string, error) {
		if err := r.Lock(ctx, "deployment:d"); err != nil {
			return "", err
		}
		if a.Say == "holder" {
			close(held)
			<-release
		}
		return a.Say, nil
	})
	holder := enqueue(t, q, "holder")
	<-held
	locks, err := json.Marshal(q.Locks())
	if err != nil || len(q.Locks()) != 1 || q.Locks()[0].TaskID != fmt.Sprint(holder.ID) || q.Locks()[0].Type != "deployment" || !q.Locked("deployment:d") {
		t.Errorf("locks: %s, %v", locks, err)
	}
	refused := ended(t, q, enqueue(t, q, "second").ID, tasks.Failed)
	if !strings.HasPrefix(*refused.Result, "Failed to acquire lock for lock:deployment:d uid: ") ||
		!strings.Contains(output(t, q, refused.ID, "event"), fmt.Sprintf("Locking task id is %d, description: 'create deployment'", holder.ID)) {
		t.Errorf("refused: %s", *refused.Result)
	}
	close(release)
	ended(t, q, holder.ID, tasks.Done)
	ended(t, q, enqueue(t, q, "third").ID, tasks.Done)
	if len(q.Locks()) != 0 {
		t.Errorf("locks are left: %v", q.Locks())
	}
}

func TestRestart(t *testing.T) {
	dir := t.TempDir()
	started := make(chan struct{}, 1)
	first := open(t, dir, tasks.Options{Workers: 1}, func(ctx context.Context, r *tasks.Run, _ args) (string, error) {
		started <- struct{}{}
		<-ctx.Done()
		return "", ctx.Err()
	})
	first.Start()
	interrupted, queued := enqueue(t, first, "1"), enqueue(t, first, "2")
	<-started
	first.Stop()
	if _, err := first.Enqueue(tasks.Spec{Type: tasks.UpdateDeployment}); err == nil {
		t.Error("a stopped queue takes tasks")
	}

	// A director that is killed leaves half a line and a task that seems to run.
	killed := enqueueKilled(t, dir)
	second := open(t, dir, tasks.Options{}, func(_ context.Context, _ *tasks.Run, a args) (string, error) { return a.Say, nil })
	if got := tasks.Waiting[args](second, tasks.UpdateDeployment); len(got) != 1 || got[0].Say != "2" {
		t.Errorf("waiting tasks: %v", got)
	}
	second.Start()
	defer second.Stop()
	for _, id := range []int{interrupted.ID, killed} {
		if got := ended(t, second, id, tasks.Timeout); *got.Result != "director restarted" {
			t.Errorf("task %d: %s", id, *got.Result)
		}
		if events := output(t, second, id, "event"); !strings.HasSuffix(events, `"error":{"code":100,"message":"director restarted"}}`+"\n") || strings.Contains(events, "half") {
			t.Errorf("events of task %d: %q", id, events)
		}
	}
	if got := ended(t, second, queued.ID, tasks.Done); *got.Result != "2" {
		t.Errorf("the queued task after the restart: %+v", got)
	}
	if next := enqueue(t, second, "3"); next.ID != killed+1 {
		t.Errorf("next id %d after %d", next.ID, killed)
	}
}

func enqueueKilled(t *testing.T, dir string) int {
	t.Helper()
	folder := filepath.Join(dir, "77")
	err := errors.Join(os.Mkdir(folder, 0o700),
		os.WriteFile(folder+"/task.json", []byte(`{"id":77,"state":"processing","type":"update_deployment","user":"admin"}`), 0o600),
		os.WriteFile(folder+"/event", []byte("{\"time\":1}\n{\"half"), 0o600),
		os.Mkdir(filepath.Join(dir, "76"), 0o700)) // nobody was told of this one
	if err != nil {
		t.Fatal(err)
	}
	return 77
}

func TestFiltersAndPruning(t *testing.T) {
	q := running(t, tasks.Options{Keep: 3}, func(_ context.Context, _ *tasks.Run, a args) (string, error) { return a.Say, nil })
	for i := range 6 {
		ended(t, q, enqueue(t, q, fmt.Sprint("c", i)).ID, tasks.Done)
	}
	vms, err := q.Enqueue(tasks.Spec{Type: tasks.VMState, Args: args{}})
	if err != nil {
		t.Fatal(err)
	}
	ended(t, q, vms.ID, tasks.Done)
	ids := func(f tasks.Filter) []int {
		out := []int{}
		for _, t := range q.List(f) {
			out = append(out, t.ID)
		}
		return out
	}
	other, context5 := "other", "c5"
	// The last ended task may still be pruned while its end is known already.
	for len(ids(tasks.Filter{})) > 3 {
		if _, err := q.Wait(t.Context(), 1, time.Millisecond); err != nil {
			continue
		}
	}
	for _, c := range []struct {
		name   string
		filter tasks.Filter
		want   []int
	}{
		{"newest first, three kept", tasks.Filter{}, []int{6, 5, 4}},
		{"with read-only ones", tasks.Filter{ReadOnly: true}, []int{7, 6, 5, 4}},
		{"limit", tasks.Filter{Limit: 2}, []int{6, 5}},
		{"state", tasks.Filter{States: []tasks.State{tasks.Queued, tasks.Processing}}, []int{}},
		{"deployment", tasks.Filter{Deployment: &other}, []int{}},
		{"context", tasks.Filter{ContextID: &context5}, []int{6}},
	} {
		if got := ids(c.filter); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestWaitList(t *testing.T) {
	release := make(chan struct{})
	q := running(t, tasks.Options{}, func(_ context.Context, _ *tasks.Run, a args) (string, error) {
		if a.Say == "slow" {
			<-release
		}
		return "", nil
	})
	active := tasks.Filter{States: []tasks.State{tasks.Queued, tasks.Processing, tasks.Cancelling}}
	if got, _ := q.WaitList(t.Context(), active, "", time.Hour); len(got) != 0 {
		t.Errorf("nothing to wait for: %v", got)
	}
	slow := enqueue(t, q, "slow")
	_, mark := q.WaitList(t.Context(), active, "", 0)
	for { // until the task runs
		if now, _ := q.Get(slow.ID); now.State == tasks.Processing {
			break
		}
		_, mark = q.WaitList(t.Context(), active, mark, time.Hour)
	}
	_, mark = q.WaitList(t.Context(), active, "", 0)

	// What ends between two calls is told at once, though other tasks still run.
	ended(t, q, enqueue(t, q, "fast").ID, tasks.Done)
	got, mark := q.WaitList(t.Context(), active, mark, time.Hour)
	if len(got) != 1 || got[0].ID != slow.ID {
		t.Errorf("after the end of a task: %v", got)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if got, _ := q.WaitList(t.Context(), active, mark, time.Hour); len(got) != 0 {
			t.Errorf("after the end of all: %v", got)
		}
	})
	close(release)
	wg.Wait()
	if _, next := q.WaitList(t.Context(), active, "a former director's mark", time.Hour); next == "" {
		t.Error("no mark")
	}
}

func TestEventsAreWholeLines(t *testing.T) {
	q := running(t, tasks.Options{}, func(_ context.Context, r *tasks.Run, _ args) (string, error) {
		var wg sync.WaitGroup
		stage := r.Stage("Creating", 100)
		for i := range 50 {
			wg.Go(func() {
				_ = stage.Do(strings.Repeat("x", 100*i), func(*tasks.Step) error { return nil })
			})
		}
		wg.Wait()
		return "", nil
	})
	got := enqueue(t, q, "")
	for over := false; !over; {
		now, err := q.Get(got.ID)
		if err != nil {
			t.Fatal(err)
		}
		over = now.State.Ended()
		events := output(t, q, got.ID, "event")
		for line := range strings.Lines(events) {
			if !json.Valid([]byte(line)) {
				t.Fatalf("half a line: %q", line)
			}
		}
	}
	if n := strings.Count(output(t, q, got.ID, "event"), "\n"); n != 100 {
		t.Errorf("%d lines, want 100", n)
	}
}
