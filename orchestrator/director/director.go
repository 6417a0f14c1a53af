// Package director says what the engine needs of a BOSH director: the calls it
// makes, and what it is told. orchestrator/bosh makes them of a real one.
package director

import (
	"context"
	"io"
	"slices"
	"time"
)

// Director is what the engine needs of a BOSH director. Every call is one HTTP
// request and repeats nothing. Errors: Unavailable (it did not answer, answered
// 5xx, or does not let us in: worth repeating), NotFound, and Unprocessable (it
// refused).
type Director interface {
	// Deploy posts a manifest. contextID (≤ 64 characters) marks the task, so
	// that it is found again when the answer is lost.
	Deploy(ctx context.Context, manifest []byte, contextID string) (task int, err error)
	// Delete asks for the end of a deployment. NotFound = there is none.
	Delete(ctx context.Context, deployment, contextID string) (task int, err error)
	// RunErrand asks for a run of an errand on the given instances of a deployment,
	// on all that have it where none is given.
	RunErrand(ctx context.Context, deployment, errand string, on []VM, contextID string) (task int, err error)
	// Tasks lists tasks, newest first.
	Tasks(ctx context.Context, q TaskQuery) ([]Task, error)
	// Task reads one task; wait as in TaskQuery. NotFound = the director does
	// not know it (any more).
	Task(ctx context.Context, id int, wait time.Duration) (Task, error)
	// Cancel asks a task to end; one that has ended is no error.
	Cancel(ctx context.Context, id int) error
	// Manifest returns the text of the last deploy that succeeded; it is empty
	// when none did. NotFound = there is no such deployment.
	Manifest(ctx context.Context, deployment string) ([]byte, error)
	// Instances lists the deployment's instances, lowest index of a group first,
	// without asking an agent (a plain GET).
	Instances(ctx context.Context, deployment string) ([]VM, error)
	// Events reads a task's event output from the given byte on. No news is
	// an empty answer.
	Events(ctx context.Context, task int, from int64) ([]byte, error)
	// Results reads a task's result output: of an errand's task a line of JSON for
	// each instance that it ran on.
	Results(ctx context.Context, task int) ([]byte, error)
	// VMs counts the deployment's VMs without asking an agent (a plain GET).
	VMs(ctx context.Context, deployment string) (int, error)
	Inventory
	Uploads
}

// Inventory is what operators' commands ask a director, beside the engine's
// own work. Errors as Director's.
type Inventory interface {
	// Info says who the director is. It is open to everybody: whether we are
	// let in shows in User.
	Info(ctx context.Context) (Info, error)
	// Deployments lists the names of all deployments that we may see.
	Deployments(ctx context.Context) ([]string, error)
	// CloudConfigs returns the texts (YAML) of the cloud configs in force; none
	// where the client may not read them.
	CloudConfigs(ctx context.Context) ([][]byte, error)
	// Releases returns the versions of each BOSH release.
	Releases(ctx context.Context) (map[string][]string, error)
	// Stemcells returns the versions of each operating system's stemcells.
	Stemcells(ctx context.Context) (map[string][]string, error)
}

// Uploads is what an install gives a director. A task that it returns may be
// hidden from us (a team's client does not see it): what counts is Parts, and
// Stemcells. Errors as Director's.
type Uploads interface {
	// Parts returns the fingerprints of a BOSH release's jobs and packages, by
	// "jobs/NAME" and "packages/NAME". NotFound = there is no such version.
	Parts(ctx context.Context, name, version string) (map[string]string, error)
	// Matches returns those fingerprints of packages in a release.MF that the
	// director has: a tarball may leave them out.
	Matches(ctx context.Context, manifest []byte) ([]string, error)
	// UploadRelease sends a BOSH release.
	UploadRelease(ctx context.Context, t Tarball) (task int, err error)
	// FetchRelease has the director fetch one; sha256 is in hex, "" = not known.
	FetchRelease(ctx context.Context, location, sha256 string) (task int, err error)
	// UploadStemcell sends a stemcell.
	UploadStemcell(ctx context.Context, t Tarball) (task int, err error)
}

// Tarball is a file that a director is sent; it may be opened more than once.
type Tarball struct {
	Size int64
	Open func() (io.ReadCloser, error)
}

// Inspection bounds what one look at a director takes for which an operator waits.
const Inspection = 5 * time.Second

// Info is what a director says of itself.
type Info struct {
	Name, UUID, Version string
	User                string // whom it takes us for; "" = our credentials are not good
	UAA                 bool   // it takes tokens of a UAA, and no passwords
	ConfigServer        bool   // it replaces ((references)), and makes variables
	LocalDNS            bool   // its VMs have names
	// Scopes are what our token allows, e.g. "bosh.teams.forge.admin"; none
	// where the director takes passwords.
	Scopes []string
}

// VM is what a director knows of one instance of a group.
type VM struct {
	ID        string // the director's, a UUID
	Group     string
	Index     int
	Addresses []string // none = an errand's, or it has no VM
	Missing   bool     // it should have a VM, and has none
}

// Addresses returns the first address of each VM, by group.
func Addresses(vms []VM) map[string][]string {
	addresses := map[string][]string{}
	for _, vm := range vms {
		if len(vm.Addresses) > 0 {
			addresses[vm.Group] = append(addresses[vm.Group], vm.Addresses[0])
		}
	}
	return addresses
}

// TaskQuery selects tasks; zero fields do not select.
type TaskQuery struct {
	ContextID  string
	Deployment string
	States     []string
	Limit      int
	// Wait asks the director to hold its answer that long while no listed task
	// changes (RFC 7240 "Prefer: wait"); directors that cannot answer at once.
	Wait time.Duration
}

// The states of a task at a director.
const (
	TaskQueued     = "queued"
	TaskProcessing = "processing"
	TaskCancelling = "cancelling"
	TaskDone       = "done"
	TaskError      = "error"
	TaskCancelled  = "cancelled"
	TaskTimeout    = "timeout"
)

// Which tasks are still to end, and which have.
var (
	Unfinished = []string{TaskQueued, TaskProcessing, TaskCancelling}
	Ended      = []string{TaskDone, TaskError, TaskCancelled, TaskTimeout}
)

// Task is what a director says of one task.
type Task struct {
	ID         int
	State      string
	Deployment string
	ContextID  string
	// Description is what it does, in the director's words: "create deployment",
	// "delete deployment NAME".
	Description string
	Result      string // cut at about 128 characters by the director
}

// Finished says that the task has ended, one way or another.
func (t *Task) Finished() bool { return slices.Contains(Ended, t.State) }

// Running says that the task has not ended: it waits, works, or is being cancelled.
func (t *Task) Running() bool {
	return t.State == TaskQueued || t.State == TaskProcessing || t.State == TaskCancelling
}
