package vm

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/serviceforge/serviceforge/localbosh/monit"
)

// monitPath is the PATH of start and stop programs; monit has only the first
// four. The last holds the stand-in for chpst.
const monitPath = "PATH=/bin:/usr/bin:/sbin:/usr/sbin:" + vcapDir + "/bosh/bin"

// keepClassic watches a pidfile until the stop. The start program is fired; what
// counts is that the pidfile lives within the timeout.
func (s *supervisor) keepClassic(p *proc, r *run, tried func()) {
	for _, rule := range p.check.Rules {
		s.warnOnce("monit: the rule is not evaluated", "job", p.Job, "check", p.Name, "rule", rule.Condition)
	}
	s.set(p, func() { p.State = Starting })
	var backoff time.Duration
	for !r.stopping() {
		began := time.Now()
		reason := ""
		fd, pid := livePidfile(p.check.Pidfile)
		if fd == nil {
			fd, pid, reason = s.startClassic(p, r, tried)
		}
		if fd != nil {
			s.running(p, pid)
			tried()
			s.watch(r, fd)
			fd.close()
			if r.stopping() {
				break
			}
			if again, _ := livePidfile(p.check.Pidfile); again != nil { // it replaced itself
				again.close()
				continue
			}
			reason = "the process of pidfile " + p.check.Pidfile + " is gone"
		}
		if r.stopping() {
			break
		}
		s.failed(p, reason)
		tried()
		backoff = nextBackoff(backoff, time.Since(began))
		if !r.pause(backoff) {
			break
		}
	}
	s.waitDependents(p)
	s.stopClassic(p, r)
}

// watch returns when the process has ended or the run is stopped.
func (s *supervisor) watch(r *run, fd *pidfd) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { fd.wait(ctx); close(ended) }()
	select {
	case <-ended:
	case <-r.stop:
	}
	cancel()
	<-ended
}

// startClassic fires the start program and waits for the pidfile.
func (s *supervisor) startClassic(p *proc, r *run, tried func()) (*pidfd, int, string) {
	start := p.check.Start
	var c *child
	if start.Command != "" {
		var err error
		if c, err = s.program(p, start); err != nil {
			return nil, 0, "start program: " + err.Error()
		}
	}
	tried() // fired; monit does not wait either
	deadline := time.Now().Add(start.Timeout)
	exited := false
	for step := 5 * time.Millisecond; ; step = min(2*step, 250*time.Millisecond) {
		if fd, pid := livePidfile(p.check.Pidfile); fd != nil {
			return fd, pid, ""
		}
		if left := time.Until(deadline); left <= 0 {
			break
		}
		if c == nil || exited {
			if !r.pause(step) {
				return nil, 0, ""
			}
			continue
		}
		select { // look at once when the program ends
		case <-c.done:
			exited = true
			step = 5 * time.Millisecond
		case <-r.stop:
			return nil, 0, ""
		case <-time.After(step):
		}
	}
	reason := fmt.Sprintf("no living process in pidfile %s within %s", p.check.Pidfile, start.Timeout)
	if exited && c.code() != 0 {
		reason += "; the start program " + c.why()
	}
	return nil, 0, reason
}

// stopClassic runs the stop program; what lives on after its timeout is killed.
func (s *supervisor) stopClassic(p *proc, r *run) {
	fd, pid := livePidfile(p.check.Pidfile)
	if fd == nil {
		return
	}
	defer fd.close()
	if grace := r.grace(p.check.Stop.Timeout); grace > 0 {
		ctx, cancel := context.WithTimeout(context.Background(), grace)
		defer cancel()
		if p.check.Stop.Command == "" {
			fd.kill(unix.SIGTERM)
		} else if _, err := s.program(p, p.check.Stop); err != nil {
			s.log.Error("stop program", "job", p.Job, "process", p.Name, "error", err)
		}
		if fd.wait(ctx) == nil {
			return
		}
	}
	killFamily(pid)
	fd.wait(context.Background())
}

// program starts a start or stop program. Its output, which monit throws away,
// goes to sys/log/JOB/NAME.monit.log.
func (s *supervisor) program(p *proc, m monit.Program) (*child, error) {
	vcap, err := asUser(m.UID)
	if err != nil {
		return nil, err
	}
	argv, err := monit.Split(m.Command)
	if err != nil {
		return nil, err
	}
	out, err := s.openLog(filepath.Join(vcapDir, "sys/log", p.Job, p.Name+".monit.log"), 0)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	env := append([]string{monitPath}, s.config.Env...)
	return s.children.start(launch{argv: argv, env: env, dir: "/", vcap: vcap, stdout: out, stderr: out})
}

// asUser answers whether a user of a monit file is vcap; others than vcap and
// root do not exist in a VM.
func asUser(name string) (vcap bool, err error) {
	switch name {
	case "", "root", "0":
		return false, nil
	case "vcap":
		return true, nil
	}
	return false, fmt.Errorf("as uid %s: only root and vcap can run programs here", name)
}

// livePidfile answers the living process that a pidfile names.
func livePidfile(file string) (*pidfd, int) {
	b, err := os.ReadFile(file)
	if err != nil || len(b) > 64 {
		return nil, 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || pid <= 1 {
		return nil, 0
	}
	_, _, _, start, ok := stat(strconv.Itoa(pid))
	if !ok {
		return nil, 0
	}
	fd, err := pidStamp{pid, start}.open()
	if err != nil {
		return nil, 0
	}
	return fd, pid
}
