package vm

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// launch is one program to be started.
type launch struct {
	argv           []string
	env            []string
	dir            string
	vcap           bool // run as vcap instead of root
	stdout, stderr *os.File
	openFiles      uint64 // soft and hard NOFILE, at most what the machine allows; 0 leaves them
}

// child is a process that was launched.
type child struct {
	pid  int
	done chan struct{} // closed when it was reaped
	// capped is set when launch.openFiles was above what the machine allows.
	capped bool
	exit   syscall.WaitStatus
}

// code is the exit code as a shell reports it.
func (c *child) code() int {
	if c.exit.Signaled() {
		return 128 + int(c.exit.Signal())
	}
	return c.exit.ExitStatus()
}

// why says in words how a child ended.
func (c *child) why() string {
	if c.exit.Signaled() {
		return fmt.Sprintf("killed by signal %d (%s)", c.exit.Signal(), c.exit.Signal())
	}
	return fmt.Sprintf("exited with status %d", c.exit.ExitStatus())
}

// children launches processes and reaps everything that dies below PID 1. It is
// the only one that waits, so os/exec must not be used beside it.
type children struct {
	single bool
	null   *os.File
	died   chan os.Signal
	mu     sync.Mutex // held from before the fork until the pid is known
	known  map[int]*child
}

func newChildren(single bool) (*children, error) {
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	cs := &children{single: single, null: null, died: make(chan os.Signal, 1), known: map[int]*child{}}
	signal.Notify(cs.died, unix.SIGCHLD) // before the first child can die
	return cs, nil
}

// reap runs as long as the process: it collects launched children and orphans.
func (cs *children) reap() {
	for range cs.died {
		for {
			var status syscall.WaitStatus
			pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
			if errors.Is(err, syscall.EINTR) {
				continue
			}
			if err != nil || pid <= 0 {
				break
			}
			cs.mu.Lock()
			c := cs.known[pid]
			delete(cs.known, pid)
			cs.mu.Unlock()
			if c != nil {
				c.exit = status
				close(c.done)
			}
		}
	}
}

// start launches a program in a session of its own. It returns when the program
// was executed, or could not be.
func (cs *children) start(l launch) (*child, error) {
	path, err := lookPath(l.argv[0], l.env)
	if err != nil {
		return nil, err
	}
	attr := &syscall.ProcAttr{Dir: l.dir, Env: l.env, Files: []uintptr{cs.null.Fd(), cs.null.Fd(), cs.null.Fd()}, Sys: &syscall.SysProcAttr{Setsid: true}}
	if l.stdout != nil {
		attr.Files[1] = l.stdout.Fd()
	}
	if l.stderr != nil {
		attr.Files[2] = l.stderr.Fd()
	}
	if l.vcap {
		asVcap(attr.Sys, cs.single)
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	capped, restore := limitOpenFiles(l.openFiles)
	pid, err := syscall.ForkExec(path, l.argv, attr)
	restore(pid)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	c := &child{pid: pid, done: make(chan struct{}), capped: capped}
	cs.known[pid] = c
	return c, nil
}

// defaultOpenFiles is the soft NOFILE of processes that ask for nothing, as on
// any Linux; the hard limit stays the machine's.
const defaultOpenFiles = 1024

// limitOpenFiles sets the limit that the next child inherits. restore puts the
// own one back and lowers the child's hard limit, where the kernel lets it.
func limitOpenFiles(n uint64) (capped bool, restore func(pid int)) {
	var own syscall.Rlimit
	if err := syscall.Getrlimit(unix.RLIMIT_NOFILE, &own); err != nil {
		return n != 0, func(int) {}
	}
	want := syscall.Rlimit{Cur: n, Max: max(n, own.Max)}
	if n == 0 {
		want.Cur = min(defaultOpenFiles, own.Max)
	}
	if err := syscall.Setrlimit(unix.RLIMIT_NOFILE, &want); err != nil {
		capped, n = true, min(n, own.Max)
		syscall.Setrlimit(unix.RLIMIT_NOFILE, &syscall.Rlimit{Cur: n, Max: own.Max})
	}
	return capped, func(pid int) {
		if pid > 0 && n > 0 {
			unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: n}, nil)
		}
		syscall.Setrlimit(unix.RLIMIT_NOFILE, &own)
	}
}

// lookPath finds a program without a slash in the PATH of env.
func lookPath(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, kv := range env {
		path, ok := strings.CutPrefix(kv, "PATH=")
		if !ok {
			continue
		}
		for _, dir := range filepath.SplitList(path) {
			p := filepath.Join(dir, name)
			if fi, err := os.Stat(p); err == nil && fi.Mode().IsRegular() && fi.Mode()&0o111 != 0 {
				return p, nil
			}
		}
	}
	return "", fmt.Errorf("%s: executable file not found in PATH", name)
}

// killFamily ends what is left of a process and its session.
func killFamily(leader int) {
	for _, pid := range append(family(leader), leader) {
		if pid > 1 {
			unix.Kill(pid, unix.SIGKILL)
		}
	}
}

// killOrphans ends what a dead leader left in its session.
func killOrphans(leader int) {
	for _, pid := range family(leader) {
		if pid != leader {
			unix.Kill(pid, unix.SIGKILL)
		}
	}
}
