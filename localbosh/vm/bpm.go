package vm

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/serviceforge/serviceforge/localbosh/monit"
)

// What bpm does with a process that is to stop (bpm-release, lifecycle.go).
const (
	bpmGrace  = 20 * time.Second // after the shutdown signal: QUIT
	quitGrace = 2 * time.Second  // after QUIT: KILL
)

// bpmObstacle says why a start through bpm can never succeed, or nothing.
func (s *supervisor) bpmObstacle(p *proc, job, name string) string {
	if _, err := os.Stat(filepath.Join(vcapDir, "jobs/bpm")); err != nil {
		return "/var/vcap/jobs/bpm/bin/bpm: no such file: job bpm is not colocated on this instance group"
	}
	if want := bpmPidfile(job, name); p.check.Pidfile != want {
		return fmt.Sprintf("monit watches the pidfile %s, but bpm writes %s", p.check.Pidfile, want)
	}
	if _, err := bpmProcess(job, name); err != nil {
		return err.Error()
	}
	return ""
}

func bpmPidfile(job, name string) string {
	return filepath.Join(vcapDir, "sys/run/bpm", job, name+".pid")
}

// bpmProcess reads the process from the job's bpm.yml.
func bpmProcess(job, name string) (monit.Process, error) {
	file := filepath.Join(vcapDir, "jobs", job, "config/bpm.yml")
	b, err := os.ReadFile(file)
	if err != nil {
		return monit.Process{}, err
	}
	all, err := monit.ParseBPM(b)
	if err != nil {
		return monit.Process{}, fmt.Errorf("failed to parse job configuration: %s: %w", file, err)
	}
	for _, q := range all {
		if q.Name == name {
			return q, nil
		}
	}
	return monit.Process{}, fmt.Errorf("process %q not present in job configuration (%s)", name, file)
}

// keepBPM runs a bpm process until the stop.
func (s *supervisor) keepBPM(p *proc, r *run, job, name string, tried func()) {
	var backoff time.Duration
	for !r.stopping() {
		began := time.Now()
		c, sig, err := s.startBPM(p, r, job, name)
		if err != nil {
			s.failed(p, err.Error())
		} else {
			s.running(p, c.pid)
		}
		tried()
		if err == nil {
			select {
			case <-c.done:
			case <-r.stop:
				s.waitDependents(p)
				s.stopBPM(c, r, sig)
			}
			killOrphans(c.pid)
			os.Remove(bpmPidfile(job, name))
			if r.stopping() {
				return
			}
			s.failed(p, c.why())
		}
		backoff = nextBackoff(backoff, time.Since(began))
		if !r.pause(backoff) {
			return
		}
	}
}

// startBPM does what `bpm start` does: folders, hook, process. It answers the
// shutdown signal too.
func (s *supervisor) startBPM(p *proc, r *run, job, name string) (*child, unix.Signal, error) {
	q, err := bpmProcess(job, name)
	if err != nil {
		return nil, 0, err
	}
	s.warnBPM(job, q)
	if err := s.bpmFolders(job, q); err != nil {
		return nil, 0, fmt.Errorf("failed to create system files: %w", err)
	}
	logs := filepath.Join(vcapDir, "sys/log", job, name)
	stdout, err := s.openLog(logs+".stdout.log", vcapUID)
	if err != nil {
		return nil, 0, err
	}
	defer stdout.Close()
	stderr, err := s.openLog(logs+".stderr.log", vcapUID)
	if err != nil {
		return nil, 0, err
	}
	defer stderr.Close()
	l := launch{
		argv: append([]string{q.Executable}, q.Args...), env: s.bpmEnv(job, q), dir: q.Workdir,
		stdout: stdout, stderr: stderr, vcap: true, openFiles: q.Limits.OpenFiles,
	}
	if l.dir == "" {
		l.dir = filepath.Join(vcapDir, "jobs", job)
	}
	if q.Hooks.PreStart != "" {
		if err := s.hook(r, q.Hooks.PreStart, l); err != nil {
			return nil, 0, fmt.Errorf("prestart hook failed: %w", err)
		}
	}
	if q.Unsafe.Privileged {
		l.vcap = false
	}
	c, err := s.children.start(l)
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "bpm: %v\n", err) // bpm says so in bpm.log; here people look first
		return nil, 0, err
	}
	if c.capped {
		s.warnOnce("bpm.yml: limits.open_files is above the machine's hard limit, which is used", "job", job, "process", q.Name, "open_files", q.Limits.OpenFiles)
	}
	sig := unix.SIGTERM
	if strings.HasSuffix(strings.ToUpper(q.ShutdownSignal), "INT") {
		sig = unix.SIGINT
	}
	pid := []byte(strconv.Itoa(c.pid) + "\n")
	if err := os.WriteFile(bpmPidfile(job, name), pid, 0o644); err != nil {
		s.log.Warn("pid file", "error", err)
	}
	return c, sig, nil
}

// hook runs hooks.pre_start as bpm does: as root, outside of bpm's container.
func (s *supervisor) hook(r *run, program string, l launch) error {
	l.argv, l.vcap, l.openFiles = []string{program}, false, 0
	c, err := s.children.start(l)
	if err != nil {
		return err
	}
	select {
	case <-c.done:
	case <-r.stop:
		killFamily(c.pid)
		<-c.done
		return errors.New("stopped")
	}
	if c.code() != 0 {
		return errors.New(c.why())
	}
	return nil
}

// stopBPM sends the shutdown signal, after the grace QUIT, then KILL.
func (s *supervisor) stopBPM(c *child, r *run, sig unix.Signal) {
	if r.grace(bpmGrace) > 0 {
		unix.Kill(c.pid, sig)
		if c.within(r.grace(bpmGrace)) {
			return
		}
		if r.grace(quitGrace) > 0 {
			unix.Kill(c.pid, unix.SIGQUIT)
			if c.within(r.grace(quitGrace)) {
				return
			}
		}
	}
	killFamily(c.pid)
	<-c.done
}

// bpmFolders makes the folders that bpm makes for a process, owned by vcap.
func (s *supervisor) bpmFolders(job string, q monit.Process) error {
	if err := os.MkdirAll(filepath.Dir(bpmPidfile(job, q.Name)), 0o755); err != nil {
		return err
	}
	data := filepath.Join(vcapDir, "data", job)
	dirs := []string{filepath.Join(vcapDir, "sys/log", job), filepath.Join(vcapDir, "sys/run", job), filepath.Join(data, "tmp")}
	if q.EphemeralDisk {
		dirs = append(dirs, data)
	}
	if q.PersistentDisk {
		if _, err := os.Stat(filepath.Join(vcapDir, "store")); err != nil {
			return errors.New("requested persistent disk does not exist")
		}
		dirs = append(dirs, filepath.Join(vcapDir, "store", job))
	}
	for _, v := range q.AdditionalVolumes {
		if !v.MountOnly {
			dirs = append(dirs, v.Path)
		}
	}
	for _, d := range dirs {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return err
		}
		if err := s.give(d, vcapUID); err != nil {
			return err
		}
	}
	return nil
}

// bpmEnv is the environment of a bpm process (bpm-release, adapter.go).
func (s *supervisor) bpmEnv(job string, q monit.Process) []string {
	env := append([]string{}, s.config.Env...)
	for k, v := range q.Env {
		env = append(env, k+"="+v)
	}
	data := filepath.Join(vcapDir, "data", job)
	for _, d := range [][2]string{
		{"TMPDIR", filepath.Join(data, "tmp")},
		{"LANG", "en_US.UTF-8"},
		{"PATH", filepath.Join(vcapDir, "jobs", job, "bin") + ":/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin:."},
		{"HOME", data},
	} {
		if _, ok := q.Env[d[0]]; !ok {
			env = append(env, d[0]+"="+d[1])
		}
	}
	return env
}

// warnBPM says what of a bpm.yml is not enforced here.
func (s *supervisor) warnBPM(job string, q monit.Process) {
	for what, set := range map[string]bool{
		"limits.memory": q.Limits.Memory != "", "limits.processes": q.Limits.Processes != 0,
		"capabilities": len(q.Capabilities) > 0, "unsafe.unrestricted_volumes": len(q.Unsafe.UnrestrictedVolumes) > 0,
		"unsafe.host_pid_namespace": q.Unsafe.HostPIDNamespace,
	} {
		if set {
			s.warnOnce("bpm.yml: not enforced on this machine", "job", job, "process", q.Name, "key", what)
		}
	}
}
