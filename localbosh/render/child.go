package render

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// child is the parent's side of one __erb process.
type child struct {
	cmd    *exec.Cmd
	kill   context.CancelFunc
	stdin  io.WriteCloser
	stdout *os.File
	reader *bufio.Reader
	stderr tail

	ready chan struct{} // closed when the child said that it is, or failed
	err   error         // why it failed; valid after ready
	ended chan struct{} // closed when the process is gone
	exit  error         // what Wait said; valid after ended
}

// errUnasked says that a child ended before it was given anything.
var errUnasked = errors.New("the ERB renderer did not start")

// startChild starts a child; it prepares itself in the background.
func startChild(program, cacheDir string, env []string) (*child, error) {
	stdout, its, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer its.Close()
	ctx, kill := context.WithCancel(context.Background())
	c := &child{kill: kill, stdout: stdout, reader: bufio.NewReader(stdout), ready: make(chan struct{}), ended: make(chan struct{})}
	c.cmd = exec.CommandContext(ctx, program, "__erb", cacheDir)
	c.cmd.Env = append([]string{}, env...) // never nil: that would be our own environment
	c.cmd.Dir = "/"
	c.cmd.Stdout = its
	c.cmd.Stderr = &c.stderr
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is the director's: no deployment fails for it
	if c.stdin, err = c.cmd.StdinPipe(); err == nil {
		err = c.cmd.Start()
	}
	if err != nil {
		kill()
		_ = stdout.Close()
		return nil, fmt.Errorf("start the ERB renderer: %w", err)
	}
	go func() {
		c.exit = c.cmd.Wait()
		close(c.ended)
	}()
	go c.awaitReady()
	return c, nil
}

func (c *child) awaitReady() {
	defer close(c.ready)
	if line, err := c.reader.ReadString('\n'); err != nil || line != readyLine {
		c.stop()
		c.err = fmt.Errorf("%w: %v %s", errUnasked, c.exit, c.stderr.String())
	}
}

// render gives the child its one deployment. The child is spent afterwards, whatever comes back; when ctx ends it
// is killed.
func (c *child) render(ctx context.Context, asked request) ([][]answer, error) {
	defer c.stop()
	release := context.AfterFunc(ctx, c.kill)
	defer release()
	answers, err := c.exchange(asked)
	if err != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return answers, err
}

func (c *child) exchange(asked request) (answers [][]answer, err error) {
	document, err := json.Marshal(asked)
	if err != nil {
		return nil, err
	}
	<-c.ready
	if c.err != nil {
		return nil, c.err
	}
	message := binary.BigEndian.AppendUint64(nil, uint64(len(document)))
	if _, err := c.stdin.Write(append(message, document...)); err != nil {
		return nil, fmt.Errorf("%w: %w", errUnasked, err)
	}
	text, err := io.ReadAll(c.reader)
	if err != nil {
		return nil, fmt.Errorf("read from the ERB renderer: %w", err)
	}
	if <-c.ended; c.exit != nil {
		return nil, fmt.Errorf("the ERB renderer failed: %w: %s", c.exit, c.stderr.String())
	}
	if err := json.Unmarshal(text, &answers); err != nil {
		return nil, fmt.Errorf("the ERB renderer gave no result: %w", err)
	}
	return answers, nil
}

// stop ends the process, if it still runs, and waits for it. It may be called again.
func (c *child) stop() {
	c.kill()
	<-c.ended
	_ = c.stdout.Close()
}

// usable is false once the process is gone.
func (c *child) usable() bool {
	select {
	case <-c.ended:
		return false
	default:
		return true
	}
}

// tail keeps the last few KB of what a child says. exec.Cmd writes it from one goroutine; it is read after the end.
type tail struct{ bytes.Buffer }

func (t *tail) Write(p []byte) (int, error) {
	if over := t.Len() + len(p) - 4096; over > 0 {
		t.Next(over)
	}
	return t.Buffer.Write(p)
}

func (t *tail) String() string { return strings.TrimSpace(t.Buffer.String()) }
