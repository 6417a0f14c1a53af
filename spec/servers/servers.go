// Package servers runs real servers of Debian packages on loopback, in folders
// that end with the test.
package servers

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/serviceforge/serviceforge"
)

// AdminPassword is the administrator's on every server, unless a test says
// otherwise.
const AdminPassword = "admin-password"

// patience is how long a server has to start or to stop.
const patience = 3 * time.Minute

// nobody is whom servers run as that refuse root.
const nobody = 65534

func secret(text string) serviceforge.Secret { return serviceforge.NewSecret(text) }

// Silent is an address that accepts connections and says nothing.
func Silent(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

// folder makes a folder for a server, for nobody if this is root.
func folder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "serviceforge-server")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	give(t, dir)
	return dir
}

// give makes nobody the owner of a file, if this is root.
func give(t testing.TB, path string) {
	t.Helper()
	if os.Getuid() == 0 {
		if err := os.Chown(path, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
}

// process is a server that runs.
type process struct {
	command *exec.Cmd
	ended   chan struct{}
	log     string // a file
}

// command prepares a program that runs as nobody, if this is root, in a folder.
func command(dir, program string, args ...string) *exec.Cmd {
	c := exec.Command(program, args...)
	c.Dir = dir
	c.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + dir, "LANG=C.UTF-8"}
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if os.Getuid() == 0 {
		c.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	return c
}

// start starts a server, and waits until it serves. The test ends it.
func start(t testing.TB, c *exec.Cmd, serves func() error) *process {
	t.Helper()
	p := &process{command: c, ended: make(chan struct{}), log: filepath.Join(c.Dir, "log")}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	c.Stdout, c.Stderr = log, log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = c.Wait()
		close(p.ended)
	}()
	t.Cleanup(p.kill)
	p.await(t, serves)
	return p
}

func (p *process) await(t testing.TB, serves func() error) {
	t.Helper()
	deadline := time.After(patience)
	for {
		err := serves()
		if err == nil {
			return
		}
		select {
		case <-p.ended:
			t.Fatalf("%s ended: %s", p.command.Path, p.said())
		case <-deadline:
			t.Fatalf("%s does not serve: %v: %s", p.command.Path, err, p.said())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (p *process) said() string {
	text, _ := os.ReadFile(p.log)
	return string(text)
}

// stop asks the server to end, and waits for it.
func (p *process) stop(t testing.TB, with syscall.Signal) {
	t.Helper()
	_ = p.command.Process.Signal(with)
	select {
	case <-p.ended:
	case <-time.After(patience):
		t.Fatalf("%s does not stop: %s", p.command.Path, p.said())
	}
}

// kill ends the server and all that it started.
func (p *process) kill() {
	_ = syscall.Kill(-p.command.Process.Pid, syscall.SIGKILL)
	<-p.ended
}
