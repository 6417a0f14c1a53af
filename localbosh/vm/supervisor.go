package vm

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/serviceforge/serviceforge/localbosh/monit"
)

// Files of a VM's folder.
const (
	configFile = "vm.json"
	pidFile    = "run/pid"
	lockFile   = "run/lock"
	socketFile = "run/agent.sock"
	logFile    = "supervisor.log"
)

// protocol is the version of what the supervisor speaks. Additions keep it.
const protocol = 1

// config is what the host side leaves for the supervisor in configFile.
type config struct {
	Spec Spec     `json:"spec"`
	View view     `json:"view"`
	Env  []string `json:"env"`
}

// collect is GOGC of a supervisor that is ready: it lives long and is to be small. Until then nothing is collected,
// which would be a third of the work of getting ready.
const collect = 25

// supervisor is PID 1 of a VM.
type supervisor struct {
	config   config
	log      *slog.Logger
	children *children
	hostPID  int
	lock     *os.File
	rules    map[string]bool // warnings that were given
	trim     *time.Timer     // gives memory back after a while

	order sync.Mutex // one of apply, start, stop, shutdown at a time

	mu       sync.Mutex
	procs    []*proc
	applied  string // digest of the State
	started  *run   // nil: stopped
	revision uint64
	changed  chan struct{} // closed at the next change
}

// run is the time between a start and a stop.
type run struct {
	stop     chan struct{} // closed to stop
	deadline time.Time     // set before; zero: the full grace of each process
	over     sync.WaitGroup
}

// SupervisorMain is the entry point of `Program __vm <folder>`; args are those
// after __vm. Descriptor 3 is a socket whose other end the creator holds. It
// answers the exit code.
func SupervisorMain(args []string) int {
	if len(args) != 1 {
		fmt.Fprintln(os.Stderr, "usage: __vm FOLDER")
		return 2
	}
	unix.CloseOnExec(3)
	creator := os.NewFile(3, "creator")
	catchSignals()
	s, l, err := boot(args[0])
	if err != nil {
		fmt.Fprintln(os.Stderr, "sandbox:", err)
		fmt.Fprint(creator, err)
		return sandboxFailed
	}
	go s.children.reap()
	go s.terminate()
	fmt.Fprint(creator, ready)
	creator.Close()
	debug.SetGCPercent(collect)
	s.later()
	time.AfterFunc(rotateEvery, s.rotate)
	s.log.Info("the VM runs", "cid", s.config.Spec.CID, "pid", s.hostPID, "single_map", s.config.View.SingleMap)
	s.log.Error("the socket ended", "error", s.serve(l))
	return 1
}

// catchSignals takes the signals that end a process and does nothing on them.
// They must not be ignored, neither here nor by whom this was started from: a
// program inherits that and could not be stopped by them.
func catchSignals() {
	signal.Notify(make(chan os.Signal, 1), unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGPIPE, unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM, unix.SIGTSTP)
}

// boot registers the supervisor in the VM's folder, opens its socket there, and
// enters the VM's view.
func boot(dir string) (s *supervisor, l net.Listener, err error) {
	s = &supervisor{log: slog.New(slog.NewTextHandler(os.Stderr, nil)), changed: make(chan struct{}), rules: map[string]bool{}}
	if err := readJSON(filepath.Join(dir, configFile), &s.config); err != nil {
		return nil, nil, err
	}
	if s.lock, err = register(dir); err != nil {
		return nil, nil, err
	}
	s.hostPID = readStamp(filepath.Join(dir, pidFile)).pid
	if l, err = listen(filepath.Join(dir, socketFile)); err != nil {
		return nil, nil, err
	}
	if err := s.config.View.enter(); err != nil {
		return nil, nil, err
	}
	unix.Umask(0o022)
	if s.children, err = newChildren(s.config.View.SingleMap); err != nil {
		return nil, nil, err
	}
	if err := s.skeleton(); err != nil {
		return nil, nil, err
	}
	s.trim = time.AfterFunc(time.Hour, debug.FreeOSMemory)
	return s, l, nil
}

// register stores the pid, unless the creator has died: then nobody would know
// of this process, and it must not go on. A creator that dies later finds the
// file when it starts again. The lock, held for life, lets one supervisor at a
// time get here: such a left one ends before its successor's turn.
func register(dir string) (lock *os.File, err error) {
	gone := func() bool {
		fds := []unix.PollFd{{Fd: 3, Events: unix.POLLIN}}
		n, err := unix.Poll(fds, 0)
		return n > 0 && err == nil && fds[0].Revents&(unix.POLLHUP|unix.POLLERR|unix.POLLNVAL) != 0
	}
	if lock, err = os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return nil, err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return nil, err
	}
	if gone() {
		return nil, errors.New("the creator is gone")
	}
	if err := writeStamp(filepath.Join(dir, pidFile)); err != nil {
		return nil, err
	}
	if gone() {
		return nil, errors.New("the creator is gone")
	}
	return lock, nil
}

// listen opens the socket; the path is taken through /proc, since the paths of
// sockets end at 108 bytes.
func listen(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	short := fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path))
	l, err := net.Listen("unix", short)
	if err != nil {
		return nil, err
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	return l, os.Chmod(short, 0o600)
}

// skeleton makes the folders of /var/vcap that the stemcell and the agent make.
func (s *supervisor) skeleton() error {
	for _, d := range []struct {
		path string
		mode os.FileMode
	}{
		{"bosh/bin", 0o755}, {"data", 0o755}, {"data/jobs", 0o755}, {"data/sys", 0o755}, {"data/tmp", 0o770}, {"jobs", 0o755},
		{"monit", 0o755}, {"packages", 0o755}, {"sys", 0o755}, {"sys/log", 0o750}, {"sys/run", 0o770}, {"sys/run/bpm", 0o755},
	} {
		if err := s.mkdir(filepath.Join(vcapDir, d.path), d.mode); err != nil {
			return err
		}
	}
	chpst := "#!/bin/sh\nexec " + programPath + " __chpst \"$@\"\n"
	return os.WriteFile(filepath.Join(vcapDir, "bosh/bin/chpst"), []byte(chpst), 0o755)
}

// mkdir makes a folder that belongs to root and group vcap.
func (s *supervisor) mkdir(path string, mode os.FileMode) error {
	if err := os.MkdirAll(path, mode); err != nil {
		return err
	}
	if err := os.Chmod(path, mode); err != nil {
		return err
	}
	return s.give(path, 0)
}

// give sets the owner of a file and the group vcap.
func (s *supervisor) give(path string, uid int) error {
	if s.config.View.SingleMap {
		return nil
	}
	return os.Lchown(path, uid, vcapUID)
}

// later gives memory back when nothing was asked for a while.
func (s *supervisor) later() { s.trim.Reset(2 * time.Second) }

// terminate ends the VM in order when the machine shuts down.
func (s *supervisor) terminate() {
	term := make(chan os.Signal, 1)
	signal.Notify(term, unix.SIGTERM)
	<-term
	s.shutdown(10 * time.Second)
}

// shutdown stops everything and ends the VM: the kernel kills what is left.
func (s *supervisor) shutdown(grace time.Duration) {
	s.halt(time.Now().Add(grace))
	s.log.Info("the VM ends")
	os.Exit(0)
}

// start starts the processes and waits until each was tried once.
func (s *supervisor) start() {
	for _, p := range s.begin() {
		<-p.tried
	}
}

// begin starts the processes. It does not wait: a hook that hangs must not keep
// a stop from coming through.
func (s *supervisor) begin() []*proc {
	s.order.Lock()
	defer s.order.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started != nil {
		return nil
	}
	r := &run{stop: make(chan struct{})}
	s.started = r
	for _, p := range s.procs {
		p.tried, p.gone = make(chan struct{}), make(chan struct{})
		p.Restarts = 0
	}
	for _, p := range s.procs {
		r.over.Add(1)
		go s.supervise(p, r)
	}
	s.bump()
	return s.procs
}

// halt stops the processes and waits until all are gone. A zero deadline leaves
// each its full grace.
func (s *supervisor) halt(deadline time.Time) {
	s.order.Lock()
	defer s.order.Unlock()
	s.mu.Lock()
	r := s.started
	s.mu.Unlock()
	if r == nil {
		return
	}
	r.deadline = deadline
	close(r.stop)
	r.over.Wait()
	s.mu.Lock()
	s.started = nil
	s.bump()
	s.mu.Unlock()
}

// bump tells everybody who waits that something changed. s.mu is held.
func (s *supervisor) bump() {
	s.revision++
	close(s.changed)
	s.changed = make(chan struct{})
}

// status answers the status and the channel that the next change closes.
func (s *supervisor) status() (Status, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Status{Protocol: protocol, Program: s.config.View.Program, PID: s.hostPID, Revision: s.revision, JobState: Running, Processes: []Process{}}
	for _, p := range s.procs {
		q := p.Process
		if q.PID > 0 {
			q.UptimeSecs = int64(time.Since(p.since).Seconds())
			q.MemKB = residentKB(q.PID)
		}
		st.Processes = append(st.Processes, q)
		switch {
		case q.State == Failing || q.State == Stopped:
			st.JobState = Failing
		case q.State == Starting && st.JobState == Running:
			st.JobState = Starting
		}
	}
	if s.started == nil {
		st.JobState = Stopped
	}
	return st, s.changed
}

// residentKB is the resident memory of a process, without its children.
func residentKB(pid int) int {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	f := strings.Fields(string(b))
	if err != nil || len(f) < 2 {
		return 0
	}
	pages, _ := strconv.Atoi(f[1])
	return pages * os.Getpagesize() / 1024
}

// warnOnce logs something that every start would repeat.
func (s *supervisor) warnOnce(msg string, args ...any) {
	key := msg + fmt.Sprint(args...)
	s.mu.Lock()
	given := s.rules[key]
	s.rules[key] = true
	s.mu.Unlock()
	if !given {
		s.log.Warn(msg, args...)
	}
}

// openLog opens a log file of a job for appending. Links are not followed: the
// folder belongs to the job.
func (s *supervisor) openLog(path string, uid int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_RDWR|unix.O_NOFOLLOW, 0o640)
	if err != nil {
		return nil, err
	}
	if err := s.give(path, uid); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// proc is one process check of a monit file.
type proc struct {
	Process
	check monit.Check
	after []*proc // must be up before this one
	since time.Time
	tried chan struct{} // closed after the first attempt of a run
	gone  chan struct{} // closed when a run is over
}
