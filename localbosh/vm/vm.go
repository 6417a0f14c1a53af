// Package vm runs the VMs of the local director: each is a folder, a loopback
// address and one detached supervisor process, which is PID 1 of a sandbox
// with a /var/vcap of its own.
package vm

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"
)

// ErrGone says that the VM has no living supervisor (or no folder at all):
// nothing of it runs any more. Create revives it, Destroy clears it away.
var ErrGone = errors.New("vm: the supervisor is gone")

// ErrNotRunning is the error of WaitRunning for processes that did not come up.
var ErrNotRunning = errors.New("vm: not all processes run")

// Host is the machine that VMs are made on. Fill it in once and share it; its
// methods are safe for concurrent use as long as nobody calls two of them for
// one CID at once.
type Host struct {
	// Program is the absolute path of the installed binary. Supervisors and
	// sandboxes run it as `Program __vm …` and `Program __sandbox …`; its main
	// must hand those to SupervisorMain, SandboxMain and ChpstMain.
	Program string
	// State is the state folder. Jobs do not see it (nor /home and /root).
	State string
	// VMs is the folder that holds one folder per VM, below State.
	VMs string
	// Packages is the store of compiled packages: one folder per fingerprint.
	// It is bound read-only into every VM and may grow while they run.
	Packages string
	// Env is put into the environment of every process of a VM or a
	// compilation, as KEY=VALUE (SERVICEFORGE_STATE=<state folder>).
	Env []string
	// Log receives what the host side has to say; nil discards it.
	Log *slog.Logger
}

// Spec is what a VM is made from. It is stored in the VM's folder and does not
// change during its life: another disk or address needs another VM.
type Spec struct {
	// CID names the VM and its folder: [A-Za-z0-9][A-Za-z0-9._-]*, at most 100
	// characters.
	CID        string `json:"cid"`
	AgentID    string `json:"agent_id,omitempty"`
	Deployment string `json:"deployment,omitempty"`
	Group      string `json:"group,omitempty"`
	// InstanceID is the instance's UUID; it is also the VM's hostname.
	InstanceID string `json:"instance_id,omitempty"`
	Index      int    `json:"index"`
	AZ         string `json:"az,omitempty"`
	// IP is the VM's address out of 127.0.0.0/8.
	IP string `json:"ip,omitempty"`
	// Store is the folder of the persistent disk, bound at /var/vcap/store.
	// It outlives the VM: Destroy does not touch it. Empty: no such disk.
	Store string `json:"store,omitempty"`
}

// File is one rendered template.
type File struct {
	// Path is relative to /var/vcap/jobs/NAME, with slashes.
	Path string `json:"path"`
	// Mode is 0 for the agent's modes (bin/* 0750, all else 0640).
	Mode uint32 `json:"mode,omitempty"`
	Data []byte `json:"data"`
}

// Job is one job of an instance with its templates rendered.
type Job struct {
	Name  string `json:"name"`
	Files []File `json:"files,omitempty"`
	// Monit is the rendered monit file: it alone decides what runs.
	Monit []byte `json:"monit,omitempty"`
}

// State is what a VM is asked to hold (the agent's apply spec).
type State struct {
	Jobs []Job `json:"jobs"`
	// Packages maps a package's name to its folder's name below Host.Packages.
	Packages map[string]string `json:"packages,omitempty"`
	// Hosts maps an address to its names; they are added to the VM's hosts file.
	Hosts map[string][]string `json:"hosts,omitempty"`
}

// The states of a VM's processes; job_state is one of them as well.
const (
	Running  = "running"  // every process lives
	Starting = "starting" // a pidfile of a classic job has not appeared yet
	Failing  = "failing"  // a process is down and is being restarted
	Stopped  = "stopped"  // not started, or stopped by Stop
)

// Status is what a supervisor says about its VM.
type Status struct {
	// Protocol is the version of the supervisor's protocol; Program the binary
	// that it runs.
	Protocol int    `json:"protocol"`
	Program  string `json:"program"`
	PID      int    `json:"pid"` // of the supervisor, outside of the VM
	// Revision grows with every change of the processes (see VM.Changed).
	Revision uint64 `json:"revision"`
	// JobState is Running, Starting, Failing or Stopped (BOSH's job_state).
	JobState  string    `json:"job_state"`
	Processes []Process `json:"processes"`
}

// Process is one process that monit files ask for.
type Process struct {
	Job string `json:"job"`
	// Name is the name of the monit check.
	Name  string `json:"name"`
	State string `json:"state"`
	PID   int    `json:"pid,omitempty"` // inside of the VM
	// UptimeSecs counts since the current process started.
	UptimeSecs int64 `json:"uptime_secs"`
	Restarts   int   `json:"restarts"`
	// Reason says in words why it is not running.
	Reason string `json:"reason,omitempty"`
	// Hopeless is set when no restart can help: the job `bpm` is missing, or
	// bpm.yml is wrong.
	Hopeless bool `json:"hopeless,omitempty"`
	MemKB    int  `json:"mem_kb,omitempty"`
}

// Exec is one program to be run in a VM as root until it ends.
type Exec struct {
	// Argv is the program and its arguments.
	Argv []string `json:"argv"`
	// Env is added to PATH and the Host's Env.
	Env []string `json:"env,omitempty"`
	// Dir is the working directory; the default is /.
	Dir string `json:"dir,omitempty"`
	// Log, a path without extension, makes output go to Log.stdout.log and
	// Log.stderr.log inside of the VM as well.
	Log string `json:"log,omitempty"`
}

// Result is the outcome of a program that ended.
type Result struct {
	// Missing says that there is no such script; nothing was run.
	Missing        bool
	ExitCode       int // 128 + N when signal N killed it
	Stdout, Stderr string
}

// Compile is one run of a package's packaging script.
type Compile struct {
	// Name and Version become BOSH_PACKAGE_NAME and BOSH_PACKAGE_VERSION.
	Name, Version string
	// Source is the package's unpacked source with its `packaging` script. The
	// script runs in it and may change it.
	Source string
	// Dependencies maps a package's name to its compiled folder on the host.
	Dependencies map[string]string
	// Target is the folder for the result. It is created; leave it to the
	// caller to rename it into the store.
	Target string
}

// VM is a handle on a VM with a living supervisor.
type VM struct {
	Spec Spec
	host *Host
}

// Probe runs `true` in a sandbox as VMs use it. Its error is one line that says
// what the kernel forbids and what to do about it.
func (h *Host) Probe(ctx context.Context) error { return errNotYet }

// Create stores spec, starts the VM's supervisor and returns when it answers.
// For a CID whose supervisor lives it is Adopt; for one that died it starts a
// new supervisor in the old folder, as a reboot would.
func (h *Host) Create(ctx context.Context, spec Spec) (*VM, error) { return nil, errNotYet }

// Adopt attaches to a VM that another process made. It answers ErrGone when
// its supervisor is dead.
func (h *Host) Adopt(ctx context.Context, cid string) (*VM, error) { return nil, errNotYet }

// List names the VMs that have a folder, dead and half-made ones included.
func (h *Host) List() ([]string, error) { return nil, errNotYet }

// Destroy stops everything in the VM, waits at most grace for processes to end
// by themselves, kills the rest and removes the VM's folder. It works for dead,
// half-made and unknown VMs. The persistent disk stays.
func (h *Host) Destroy(ctx context.Context, cid string, grace time.Duration) error { return errNotYet }

// Clean removes what compilations of a killed director left behind. Call it
// once before the first Compile.
func (h *Host) Clean() error { return errNotYet }

// Compile runs `bash -x packaging` in a sandbox of its own. Its output is
// returned in either case; the error says how the script failed.
func (h *Host) Compile(ctx context.Context, c Compile) (output string, err error) {
	return "", errNotYet
}

// Apply gives the VM its job files, packages and monit files. When processes
// run, they are stopped first; Start starts the new ones.
func (v *VM) Apply(ctx context.Context, s State) error { return errNotYet }

// Start starts the processes that the monit files name, and returns when each
// was started once (or failed to). It does nothing for a started VM.
func (v *VM) Start(ctx context.Context) error { return errNotYet }

// Stop ends the processes with their full grace (bpm: signal, 20 s, QUIT,
// KILL) and returns when all are gone. The VM stays.
func (v *VM) Stop(ctx context.Context) error { return errNotYet }

// Status asks the supervisor. It answers ErrGone when there is none.
func (v *VM) Status(ctx context.Context) (Status, error) { return Status{}, errNotYet }

// Changed waits until the status has a revision above the given one.
func (v *VM) Changed(ctx context.Context, revision uint64) (Status, error) {
	return Status{}, errNotYet
}

// WaitRunning waits until all processes run and have done so for settle. It
// ends early, with ErrNotRunning, when a process is Hopeless; when ctx ends
// first the error is ErrNotRunning too. The last status comes with each.
func (v *VM) WaitRunning(ctx context.Context, settle time.Duration) (Status, error) {
	return Status{}, errNotYet
}

// RunScript runs /var/vcap/jobs/JOB/bin/SCRIPT as root, with the environment
// and the log files (sys/log/JOB/SCRIPT.stdout.log, …) that the agent uses. A
// script that does not exist is Result.Missing. A script that fails is a
// Result, not an error. When ctx ends, the script is killed.
func (v *VM) RunScript(ctx context.Context, job, script string, args ...string) (Result, error) {
	return Result{}, errNotYet
}

// Exec runs a program as root. Its output is also written to the two writers,
// when they are not nil, as soon as it ended; Result holds the last MiB of each.
func (v *VM) Exec(ctx context.Context, e Exec, stdout, stderr io.Writer) (Result, error) {
	return Result{}, errNotYet
}

// Logs writes the VM's /var/vcap/sys/log as a gzipped tar archive.
func (v *VM) Logs(ctx context.Context, w io.Writer) error { return errNotYet }

// SupervisorMain is the entry point of `Program __vm <folder>`; args are those
// after __vm. It answers the exit code.
func SupervisorMain(args []string) int { return 1 }

// SandboxMain is the entry point of `Program __sandbox <file>`.
func SandboxMain(args []string) int { return 1 }

// ChpstMain is the entry point of `Program __chpst …`, a stand-in for runit's
// chpst inside of VMs.
func ChpstMain(args []string) int { return 1 }

var errNotYet = errors.New("vm: being written")
