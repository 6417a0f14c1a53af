package vm_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/serviceforge/serviceforge/localbosh/vm"
)

// asUser is set in the environment of the second run of these tests, which is
// made by an ordinary user.
const asUser = "SERVICEFORGE_VM_TEST_AS_USER"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		rest := os.Args[2:]
		switch os.Args[1] {
		case "__vm":
			os.Exit(vm.SupervisorMain(rest))
		case "__sandbox":
			os.Exit(vm.SandboxMain(rest))
		case "__chpst":
			os.Exit(vm.ChpstMain(rest))
		case "__true":
			os.Exit(0)
		case "__probe":
			if err := host(rest[0]).Probe(context.Background()); err != nil {
				fmt.Println(err)
			}
			os.Exit(0)
		case "__creator":
			os.Exit(creator(rest[0], rest[1]))
		case "__listen":
			os.Exit(listen(rest[0]))
		case "__daemon":
			os.Exit(daemon(rest[0]))
		}
	}
	os.Exit(m.Run())
}

// listen answers connections at an address until it is killed.
func listen(addr string) int {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return 1
		}
		fmt.Fprintf(c, "pid %d uid %d\n", os.Getpid(), os.Getuid())
		c.Close()
	}
}

// daemon leaves an orphan in a session of its own, stores its pid and ends.
func daemon(pidfile string) int {
	cmd := exec.Command("/bin/sleep", "1000")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := os.WriteFile(pidfile, []byte(fmt.Sprintln(cmd.Process.Pid)), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// creator makes and starts a VM in a process of its own, then ends.
func creator(state, cid string) int {
	h := host(state)
	v, err := h.Create(context.Background(), vm.Spec{CID: cid})
	if err == nil {
		err = v.Apply(context.Background(), sleeper("left"))
	}
	if err == nil {
		err = v.Start(context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func host(state string) *vm.Host {
	program, err := filepath.Abs(os.Args[0])
	if err != nil {
		panic(err)
	}
	return &vm.Host{
		Program: program, State: state, VMs: filepath.Join(state, "vms"), Packages: filepath.Join(state, "compiled"),
		Env: []string{"SERVICEFORGE_STATE=" + state}, Log: slog.New(slog.DiscardHandler),
	}
}

// newHost answers a host whose VMs are destroyed at the end of the test; it
// then checks that nothing is left.
func newHost(t *testing.T) *vm.Host {
	t.Helper()
	h := host(t.TempDir())
	t.Cleanup(func() {
		cids, err := h.List()
		if err != nil {
			t.Error(err)
		}
		for _, cid := range cids {
			if t.Failed() {
				b, _ := os.ReadFile(filepath.Join(h.VMs, cid, "supervisor.log"))
				t.Logf("supervisor of %s:\n%s", cid, b)
			}
			if err := h.Destroy(context.Background(), cid, 0); err != nil {
				t.Error(err)
			}
		}
		nothingLeft(t, h)
	})
	return h
}

// nothingLeft checks that no process carries the state folder and nothing is
// mounted or stored below it.
func nothingLeft(t *testing.T, h *vm.Host) {
	t.Helper()
	if pids := carriers(h); len(pids) > 0 {
		t.Errorf("processes %v still carry the state folder", pids)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(mounts), h.State) {
		t.Errorf("a mount below %s is left (%v)", h.State, err)
	}
	if entries, err := os.ReadDir(h.VMs); err != nil && !errors.Is(err, fs.ErrNotExist) || len(entries) > 0 {
		t.Errorf("left in the folder of VMs: %v, %v", entries, err)
	}
}

// carriers answers the processes that have the state folder in their environment.
func carriers(h *vm.Host) (pids []string) {
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, f := range files {
		b, _ := os.ReadFile(f)
		if strings.Contains(string(b)+"\x00", "SERVICEFORGE_STATE="+h.State+"\x00") {
			pids = append(pids, filepath.Base(filepath.Dir(f)))
		}
	}
	return pids
}

// patience is how long anything may take that is waited for.
const patience = 2 * time.Minute

// soon polls until a condition holds.
func soon(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("in vain: %s", what)
		}
	}
}

func create(t *testing.T, h *vm.Host, spec vm.Spec) *vm.VM {
	t.Helper()
	v, err := h.Create(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// started creates a VM, applies the state, and starts it.
func started(t *testing.T, h *vm.Host, spec vm.Spec, st vm.State) *vm.VM {
	t.Helper()
	v := create(t, h, spec)
	if err := v.Apply(t.Context(), st); err != nil {
		t.Fatal(err)
	}
	if err := v.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return v
}

func running(t *testing.T, v *vm.VM) vm.Status {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	st, err := v.WaitRunning(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// sh runs a shell command in the VM as root and answers its output.
func sh(t *testing.T, v *vm.VM, script string) string {
	t.Helper()
	r, err := v.Exec(t.Context(), vm.Exec{Argv: []string{"/bin/sh", "-c", script}}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if r.ExitCode != 0 {
		t.Fatalf("%s: exit code %d: %s", script, r.ExitCode, r.Stderr)
	}
	return strings.TrimSpace(r.Stdout)
}

// read waits for a line in a file of the VM.
func read(t *testing.T, v *vm.VM, file, want string) string {
	t.Helper()
	var got string
	soon(t, file+" holds "+want, func() bool {
		got = sh(t, v, "cat "+file+" 2>/dev/null || true")
		return strings.Contains(got, want)
	})
	return got
}

// bpmJob is a job with one bpm process per executable line.
func bpmJob(name, processes string, checks ...string) vm.Job {
	var monit strings.Builder
	for _, c := range checks {
		fmt.Fprintf(&monit, `check process %[2]s
  with pidfile /var/vcap/sys/run/bpm/%[1]s/%[2]s.pid
  start program "/var/vcap/jobs/bpm/bin/bpm start %[1]s -p %[2]s"
  stop program "/var/vcap/jobs/bpm/bin/bpm stop %[1]s -p %[2]s"
  group vcap
`, name, c)
	}
	return vm.Job{Name: name, Monit: []byte(monit.String()), Files: []vm.File{{Path: "config/bpm.yml", Data: []byte(processes)}}}
}

// sleeper is a state with one bpm process that sleeps.
func sleeper(name string) vm.State {
	return vm.State{Jobs: []vm.Job{{Name: "bpm"}, bpmJob(name, "processes: [{name: "+name+", executable: /bin/sleep, args: ['1000']}]", name)}}
}
