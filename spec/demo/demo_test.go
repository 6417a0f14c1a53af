// Package demo_test runs the first command a newcomer types.
package demo_test

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/serviceforge/serviceforge/spec"
)

func TestTheDemoHoldsWhatItShowsThreeTimesBesideADev(t *testing.T) {
	for name, account := range map[string]spec.Account{"as the spec's user": spec.Self(t), "as an ordinary user": spec.Ordinary(t)} {
		t.Run(name, func(t *testing.T) {
			dev := spec.StartDev(t, account, "127.232.0.0/24")
			for range 3 {
				out, errs, code := account.Run(t, "demo")
				if code != 0 {
					t.Fatalf("exit code %d\n%s%s", code, out, errs)
				}
				for _, step := range []string{"start", "catalog", "create", "bind", "use", "crash", "unbind", "delete", "nothing left", "clean up"} {
					if !strings.Contains(out, "\n  "+step+" ") && !strings.HasPrefix(out, "  "+step+" ") {
						t.Errorf("there is no line for %q:\n%s", step, out)
					}
				}
				if !strings.Contains(out, "%)") {
					t.Errorf("no progress was shown:\n%s", out)
				}
			}
			left, err := filepath.Glob(filepath.Join(os.TempDir(), "serviceforge-*"))
			if err != nil || len(left) > 0 {
				t.Errorf("folders are left: %v, %v", left, err)
			}
			if code := dev.Stop(); code != 0 {
				t.Errorf("dev ended with %d:\n%s", code, dev.Output())
			}
		})
	}
}

// TestADemoThatIsGivenUpSaysSo has Ctrl-C come in the middle of it.
func TestADemoThatIsGivenUpSaysSo(t *testing.T) {
	scratch := spec.Folder(t)
	command := spec.Self(t).Command(t.Context(), "demo")
	command.Env = append(command.Env, "TMPDIR="+scratch)
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C reaches all of it
	var errs strings.Builder
	command.Stderr = &errs
	out, err := command.StdoutPipe()
	if err == nil {
		err = command.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	said := bufio.NewScanner(out)
	for said.Scan() {
		if strings.HasPrefix(said.Text(), "  catalog ") {
			if err := syscall.Kill(-command.Process.Pid, syscall.SIGINT); err != nil {
				t.Error(err)
			}
		}
	}
	err = command.Wait()
	if command.ProcessState.ExitCode() != 1 || !strings.HasSuffix(errs.String(), "serviceforge: the demo was given up; what it had started is stopped and removed\n") {
		t.Errorf("%v: %s", err, errs.String())
	}
	if left, err := os.ReadDir(scratch); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}
