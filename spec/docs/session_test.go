package docs_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/serviceforge/serviceforge/spec"
	"github.com/serviceforge/serviceforge/spec/bosh"
)

// home makes a machine for a reader who has git, Go, curl and the bosh CLI: an
// empty HOME, and the caches of this machine. It returns the environment.
func home(t *testing.T) (dir string, environment []string) {
	t.Helper()
	dir = spec.Folder(t)
	bin := filepath.Join(dir, "bin")
	err := errors.Join(os.Mkdir(bin, 0o700),
		os.WriteFile(filepath.Join(dir, ".curlrc"), []byte("silent\nshow-error\n"), 0o600)) // its meter would stand in the middle of a long answer
	if err == nil {
		err = os.Symlink(bosh.CLI(t), filepath.Join(bin, "bosh"))
	}
	cache, errCache := os.UserCacheDir()
	caches, errGo := exec.Command("go", "env", "GOCACHE", "GOMODCACHE", "GOPATH").Output()
	if err := errors.Join(err, errCache, errGo); err != nil {
		t.Fatal(err)
	}
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		switch prefix, _, _ := strings.Cut(name, "_"); prefix {
		case "SERVICEFORGE", "SB", "BOSH", "XDG", "HOME", "PATH", "GOBIN", "GOCACHE", "GOMODCACHE", "GOPATH":
		default:
			environment = append(environment, v)
		}
	}
	goes := strings.Split(strings.TrimSpace(string(caches)), "\n")
	return dir, append(environment, "HOME="+dir, "XDG_CACHE_HOME="+cache, "GOCACHE="+goes[0], "GOMODCACHE="+goes[1], "GOPATH="+goes[2],
		"GOBIN="+bin, "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"))
}

// shell is one shell into which commands are typed.
type shell struct {
	t       *testing.T
	command *exec.Cmd
	in      io.Writer
	out     *bufio.Reader
}

// terminal opens a shell in dir.
func terminal(t *testing.T, dir string, environment []string) *shell {
	t.Helper()
	s := &shell{t: t, command: exec.CommandContext(t.Context(), "sh")}
	s.command.Dir, s.command.Env = dir, environment
	in, err := s.command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.command.Stderr = s.command.Stdout
	s.in, s.out = in, bufio.NewReader(out)
	if err := s.command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = s.command.Wait()
	})
	return s
}

const prompt = "== end of the command, exit code "

// run types a command and returns what it printed. It must succeed.
func (s *shell) run(line string) string {
	s.t.Helper()
	if _, err := fmt.Fprintf(s.in, "{ %s\n} </dev/null\nprintf '\\n%s%%d\\n' $?\n", line, prompt); err != nil {
		s.t.Fatal(err)
	}
	var text strings.Builder
	for {
		got, err := s.out.ReadString('\n')
		if code, found := strings.CutPrefix(got, prompt); found {
			if strings.TrimSpace(code) != "0" {
				s.t.Fatalf("%s\nended with %s%s", line, code, &text)
			}
			return text.String()
		}
		text.WriteString(got)
		if err != nil {
			s.t.Fatalf("%s\nended the shell: %v\n%s", line, err, &text)
		}
	}
}

// background runs a command as one that stays in its own terminal, until the
// returned function ends it with Ctrl-C and checks what it said.
func background(t *testing.T, dir string, environment []string, line string) (interrupt func()) {
	t.Helper()
	log, err := os.CreateTemp(t.TempDir(), "dev")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	said := func() string { return readFile(t, log.Name()) }
	command := exec.Command("sh", "-c", "exec "+line)
	command.Dir, command.Env = dir, environment
	command.Stdout, command.Stderr = log, log
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C reaches all of it
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	ended := make(chan struct{})
	go func() { _ = command.Wait(); close(ended) }()
	t.Cleanup(func() {
		once.Do(func() { _ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL) })
		<-ended
	})
	spec.Eventually(t, line+" is ready", func() error {
		select {
		case <-ended:
			t.Fatalf("%s ended:\n%s", line, said())
		default:
		}
		if !strings.Contains(said(), "ServiceForge is ready") {
			return errors.New(said())
		}
		return nil
	})
	return func() {
		t.Helper()
		once.Do(func() { _ = syscall.Kill(-command.Process.Pid, syscall.SIGINT) })
		select {
		case <-ended:
		case <-time.After(30 * time.Second):
			_ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL)
			t.Fatalf("%s does not end with Ctrl-C:\n%s", line, said())
		}
		// The exit code is that of go run, which Ctrl-C ends too; spec/dev looks at ours.
		if !strings.Contains(said(), "stopped; the services go on running") {
			t.Errorf("%s did not end well:\n%s", line, said())
		}
	}
}
