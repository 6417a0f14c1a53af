package tasks

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/serviceforge/serviceforge/localbosh/durable"
)

// row is a task on disk.
type row struct {
	Task
	Type Type            `json:"type"`
	Args json.RawMessage `json:"args,omitempty"`
}

func (q *Queue) dir(id int) string { return filepath.Join(q.opts.Dir, strconv.Itoa(id)) }

// output opens an output file of a task for appending.
func (q *Queue) output(id int, kind string) (*os.File, error) {
	return os.OpenFile(filepath.Join(q.dir(id), kind), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
}

// create stores a new task.
func (q *Queue) create(t *task) error {
	if err := os.Mkdir(q.dir(t.ID), 0o700); err != nil {
		return fmt.Errorf("store task: %w", err)
	}
	level := durable.Power
	if t.kind.ReadOnly() {
		level = durable.Process
	}
	if err := durable.WriteJSON(filepath.Join(q.dir(t.ID), "task.json"), row{t.Task, t.kind, t.args}, level); err != nil {
		_ = os.RemoveAll(q.dir(t.ID))
		return fmt.Errorf("store task: %w", err)
	}
	if level == durable.Power {
		return durable.SyncDir(q.opts.Dir)
	}
	return nil
}

// save stores a change of a task that is no longer queued, so that its
// arguments (manifests!) can go. A disk that fails now must not hide the outcome
// from clients of this process, so the error is only logged.
func (q *Queue) save(w row, level durable.Level) {
	if err := durable.WriteJSON(filepath.Join(q.dir(w.ID), "task.json"), w, level); err != nil {
		q.log.Error("task not stored", "task", w.ID, "error", err)
	}
}

// load reads all tasks and settles those that a former director left running.
func (q *Queue) load() error {
	if err := os.MkdirAll(q.opts.Dir, 0o700); err != nil {
		return fmt.Errorf("open tasks: %w", err)
	}
	entries, err := os.ReadDir(q.opts.Dir)
	if err != nil {
		return fmt.Errorf("open tasks: %w", err)
	}
	kinds := map[Type]bool{}
	for _, e := range entries {
		id, err := strconv.Atoi(e.Name())
		if err != nil || !e.IsDir() {
			continue
		}
		q.last = max(q.last, id)
		t, err := q.read(id)
		if errors.Is(err, fs.ErrNotExist) {
			// The crash came between mkdir and rename: nobody was told of this task.
			_ = os.RemoveAll(q.dir(id))
			continue
		}
		if err != nil {
			return fmt.Errorf("open tasks: %w", err)
		}
		q.tasks[id] = t
		kinds[t.kind] = true
		q.settle(t)
	}
	slices.SortFunc(q.queued, func(a, b *task) int { return a.ID - b.ID })
	for k := range kinds {
		q.prune(k)
	}
	return nil
}

func (q *Queue) read(id int) (*task, error) {
	var w row
	if err := durable.ReadJSON(filepath.Join(q.dir(id), "task.json"), &w); err != nil {
		return nil, err
	}
	return &task{Task: w.Task, kind: w.Type, args: w.Args, events: -1}, nil
}

func (q *Queue) settle(t *task) {
	switch {
	case t.State == Queued && !t.kind.ReadOnly():
		q.queued = append(q.queued, t)
	case !t.State.Ended():
		cause := errStopping
		if t.State == Cancelling {
			cause = errCancelled
		}
		q.closeEvents(t, cause)
		q.finish(t, "", cause)
	}
}

// closeEvents ends the event output of a task whose director was killed: half a
// line is cut off (clients stop at one) and the error line is added.
func (q *Queue) closeEvents(t *task, cause error) {
	path := filepath.Join(q.dir(t.ID), "event")
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		q.log.Error("events not readable", "task", t.ID, "error", err)
		return
	}
	for len(data) > 0 && data[len(data)-1] != '\n' {
		data = data[:len(data)-1]
	}
	e := taskError(t.ID, cause)
	last, err := json.Marshal(line{Time: time.Now().Unix(), Error: &lineError{Code: e.Code, Message: e.Description}})
	if err == nil {
		err = durable.WriteFile(path, append(append(data, last...), '\n'), durable.Process)
	}
	if err != nil {
		q.log.Error("events not closed", "task", t.ID, "error", err)
	}
}

// prune removes the oldest ended tasks of one type.
func (q *Queue) prune(kind Type) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var ended []int
	for id, t := range q.tasks {
		if t.kind == kind && t.State.Ended() {
			ended = append(ended, id)
		}
	}
	slices.Sort(ended)
	for len(ended) > q.opts.Keep {
		id := ended[0]
		ended = ended[1:]
		delete(q.tasks, id)
		if err := os.RemoveAll(q.dir(id)); err != nil {
			q.log.Warn("old task not removed", "task", id, "error", err)
		}
	}
}

// Output is an output of a task as far as it is written.
type Output struct {
	*io.SectionReader
	// Modified is the time of the last write.
	Modified time.Time
	file     *os.File
}

// Close releases the output.
func (o *Output) Close() error { return o.file.Close() }

// Open opens the "event", "result" or "debug" output of task id. It is nil when
// nothing was written yet.
func (q *Queue) Open(id int, kind string) (*Output, error) {
	if _, err := q.Get(id); err != nil {
		return nil, err
	}
	f, err := os.Open(filepath.Join(q.dir(id), kind))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	size := st.Size()
	q.mu.Lock()
	if t, ok := q.tasks[id]; ok && kind == "event" && t.events >= 0 {
		size = min(size, t.events)
	}
	q.mu.Unlock()
	return &Output{SectionReader: io.NewSectionReader(f, 0, size), Modified: st.ModTime(), file: f}, nil
}
