package vm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// identity of a process: a pid alone may be somebody else's by now.
type pidStamp struct {
	pid   int
	start string // field 22 of /proc/PID/stat
}

// stat answers the state letter, parent, session and start time of a process.
func stat(pid string) (state string, ppid, session int, start string, ok bool) {
	b, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return "", 0, 0, "", false
	}
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(f) < 20 {
		return "", 0, 0, "", false
	}
	ppid, _ = strconv.Atoi(string(f[1]))
	session, _ = strconv.Atoi(string(f[3]))
	return string(f[0]), ppid, session, string(f[19]), true
}

// alive tells whether the process still exists and is no zombie.
func (p pidStamp) alive() bool {
	state, _, _, start, ok := stat(strconv.Itoa(p.pid))
	return ok && p.pid > 0 && start == p.start && state != "Z" && state != "X"
}

// readStamp reads a pid file of a supervisor; the zero stamp is never alive.
func readStamp(file string) pidStamp {
	b, err := os.ReadFile(file)
	if err != nil {
		return pidStamp{}
	}
	pid, start, _ := strings.Cut(strings.TrimSpace(string(b)), " ")
	n, err := strconv.Atoi(pid)
	if err != nil || n <= 1 {
		return pidStamp{}
	}
	return pidStamp{n, start}
}

// writeStamp stores the calling process's stamp as the mounted /proc knows it:
// before the new root is entered that is the host's.
func writeStamp(file string) error {
	pid, err := os.Readlink("/proc/self")
	if err != nil {
		return err
	}
	_, _, _, start, ok := stat(pid)
	if !ok {
		return fmt.Errorf("/proc/%s/stat cannot be read", pid)
	}
	tmp := file + ".new"
	if err := os.WriteFile(tmp, []byte(pid+" "+start+"\n"), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, file)
}

// pidfd is a process that cannot be confused with another one.
type pidfd struct{ f *os.File }

// openPidfd answers os.ErrProcessDone for a process that is gone.
func openPidfd(pid int) (*pidfd, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil, os.ErrProcessDone
	}
	if err != nil {
		return nil, fmt.Errorf("pidfd_open: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // so that the netpoller takes it
		unix.Close(fd)
		return nil, err
	}
	return &pidfd{os.NewFile(uintptr(fd), "pidfd")}, nil
}

// open answers a pidfd for the stamped process.
func (p pidStamp) open() (*pidfd, error) {
	if !p.alive() {
		return nil, os.ErrProcessDone
	}
	fd, err := openPidfd(p.pid)
	if err != nil {
		return nil, err
	}
	if !p.alive() { // another process may have got the pid in between
		fd.close()
		return nil, os.ErrProcessDone
	}
	return fd, nil
}

func (p *pidfd) close() { p.f.Close() }

func (p *pidfd) kill(sig unix.Signal) error {
	rc, err := p.f.SyscallConn()
	if err != nil {
		return err
	}
	if cerr := rc.Control(func(fd uintptr) { err = unix.PidfdSendSignal(int(fd), sig, nil, 0) }); cerr != nil {
		return cerr
	}
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}

// wait returns nil when the process has ended, else when ctx ends.
func (p *pidfd) wait(ctx context.Context) error {
	rc, err := p.f.SyscallConn()
	if err != nil {
		return err
	}
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		p.f.SetReadDeadline(time.Unix(1, 0))
		close(interrupted)
	})
	defer func() {
		if !stop() { // leave it ready for another wait
			<-interrupted
			p.f.SetReadDeadline(time.Time{})
		}
	}()
	err = rc.Read(func(fd uintptr) bool {
		n, _ := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		return n > 0
	})
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// family answers the processes of a session and the descendants of its leader.
// It looks at the mounted /proc only: inside of a VM these are the VM's own.
func family(leader int) []int {
	if leader <= 1 {
		return nil
	}
	entries, _ := filepath.Glob("/proc/[0-9]*")
	parent := map[int]int{}
	var out []int
	in := map[int]bool{leader: true}
	for _, e := range entries {
		name := filepath.Base(e)
		pid, _ := strconv.Atoi(name)
		state, ppid, session, _, ok := stat(name)
		if !ok || pid <= 1 || state == "Z" {
			continue
		}
		parent[pid] = ppid
		if session == leader && !in[pid] {
			in[pid] = true
			out = append(out, pid)
		}
	}
	for grown := true; grown; {
		grown = false
		for pid, ppid := range parent {
			if in[ppid] && !in[pid] {
				in[pid], grown = true, true
				out = append(out, pid)
			}
		}
	}
	return out
}
