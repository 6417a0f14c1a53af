package vm_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge/localbosh/vm"
)

// ctl is a classic job: a daemon behind a control script, which becomes vcap by
// chpst.
func ctl() vm.Job {
	return vm.Job{Name: "old", Monit: []byte(`
check process old
  with pidfile /var/vcap/sys/run/old/old.pid
  start program "/var/vcap/jobs/old/bin/ctl start"
  stop program "/var/vcap/jobs/old/bin/ctl stop"
  group vcap
  if totalmem > 500 MB then restart
check process helper
  with pidfile /var/vcap/sys/run/old/helper.pid
  start program "/bin/bash -c 'echo $$ > /var/vcap/sys/run/old/helper.pid; exec sleep 1000'" as uid vcap and gid vcap with timeout 10 seconds
  depends on old
`), Files: []vm.File{{Path: "bin/ctl", Data: []byte(`#!/bin/bash
pidfile=/var/vcap/sys/run/old/old.pid
case $1 in
start)
  chown vcap:vcap /var/vcap/sys/run/old
  echo $$ > $pidfile
  exec chpst -u vcap:vcap bash -c 'echo up as $(id -un) $(id -u); trap "echo bye; exit" TERM; while :; do sleep 0.01; done' \
    >> /var/vcap/sys/log/old/old.log 2>&1 ;;
stop)
  kill $(cat $pidfile) ;;
esac
`)}}}
}

func TestClassicMonitJob(t *testing.T) {
	h := newHost(t)
	v := started(t, h, vm.Spec{CID: "vm-1"}, vm.State{Jobs: []vm.Job{ctl()}})
	first := running(t, v)
	log := read(t, v, "/var/vcap/sys/log/old/old.log", "up as vcap ")
	if strings.Contains(log, "vcap 0") {
		t.Errorf("runs as root: %s", log)
	}
	sh(t, v, "kill -9 "+strconv.Itoa(first.Processes[0].PID))
	st := first
	for st.Processes[0].PID == first.Processes[0].PID || st.JobState != vm.Running {
		var err error
		if st, err = v.Changed(t.Context(), st.Revision); err != nil {
			t.Fatal(err)
		}
	}
	soon(t, "it is up again", func() bool {
		return strings.Count(sh(t, v, "cat /var/vcap/sys/log/old/old.log"), "up as vcap") == 2
	})
	if err := v.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	read(t, v, "/var/vcap/sys/log/old/old.log", "bye")
	if left := sh(t, v, "cat /proc/[0-9]*/comm | grep -c sleep || true"); left != "0" {
		t.Errorf("%s processes are left", left)
	}
}

func TestDaemonisedOrphansAreReaped(t *testing.T) {
	h := newHost(t)
	job := vm.Job{Name: "d", Monit: []byte(`check process d with pidfile /var/vcap/sys/run/d/d.pid
  start program "/.vm/program __daemon /var/vcap/sys/run/d/d.pid"`)}
	v := started(t, h, vm.Spec{CID: "vm-1"}, vm.State{Jobs: []vm.Job{job}})
	first := running(t, v).Processes[0].PID
	sh(t, v, "kill -9 "+strconv.Itoa(first))
	soon(t, "another daemon runs", func() bool {
		st, err := v.Status(t.Context())
		return err == nil && st.JobState == vm.Running && st.Processes[0].PID != first
	})
	sh(t, v, "for i in 1 2 3 4 5 6 7 8; do (setsid sleep 0 &) ; done")
	soon(t, "no zombie is left", func() bool {
		return sh(t, v, "cat /proc/[0-9]*/stat 2>/dev/null | grep -c ') Z ' || true") == "0"
	})
}

func TestScripts(t *testing.T) {
	h := newHost(t)
	v := create(t, h, vm.Spec{CID: "vm-1"})
	job := vm.Job{Name: "j", Files: []vm.File{
		{Path: "bin/pre-start", Data: []byte("#!/bin/bash\necho out $1 $(id -u)\necho err >&2\nchown vcap:vcap /var/vcap/data/j\nexit 7\n")},
		{Path: "bin/run", Data: []byte("#!/bin/bash\nsleep 1000 &\necho left a daemon\n")},
		{Path: "bin/forever", Data: []byte("#!/bin/bash\necho began > /var/vcap/data/j/began\nsleep 1000\n")},
		{Path: "bin/data", Data: []byte("not a program"), Mode: 0o640},
	}}
	if err := v.Apply(t.Context(), vm.State{Jobs: []vm.Job{job}}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the log file grows, each result is one run's
		r, err := v.RunScript(t.Context(), "j", "pre-start", "arg")
		if err != nil || r.ExitCode != 7 || r.Stdout != "out arg 0\n" || r.Stderr != "err\n" || r.Missing {
			t.Errorf("%+v, %v", r, err)
		}
	}
	if got := sh(t, v, "cat /var/vcap/sys/log/j/pre-start.stdout.log | wc -l"); got != "2" {
		t.Errorf("log lines: %s", got)
	}
	if r, err := v.RunScript(t.Context(), "j", "post-start"); err != nil || !r.Missing {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err := v.RunScript(t.Context(), "j", "data"); err != nil || r.ExitCode != 126 {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err := v.RunScript(t.Context(), "j", "run"); err != nil || r.ExitCode != 0 || r.Stdout != "left a daemon\n" {
		t.Errorf("%+v, %v", r, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { _, err := v.RunScript(ctx, "j", "forever"); ended <- err }()
	read(t, v, "/var/vcap/data/j/began", "began")
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	soon(t, "the script is killed", func() bool {
		return sh(t, v, "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c bin/[f]orever || true") == "0"
	})
}
