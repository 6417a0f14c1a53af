// Package vm runs the VMs of the local director: each is a folder, a loopback
// address and one detached supervisor process, which is PID 1 of a sandbox
// with a /var/vcap of its own.
package vm

import (
	"errors"
	"log/slog"
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
	// It is bound read-only into every VM and may grow while they run. It and
	// what is in it must be readable for others than the owner (vcap).
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
	// Packages maps a package's name to its folder, relative to Host.Packages.
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
