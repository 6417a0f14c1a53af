// Package tasks is the director's task queue: every change is a task that is
// stored before it runs, runs on one of few workers, and leaves its events,
// result and debug log on disk.
package tasks

import (
	"context"
	"log/slog"
	"time"
)

// State is where a task stands.
type State string

// The states of BOSH tasks. Tasks that are processing when the director ends
// become Timeout, as a real director's do when their worker stops reporting:
// clients have to look what became of the deployment.
const (
	Queued     State = "queued"
	Processing State = "processing"
	Cancelling State = "cancelling"
	Cancelled  State = "cancelled"
	Done       State = "done"
	Failed     State = "error"
	Timeout    State = "timeout"
)

// Ended says whether a task in this state will never change again.
func (s State) Ended() bool {
	return s != Queued && s != Processing && s != Cancelling
}

// Type is what a task does, in the director's words ("update_deployment").
type Type string

// The types of the embedded director.
const (
	UpdateDeployment Type = "update_deployment"
	DeleteDeployment Type = "delete_deployment"
	UpdateRelease    Type = "update_release"
	DeleteRelease    Type = "delete_release"
	UpdateStemcell   Type = "update_stemcell"
	DeleteStemcell   Type = "delete_stemcell"
	RunErrand        Type = "run_errand"
	CleanUp          Type = "cleanup"
	VMState          Type = "vms"
	FetchLogs        Type = "fetch_logs"
	SSH              Type = "ssh"
	ScanCloud        Type = "cck_scan"
	DeleteDisk       Type = "delete_orphan_disks"
)

// ReadOnly says that tasks of this type change nothing: they have a worker of
// their own, are not synced to disk, and are listed at verbose=2 only.
func (t Type) ReadOnly() bool {
	return t == VMState || t == FetchLogs || t == SSH
}

// Task is a task as GET /tasks/N shows it.
type Task struct {
	ID          int     `json:"id"`
	State       State   `json:"state"`
	Description string  `json:"description"`
	Timestamp   *int64  `json:"timestamp"`
	StartedAt   *int64  `json:"started_at"`
	Result      *string `json:"result"`
	User        string  `json:"user"`
	Deployment  *string `json:"deployment"`
	ContextID   string  `json:"context_id"`
}

// Spec is a task to be.
type Spec struct {
	Type        Type
	Description string
	User        string
	// Deployment is empty for tasks that belong to none.
	Deployment string
	ContextID  string
	// Args are handed to the handler of Type, in JSON form on the way, so that
	// a queued task survives a restart.
	Args any
}

// Options is what a queue is made of; Dir is required.
type Options struct {
	// Dir is the folder of the queue; it holds one folder per task.
	Dir string
	// Workers is how many changing tasks run at once; the default is 3.
	Workers int
	// Keep is how many ended tasks of each type are kept; the default is 2000.
	Keep int
	// LockWait is how long a task waits for a lock that another task holds;
	// the default is 10 s, as the director's.
	LockWait time.Duration
	// Log receives what goes wrong in the queue itself; nil discards it.
	Log *slog.Logger
}

// Filter selects tasks of a list; the zero value selects every changing task.
type Filter struct {
	// States are those wanted; none means all.
	States []State
	// ReadOnly also lists the tasks of read-only types (verbose=2).
	ReadOnly bool
	// Deployment and ContextID are exact; nil means all.
	Deployment *string
	ContextID  *string
	// Limit is the greatest number of tasks; 0 means all.
	Limit int
}

// Handle registers what runs tasks of type t; its string is the task's result.
// It must be called before Start.
func Handle[A any](q *Queue, t Type, fn func(ctx context.Context, r *Run, args A) (string, error)) {
	q.handlers[t] = decoding(fn)
}
