// Package spec runs the built program for black-box specs: it builds it once,
// starts it as a user would, and makes sure that nothing of it is left.
package spec

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "github.com/serviceforge/serviceforge/cmd" // so that a change of the program runs specs again
	"github.com/serviceforge/serviceforge/spec/need"
)

// patience is how long Eventually tries.
const patience = 3 * time.Minute

// ordinary is a user id that nobody has: specs that run as root use it to show
// what an ordinary user gets.
const ordinary = 54321

// build keeps one program a source tree: two trees tested at the same time do
// not run each other's.
var build = sync.OnceValues(func() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	_, source, _, _ := runtime.Caller(0)
	tree := sha256.Sum256([]byte(source))
	path := filepath.Join(cache, "serviceforge-spec", hex.EncodeToString(tree[:4]), "serviceforge")
	command := exec.Command("go", "build", "-o", path, "github.com/serviceforge/serviceforge/cmd/serviceforge")
	command.Env = append(os.Environ(), "CGO_ENABLED=0") // what production gets; an up-to-date file is left as it is
	if out, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the program: %w\n%s", err, out)
	}
	return path, nil
})

// Program returns the path of the built program.
func Program(t testing.TB) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Account is who runs the program.
type Account struct {
	Name   string
	uid    uint32 // 0 = as the spec itself
	home   string
	binary string
}

// Self is the user that runs the spec.
func Self(t testing.TB) Account { return Account{Name: "self", binary: Program(t)} }

// Ordinary is an ordinary user with an empty HOME. Where the spec itself is
// not root, that is the spec's own user with another HOME.
func Ordinary(t testing.TB) Account {
	t.Helper()
	home := Folder(t)
	a := Account{Name: "an ordinary user", home: home, binary: filepath.Join(home, "serviceforge")}
	content, err := os.ReadFile(Program(t))
	if err == nil {
		err = os.WriteFile(a.binary, content, 0o755)
	}
	if err == nil && os.Getuid() == 0 {
		a.uid = ordinary
		err = errors.Join(os.Chown(home, ordinary, ordinary), os.Chown(a.binary, ordinary, ordinary))
	}
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// As is the account that calls the program by another name: as "etcd" it is
// the etcd server of our service release.
func (a Account) As(t testing.TB, name string) Account {
	t.Helper()
	link := filepath.Join(t.TempDir(), name)
	if err := os.Symlink(a.binary, link); err != nil {
		t.Fatal(err)
	}
	a.binary = link
	return a
}

// Folder makes a short temporary folder (socket paths are limited), removed at
// the end, with what runs in it.
func Folder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "spec")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, pid := range ProcessesOf(dir) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		Eventually(t, "the processes of "+dir+" end", func() error {
			if left := ProcessesOf(dir); len(left) > 0 {
				return fmt.Errorf("%v run", left)
			}
			return nil
		})
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// Command prepares a run of the program; its environment is the spec's without
// settings of ours.
func (a Account) Command(ctx context.Context, args ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, a.binary, args...)
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "SERVICEFORGE_") && !strings.HasPrefix(v, "SB_") && (a.home == "" || !strings.HasPrefix(v, "XDG_")) {
			command.Env = append(command.Env, v)
		}
	}
	if a.home != "" {
		command.Env = append(command.Env, "HOME="+a.home)
		command.Dir = a.home
	}
	if a.uid != 0 {
		command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: a.uid, Gid: a.uid}}
	}
	return command
}

// Run runs the program to its end.
func (a Account) Run(t testing.TB, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	command := a.Command(t.Context(), args...)
	command.Stdout, command.Stderr = &out, &errs
	err := command.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return out.String(), errs.String(), exit.ExitCode()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.String(), errs.String(), 0
}

// ProcessesOf lists processes that carry the folder in SERVICEFORGE_STATE.
func ProcessesOf(state string) []int {
	mark := []byte("SERVICEFORGE_STATE=" + state)
	entries, _ := os.ReadDir("/proc")
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		environment, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		if bytes.HasPrefix(environment, mark) || bytes.Contains(environment, append([]byte{0}, mark...)) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Skip is need.Skip.
func Skip(t testing.TB, missing string) {
	t.Helper()
	need.Skip(t, missing)
}

// Eventually repeats do until it has no error.
func Eventually(t testing.TB, what string, do func() error) {
	t.Helper()
	deadline := time.After(patience)
	for {
		err := do()
		if err == nil {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("%s: not within %s: %v", what, patience, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
