package vm_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/serviceforge/serviceforge/localbosh/vm"
)

func TestProcessRunsAsVcapInItsOwnWorld(t *testing.T) {
	h := newHost(t)
	store := filepath.Join(h.State, "disks", "d1")
	secret := filepath.Join(h.State, "secret")
	if err := os.WriteFile(secret, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(h.Packages+"/abc123/bin", 0o755); err != nil {
		t.Fatal(err)
	}
	script := `#!/bin/bash
{
  echo user=$(id -un) group=$(id -gn) uid=$(id -u)
  echo home=$(ls -A /home | tr '\n' ' ') root=$(ls -A /root 2>/dev/null | wc -l)
  echo host=$(hostname) name=$(getent hosts 127.9.9.9 | awk '{print $2}')
  echo env=$A tmp=$TMPDIR lang=$LANG homedir=$HOME cwd=$([ . -ef /var/vcap/jobs/mine ] && echo jobs/mine) state=$SERVICEFORGE_STATE
  echo nofile=$(ulimit -Sn)/$(ulimit -Hn)
  echo args=$1,$2
  [ -e ` + secret + ` ] && echo sees the state folder
  touch /usr/x 2>/dev/null && echo may write /usr
  touch /var/vcap/data/packages/abc123/x 2>/dev/null && echo may write packages
  touch /var/vcap/store/mine/x && echo store=ok
  touch $TMPDIR/x && echo tmp=ok
} > /var/vcap/sys/log/mine/report.log 2>&1
echo done
echo oops >&2
exec sleep 1000
`
	if err := os.WriteFile(h.Packages+"/abc123/bin/run", []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	job := bpmJob("mine", `
processes:
- name: one
  executable: /var/vcap/packages/thing/bin/run
  args: [x, y z]
  env: {A: b}
  limits: {open_files: 333}
  persistent_disk: true
  ephemeral_disk: true
  hooks: {pre_start: /var/vcap/jobs/mine/bin/hook}
`, "one")
	job.Files = append(job.Files, vm.File{Path: "bin/hook", Data: []byte("#!/bin/sh\necho hook $(id -u) $A\n")})
	v := started(t, h, vm.Spec{CID: "vm-1", InstanceID: "id-of-it", Store: store}, vm.State{
		Jobs: []vm.Job{{Name: "bpm"}, job}, Packages: map[string]string{"thing": "abc123"},
		Hosts: map[string][]string{"127.9.9.9": {"friend.local"}},
	})
	st := running(t, v)
	if st.JobState != vm.Running || len(st.Processes) != 1 || st.Processes[0].PID == 0 {
		t.Errorf("%+v", st)
	}
	report := read(t, v, "/var/vcap/sys/log/mine/report.log", "tmp=ok")
	for _, want := range []string{
		"user=vcap group=vcap uid=", "home=vcap root=0", "host=id-of-it name=friend.local", "nofile=333/", "args=x,y z", "store=ok",
		"env=b tmp=/var/vcap/data/mine/tmp lang=en_US.UTF-8 homedir=/var/vcap/data/mine cwd=jobs/mine state=" + h.State,
	} {
		if !strings.Contains(report, want) {
			t.Errorf("no %q in\n%s", want, report)
		}
	}
	for _, bad := range []string{"uid=0", "sees", "may write"} {
		if strings.Contains(report, bad) {
			t.Errorf("%q in\n%s", bad, report)
		}
	}
	read(t, v, "/var/vcap/sys/log/mine/one.stdout.log", "hook 0 b\ndone")
	read(t, v, "/var/vcap/sys/log/mine/one.stderr.log", "oops")
	if got := sh(t, v, "cat /var/vcap/sys/run/bpm/mine/one.pid"); got != strconv.Itoa(st.Processes[0].PID) {
		t.Errorf("pid file: %s, status: %d", got, st.Processes[0].PID)
	}
	if got := sh(t, v, "cd /var/vcap/jobs/mine/ && stat -c '%a %n' . bin bin/hook config/bpm.yml | tr '\n' ' '"); got != "750 . 750 bin 750 bin/hook 640 config/bpm.yml" {
		t.Errorf("modes: %s", got)
	}
	if _, err := os.Stat("/var/vcap"); err == nil {
		t.Error("the host has a /var/vcap now")
	}
	if _, err := os.Stat(store + "/mine/x"); err != nil {
		t.Error(err)
	}
	if err := h.Destroy(t.Context(), "vm-1", time.Second); err != nil {
		t.Error(err)
	}
	nothingLeft(t, h)
	if _, err := os.Stat(store + "/mine/x"); err != nil {
		t.Errorf("the disk did not outlive the VM: %v", err)
	}
}

func TestKilledProcessComesBack(t *testing.T) {
	h := newHost(t)
	v := started(t, h, vm.Spec{CID: "vm-1"}, sleeper("s"))
	first := running(t, v)
	sh(t, v, "kill -9 "+strconv.Itoa(first.Processes[0].PID))
	st := first
	for st.Processes[0].Restarts == 0 || st.JobState != vm.Running {
		var err error
		if st, err = v.Changed(t.Context(), st.Revision); err != nil {
			t.Fatal(err)
		}
	}
	if st.Processes[0].PID == first.Processes[0].PID {
		t.Errorf("%+v", st)
	}
}

func TestStopIsNotFailing(t *testing.T) {
	h := newHost(t)
	job := bpmJob("polite", `
processes:
- {name: polite, executable: /bin/bash, args: [-c, "trap 'echo bye; exit' INT; echo up; while :; do sleep 0.01; done"], shutdown_signal: INT}
`, "polite")
	v := started(t, h, vm.Spec{CID: "vm-1"}, vm.State{Jobs: []vm.Job{{Name: "bpm"}, job}})
	running(t, v)
	read(t, v, "/var/vcap/sys/log/polite/polite.stdout.log", "up")
	if err := v.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	st, err := v.Status(t.Context())
	if err != nil || st.JobState != vm.Stopped || st.Processes[0].State != vm.Stopped || st.Processes[0].PID != 0 {
		t.Errorf("%+v, %v", st, err)
	}
	read(t, v, "/var/vcap/sys/log/polite/polite.stdout.log", "bye")
	if err := v.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	running(t, v)
}

func TestStopComesThroughAHangingHook(t *testing.T) {
	h := newHost(t)
	job := bpmJob("hang", "processes: [{name: hang, executable: /bin/true, hooks: {pre_start: /var/vcap/jobs/hang/bin/hook}}]", "hang")
	job.Files = append(job.Files, vm.File{Path: "bin/hook", Data: []byte("#!/bin/sh\necho hanging\nsleep 1000\n")})
	v := create(t, h, vm.Spec{CID: "vm-1"})
	if err := v.Apply(t.Context(), vm.State{Jobs: []vm.Job{{Name: "bpm"}, job}}); err != nil {
		t.Fatal(err)
	}
	begun := make(chan error, 1)
	go func() { begun <- v.Start(context.Background()) }()
	read(t, v, "/var/vcap/sys/log/hang/hang.stdout.log", "hanging")
	if err := errors.Join(v.Stop(t.Context()), <-begun); err != nil {
		t.Error(err)
	}
	if st, err := v.Status(t.Context()); err != nil || st.JobState != vm.Stopped {
		t.Errorf("%+v, %v", st, err)
	}
}

func TestMonitDecidesWhatRuns(t *testing.T) {
	h := newHost(t)
	v := create(t, h, vm.Spec{CID: "vm-1"})
	silent := bpmJob("silent", "processes: [{name: silent, executable: /bin/sleep, args: ['1000']}]")
	for name, c := range map[string]struct {
		jobs   []vm.Job
		reason string // "" = runs
		count  int
	}{
		"an empty monit runs nothing":  {jobs: []vm.Job{{Name: "bpm"}, silent}},
		"no job bpm":                   {jobs: sleeper("s").Jobs[1:], reason: "bpm is not colocated", count: 1},
		"no such process":              {jobs: []vm.Job{{Name: "bpm"}, bpmJob("s", "processes: []", "s")}, reason: `process "s" not present`, count: 1},
		"bpm.yml with an unknown key":  {jobs: []vm.Job{{Name: "bpm"}, bpmJob("s", "processes: [{name: s, executable: /bin/true, arg: []}]", "s")}, reason: "field arg not found", count: 1},
		"a pidfile that bpm won't use": {jobs: []vm.Job{{Name: "bpm"}, {Name: "s", Monit: []byte("check process s with pidfile /var/vcap/x.pid start program \"/var/vcap/jobs/bpm/bin/bpm start s\"")}}, reason: "but bpm writes", count: 1},
	} {
		if err := v.Apply(t.Context(), vm.State{Jobs: c.jobs}); err != nil {
			t.Fatal(name, err)
		}
		if err := v.Start(t.Context()); err != nil {
			t.Fatal(name, err)
		}
		st, err := v.WaitRunning(t.Context(), 0)
		if len(st.Processes) != c.count {
			t.Errorf("%s: %+v", name, st)
		}
		if c.reason == "" && (err != nil || st.JobState != vm.Running) {
			t.Errorf("%s: %+v, %v", name, st, err)
		}
		if c.reason != "" && (!errors.Is(err, vm.ErrNotRunning) || st.JobState != vm.Failing || !strings.Contains(err.Error(), c.reason)) {
			t.Errorf("%s: %+v, %v", name, st, err)
		}
	}
}

func TestApplyRefusesBeforeItChanges(t *testing.T) {
	h := newHost(t)
	v := started(t, h, vm.Spec{CID: "vm-1"}, sleeper("s"))
	before := running(t, v)
	check := func(s string) []byte {
		return []byte("check process " + s + " start program \"/bin/true\"")
	}
	for want, st := range map[string]vm.State{
		"line 2":          {Jobs: []vm.Job{{Name: "a", Monit: []byte("\nnonsense")}}},
		"conflict":        {Jobs: []vm.Job{{Name: "a", Monit: check("x pidfile y")}, {Name: "b", Monit: check("x pidfile y")}}},
		"not defined":     {Jobs: []vm.Job{{Name: "a", Monit: check("x pidfile y depends on z")}}},
		"itself":          {Jobs: []vm.Job{{Name: "a", Monit: check("x pidfile y depends on x")}}},
		"not a name":      {Jobs: []vm.Job{{Name: "../a"}}},
		"no such file or": {Packages: map[string]string{"p": "missing"}},
	} {
		if err := v.Apply(t.Context(), st); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %s, got %v", want, err)
		}
	}
	if err := v.Apply(t.Context(), sleeper("s")); err != nil {
		t.Error(err)
	}
	after, err := v.Status(t.Context())
	if err != nil || after.Processes[0].PID != before.Processes[0].PID {
		t.Errorf("the process was disturbed: %+v, %+v, %v", before, after, err)
	}
}

func TestListenOnTheVMsAddress(t *testing.T) {
	h := newHost(t)
	ip := fmt.Sprintf("127.77.%d.9", os.Getpid()%250+1)
	addr := net.JoinHostPort(ip, "7379")
	job := bpmJob("net", "processes: [{name: net, executable: /.vm/program, args: [__listen, '"+addr+"']}]", "net")
	running(t, started(t, h, vm.Spec{CID: "vm-1", IP: ip}, vm.State{Jobs: []vm.Job{{Name: "bpm"}, job}}))
	soon(t, "the service answers", func() bool {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return false
		}
		defer c.Close()
		b, _ := io.ReadAll(c)
		return bytes.Contains(b, []byte("uid")) && !bytes.Contains(b, []byte("uid 0\n"))
	})
}

func TestFailingProcessSaysWhy(t *testing.T) {
	h := newHost(t)
	job := bpmJob("bad", `
processes:
- {name: bad, executable: /bin/sh, args: [-c, exit 3]}
- {name: none, executable: /no/such/program}
`, "bad", "none")
	v := started(t, h, vm.Spec{CID: "vm-1"}, vm.State{Jobs: []vm.Job{{Name: "bpm"}, job}})
	reasons := ""
	for st, err := v.Status(t.Context()); !strings.Contains(reasons, "status 3") || !strings.Contains(reasons, "no such file"); st, err = v.Changed(t.Context(), st.Revision) {
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range st.Processes {
			reasons += p.Reason + "\n"
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := v.WaitRunning(ctx, 100*time.Millisecond); !errors.Is(err, vm.ErrNotRunning) || !strings.Contains(err.Error(), "no such file") {
		t.Error(err)
	}
	read(t, v, "/var/vcap/sys/log/bad/none.stderr.log", "bpm: ")
}
