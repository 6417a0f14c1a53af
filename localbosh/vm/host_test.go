package vm_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/serviceforge/serviceforge/localbosh/vm"
)

// TestAsOrdinaryUser runs all these tests once more as a user without rights.
func TestAsOrdinaryUser(t *testing.T) {
	if os.Geteuid() != 0 {
		return // this is that run, or the tester is no root
	}
	const nobody = 65534
	dir, err := os.MkdirTemp("", "vm-as-user-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := errors.Join(os.Chmod(dir, 0o755), os.Mkdir(dir+"/tmp", 0o700), os.Chown(dir+"/tmp", nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	binary, err := os.ReadFile(host(dir).Program)
	if err == nil {
		err = os.WriteFile(dir+"/vm.test", binary, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"-test.count=1", "-test.timeout=15m"}
	if testing.Verbose() {
		args = append(args, "-test.v")
	}
	cmd := exec.CommandContext(t.Context(), dir+"/vm.test", args...)
	cmd.Dir, cmd.Env = dir, []string{"PATH=/usr/bin:/bin", "HOME=" + dir + "/tmp", "TMPDIR=" + dir + "/tmp", asUser + "=1"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("as user %d: %v\n%s", nobody, err, out)
	}
	if testing.Verbose() {
		t.Logf("as user %d:\n%s", nobody, out)
	}
}

func TestProbe(t *testing.T) {
	h := newHost(t)
	if err := h.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// The two machines on which no VM can run are made with a user namespace
// around the prober: its limits and mounts are its own.
func TestProbeSaysWhatToDo(t *testing.T) {
	for name, c := range map[string]struct{ spoil, want string }{
		"no user namespaces": {"echo 0 > /proc/sys/user/max_user_namespaces", "sysctl user.max_user_namespaces="},
		"a masked /proc":     {"mount -t tmpfs none /proc/sys", "systempaths=unconfined"},
	} {
		h := newHost(t)
		cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", c.spoil+" && exec "+h.Program+" __probe "+h.State)
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		}
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), c.want) || strings.Count(string(out), "\n") != 1 {
			t.Errorf("%s: %v: %s", name, err, out)
		}
	}
}

func TestSupervisorSurvivesItsCreator(t *testing.T) {
	h := newHost(t)
	if out, err := exec.Command(h.Program, "__creator", h.State, "vm-1").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	v, err := h.Adopt(t.Context(), "vm-1")
	if err != nil {
		t.Fatal(err)
	}
	st := running(t, v)
	if again, err := h.Create(t.Context(), vm.Spec{CID: "vm-1"}); err != nil {
		t.Error(err)
	} else if st2 := running(t, again); st2.PID != st.PID || st2.Processes[0].PID != st.Processes[0].PID {
		t.Errorf("Create made another: %+v, %+v", st, st2)
	}
	if cids, err := h.List(); err != nil || len(cids) != 1 || cids[0] != "vm-1" {
		t.Error(cids, err)
	}
	if len(carriers(h)) < 2 {
		t.Error("supervisor and process must carry the state folder in their environment")
	}
	if err := h.Destroy(t.Context(), "vm-1", time.Second); err != nil {
		t.Error(err)
	}
	nothingLeft(t, h)
	if _, err := v.Status(t.Context()); !errors.Is(err, vm.ErrGone) {
		t.Error(err)
	}
}

// Whenever the creator is killed: what it left is either found by its
// successor or ends by itself.
func TestCreatorKilledAtAnyTime(t *testing.T) {
	h := newHost(t)
	for i := range 30 {
		cmd := exec.Command(h.Program, "__creator", h.State, "vm-1")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Duration(i) * time.Millisecond)
		cmd.Process.Kill()
		cmd.Wait()
		if i%2 == 0 {
			v, err := h.Create(t.Context(), vm.Spec{CID: "vm-1"})
			if err == nil {
				_, err = v.Status(t.Context())
			}
			if err != nil {
				t.Errorf("%d ms: %v", i, err)
			}
		}
		if err := h.Destroy(t.Context(), "vm-1", 0); err != nil {
			t.Errorf("%d ms: %v", i, err)
		}
		soon(t, "everything has ended", func() bool { return len(carriers(h)) == 0 })
	}
}

func TestKilledSupervisorTakesTheVMAlong(t *testing.T) {
	h := newHost(t)
	v := started(t, h, vm.Spec{CID: "vm-1"}, sleeper("s"))
	st := running(t, v)
	waiting := make(chan error, 1)
	go func() { _, err := v.Changed(context.Background(), st.Revision+100); waiting <- err }()
	if err := syscall.Kill(st.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-waiting; !errors.Is(err, vm.ErrGone) {
		t.Error(err)
	}
	soon(t, "all processes of the VM are gone", func() bool { return len(carriers(h)) == 0 })
	if _, err := h.Adopt(t.Context(), "vm-1"); !errors.Is(err, vm.ErrGone) {
		t.Error(err)
	}
	v = started(t, h, vm.Spec{CID: "vm-1"}, sleeper("s")) // as after a reboot
	if next := running(t, v); next.PID == st.PID {
		t.Error("the same supervisor")
	}
}

func TestDestroyHasMeasuredPatience(t *testing.T) {
	h := newHost(t)
	job := bpmJob("deaf", `
processes:
- {name: deaf, executable: /bin/bash, args: [-c, "trap '' TERM; echo up; while :; do sleep 1; done"]}
`, "deaf")
	v := started(t, h, vm.Spec{CID: "vm-1"}, vm.State{Jobs: []vm.Job{{Name: "bpm"}, job}})
	read(t, v, "/var/vcap/sys/log/deaf/deaf.stdout.log", "up")
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second) // bpm's own patience is 20 s
	defer cancel()
	if err := h.Destroy(ctx, "vm-1", time.Second); err != nil {
		t.Error(err)
	}
	if ctx.Err() != nil {
		t.Error("the grace was not kept")
	}
	nothingLeft(t, h)
	for _, cid := range []string{"vm-1", "never-made"} {
		if err := h.Destroy(t.Context(), cid, time.Second); err != nil {
			t.Error(err)
		}
	}
	if err := os.MkdirAll(h.VMs+"/half/run", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := h.Destroy(t.Context(), "half", time.Second); err != nil {
		t.Error(err)
	}
	for _, cid := range []string{"", "..", "a/b", ".once-1"} {
		if err := h.Destroy(t.Context(), cid, 0); err == nil {
			t.Errorf("%q was taken for a CID", cid)
		}
	}
}
