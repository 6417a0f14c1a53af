package vm

import (
	"time"

	"github.com/serviceforge/serviceforge/localbosh/monit"
)

// How dead processes are started again.
const (
	firstBackoff = 200 * time.Millisecond
	lastBackoff  = 10 * time.Second
	steadyAfter  = 10 * time.Second // a process that ran so long starts over with firstBackoff
)

// supervise keeps one process running until the run is stopped.
func (s *supervisor) supervise(p *proc, r *run) {
	defer r.over.Done()
	defer close(p.gone)
	tried := false
	once := func() {
		if !tried {
			tried = true
			close(p.tried)
		}
	}
	defer once()
	for _, dep := range p.after {
		<-dep.tried
	}
	if !r.stopping() {
		s.keep(p, r, once)
	}
	s.set(p, func() { p.State, p.PID, p.Reason, p.Hopeless = Stopped, 0, "", false })
}

// keep runs the process that fits the check.
func (s *supervisor) keep(p *proc, r *run, tried func()) {
	if job, name, ok := monit.BPM(p.check.Start.Command); ok {
		if reason := s.bpmObstacle(p, job, name); reason != "" {
			s.hopeless(p, r, tried, reason)
			return
		}
		s.keepBPM(p, r, job, name, tried)
		return
	}
	if p.check.Pidfile == "" {
		s.hopeless(p, r, tried, "`check process … matching` is not supported: give a pidfile")
		return
	}
	s.keepClassic(p, r, tried)
}

// hopeless reports a process that no restart can help, until the stop.
func (s *supervisor) hopeless(p *proc, r *run, tried func(), reason string) {
	s.log.Error("a process cannot run", "job", p.Job, "process", p.Name, "reason", reason)
	s.set(p, func() { p.State, p.Reason, p.Hopeless = Failing, reason, true })
	tried()
	<-r.stop
}

// set changes a process and tells who waits.
func (s *supervisor) set(p *proc, change func()) {
	s.mu.Lock()
	change()
	s.bump()
	s.mu.Unlock()
}

// running notes that a process lives.
func (s *supervisor) running(p *proc, pid int) {
	s.set(p, func() { p.State, p.PID, p.Reason, p.since = Running, pid, "", time.Now() })
}

// failed notes that a process is down; reason is for people.
func (s *supervisor) failed(p *proc, reason string) {
	s.log.Warn("a process is down", "job", p.Job, "process", p.Name, "reason", reason)
	s.set(p, func() {
		p.State, p.PID, p.Reason = Failing, 0, reason
		p.Restarts++
	})
}

// pause waits before the next start; false means that the run is stopped.
func (r *run) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-r.stop:
		return false
	case <-t.C:
		return true
	}
}

// stopping tells whether the run is stopped.
func (r *run) stopping() bool {
	select {
	case <-r.stop:
		return true
	default:
		return false
	}
}

// grace is how much of a process's full grace the stop leaves it. Call it only
// after the stop.
func (r *run) grace(full time.Duration) time.Duration {
	if r.deadline.IsZero() {
		return full
	}
	return min(full, max(0, time.Until(r.deadline)))
}

// nextBackoff doubles the pause, or resets it after a steady life.
func nextBackoff(last time.Duration, lived time.Duration) time.Duration {
	if last == 0 || lived >= steadyAfter {
		return firstBackoff
	}
	return min(2*last, lastBackoff)
}

// within waits for the end of a child.
func (c *child) within(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-c.done:
		return true
	case <-t.C:
		return false
	}
}

// waitDependents lets those that need p stop first.
func (s *supervisor) waitDependents(p *proc) {
	s.mu.Lock()
	procs := s.procs
	s.mu.Unlock()
	for _, q := range procs {
		for _, dep := range q.after {
			if dep == p {
				<-q.gone
			}
		}
	}
}
