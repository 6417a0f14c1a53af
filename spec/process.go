package spec

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// Process is a run of the program that goes on until it is ended.
type Process struct {
	Account Account

	t       testing.TB
	args    []string
	ready   string // what it prints when it is ready
	command *exec.Cmd
	output  *output
	ended   chan error
}

// output collects what a process prints.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// StartProcess runs the program until the end of the spec at the latest, and
// returns when it has printed ready.
func StartProcess(t testing.TB, a Account, ready string, args ...string) *Process {
	t.Helper()
	p := &Process{Account: a, t: t, args: args, ready: ready}
	p.Start()
	return p
}

// Start starts the process (again) and waits until it is ready.
func (p *Process) Start() {
	p.t.Helper()
	p.output, p.ended = &output{}, make(chan error, 1)
	p.command = p.Account.Command(context.Background(), p.args...)
	p.command.Stdout, p.command.Stderr = p.output, p.output
	if err := p.command.Start(); err != nil {
		p.t.Fatal(err)
	}
	command, ended := p.command, p.ended
	go func() { ended <- command.Wait() }()
	p.t.Cleanup(func() { _ = command.Process.Kill() })
	Eventually(p.t, p.args[0]+" starts", func() error {
		select {
		case err := <-ended:
			p.t.Fatalf("%s ended: %v\n%s", p.args[0], err, p.output)
		default:
		}
		if !strings.Contains(p.output.String(), p.ready) {
			return errors.New("it does not say that it is ready")
		}
		return nil
	})
}

// Output is what the process printed since it was started.
func (p *Process) Output() string { return p.output.String() }

// Stop ends the process as Ctrl-C does and returns its exit code.
func (p *Process) Stop() int { return p.end(syscall.SIGINT) }

// Terminate ends the process with SIGTERM and returns its exit code.
func (p *Process) Terminate() int { return p.end(syscall.SIGTERM) }

// Freeze stops the process as it stands (SIGSTOP): its connections stay open
// and nobody answers, until Thaw.
func (p *Process) Freeze() { p.signal(syscall.SIGSTOP) }

// Thaw lets a frozen process go on.
func (p *Process) Thaw() { p.signal(syscall.SIGCONT) }

func (p *Process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.command.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// Kill ends the process with SIGKILL.
func (p *Process) Kill() { p.end(syscall.SIGKILL) }

// Dump has the process write its goroutines and end.
func (p *Process) Dump() { p.end(syscall.SIGQUIT) }

func (p *Process) end(signal syscall.Signal) int {
	p.t.Helper()
	p.signal(signal)
	err := <-p.ended
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	return 0
}
