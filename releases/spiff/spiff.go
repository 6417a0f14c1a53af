// Package spiff makes texts of Spiff documents and values: in children that are
// bounded, or of a compiled plan, where Spiff only carries the values.
package spiff

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/serviceforge/serviceforge"
)

// maxRendered bounds what a render may answer; maxComplaint what it may say on
// stderr.
const (
	maxRendered  = 4 << 20
	maxComplaint = 4 << 10
)

// Renderer renders documents in children of the program, one request per child,
// and keeps one idle child ready. Spiff cannot be bounded inside our process:
// it knows no context, and endless recursion or a huge range ends the process
// it runs in. Methods are safe for concurrent use.
type Renderer struct {
	program string
	env     []string
	slots   chan struct{} // one per core

	plans  plans        // compiled ones
	always bool         // never use them
	runs   atomic.Int64 // of children

	mu       sync.Mutex
	idle     *child
	closed   bool
	starting sync.WaitGroup
}

// New returns a renderer that runs `program __spiff` with env, typically
// only SERVICEFORGE_STATE. Nothing is started before the first render or Warm.
func New(program string, env []string) *Renderer {
	if env == nil {
		env = []string{} // never the parent's
	}
	return &Renderer{program: program, env: env, slots: make(chan struct{}, runtime.NumCPU())}
}

// Uncompiled returns a renderer of the same program that has Spiff render every
// time. It is closed on its own.
func (s *Renderer) Uncompiled() *Renderer {
	return &Renderer{program: s.program, env: s.env, slots: s.slots, always: true}
}

// child is one running `__spiff`, which waits for its request.
type child struct {
	cmd       *exec.Cmd
	stdin     io.WriteCloser
	stdout    io.ReadCloser
	complaint *bounded
}

func (s *Renderer) start() (*child, error) {
	c := &child{cmd: exec.Command(s.program, "__spiff"), complaint: &bounded{limit: maxComplaint}}
	c.cmd.Env = s.env
	c.cmd.Dir = "/"
	c.cmd.Stderr = c.complaint
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is the broker's: no operation fails for it
	var err error
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if c.stdout, err = c.cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	return c, c.cmd.Start()
}

// end kills the child, if it still runs, and waits for it.
func (c *child) end() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}

// Warm starts an idle child in the background, so that the next render is quick.
func (s *Renderer) Warm() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.idle != nil {
		return
	}
	s.starting.Go(func() {
		c, err := s.start()
		if err != nil {
			return // the next render meets the same error and tells it
		}
		s.mu.Lock()
		if !s.closed && s.idle == nil {
			s.idle, c = c, nil
		}
		s.mu.Unlock()
		if c != nil {
			c.end()
		}
	})
}

// Close ends the idle child and waits for what is being started. Renders in
// progress end with their contexts.
func (s *Renderer) Close() error {
	s.mu.Lock()
	s.closed = true
	c := s.idle
	s.idle = nil
	s.mu.Unlock()
	s.starting.Wait()
	if c != nil {
		c.end()
	}
	return nil
}

// Runs counts how often Spiff was run. A plan that only hands on an instance's
// values needs one run for all instances on a pool.
func (s *Renderer) Runs() int64 { return s.runs.Load() }

// Impure tells why documents that were rendered have no compiled plan.
func (s *Renderer) Impure() (out []string) {
	s.plans.mu.Lock()
	defer s.plans.mu.Unlock()
	for _, key := range s.plans.uses {
		if why := s.plans.made[key].impure; why != "" {
			out = append(out, why)
		}
	}
	return out
}

// take returns the idle child, or a new one.
func (s *Renderer) take() (*child, error) {
	s.mu.Lock()
	c, closed := s.idle, s.closed
	s.idle = nil
	s.mu.Unlock()
	if closed {
		return nil, errors.New("the renderer is closed")
	}
	if c != nil {
		return c, nil
	}
	return s.start()
}

// Document is one Spiff document with the name that its errors carry.
type Document struct {
	Name string `json:"name"`
	Data string `json:"data"`
}

// order is what a child is asked: merge the first document with the stubs
// behind it, where values can be read but not merged.
type order struct {
	Documents []Document     `json:"documents"`
	Values    map[string]any `json:"values"`
	Probe     *probe         `json:"probe,omitempty"`
}

// probe is the same order with tokens for an instance's values. It is run only
// if the documents do no more with them than carry them to their places.
type probe struct {
	Documents []Document     `json:"documents"`
	Values    map[string]any `json:"values"`
	Leaves    [][]string     `json:"leaves"` // where tokens are, below sf
	Token     string         `json:"token"`  // the one within documents; "" = none
}

// answer is what a child says. Numbers keep their kind: floats have a point.
type answer struct {
	Error  string `json:"error,omitempty"`
	Result any    `json:"result"`
	// Probe is the probe's result; Impure says why there is none.
	Probe  any    `json:"probe,omitempty"`
	Impure string `json:"impure,omitempty"`
}

// Render merges the first document with the stubs behind it, and returns the tree
// as Spiff made it: nothing is checked. Errors: as Produce's.
func (s *Renderer) Render(ctx context.Context, documents []Document, values map[string]any) (any, error) {
	a, err := s.render(ctx, order{Documents: documents, Values: values})
	if err != nil {
		return nil, err
	}
	return a.Result, nil
}

// render runs one order to its end or to the end of ctx.
func (s *Renderer) render(ctx context.Context, o order) (*answer, error) {
	request, err := json.Marshal(o)
	if err != nil {
		return nil, serviceforge.Wrap(err, serviceforge.Internal, "the values of a render cannot be written")
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return nil, serviceforge.Wrap(context.Cause(ctx), serviceforge.Unavailable, "rendering was given up")
	}
	defer s.Warm()
	out, err := s.once(ctx, request)
	if errors.Is(err, errGone) { // somebody ended the idle child
		out, err = s.once(ctx, request)
	}
	switch {
	case ctx.Err() != nil:
		return nil, serviceforge.Wrap(context.Cause(ctx), serviceforge.Unavailable, "rendering was given up")
	case serviceforge.CodeOf(err) == serviceforge.Unavailable || err == nil:
		return out, err
	}
	if errors.Is(err, errEnded) { // it could not say where
		err = fmt.Errorf("in %s: %w", whereabouts(o.Documents), err)
	}
	return nil, serviceforge.Wrap(err, serviceforge.Internal, "rendering failed")
}

// errEnded says that a child did not survive what it was asked.
var errEnded = errors.New("spiff ended without a result: an expression does not end, or wants too much memory")

// errGone says that a child ended before it was asked.
var errGone = errors.New("spiff ended before it was asked")

// once has one child answer the request.
func (s *Renderer) once(ctx context.Context, request []byte) (*answer, error) {
	c, err := s.take()
	if err != nil {
		return nil, serviceforge.Wrap(err, serviceforge.Unavailable, "the renderer could not be started")
	}
	s.runs.Add(1)
	stop := context.AfterFunc(ctx, func() { _ = c.cmd.Process.Kill() })
	defer stop()
	return c.talk(request)
}

// talk sends the request and reads the answer. The request has a line of its
// own and stdin stays open: its end tells the child that nobody waits any more.
func (c *child) talk(request []byte) (*answer, error) {
	defer c.end()
	sent := make(chan error, 1)
	go func() {
		_, err := c.stdin.Write(append(request, '\n'))
		sent <- err
	}()
	out, err := io.ReadAll(io.LimitReader(c.stdout, maxRendered+1))
	c.end() // before the write is waited for: a child that died early leaves it hanging
	unsent := <-sent
	switch {
	case err != nil:
		return nil, err
	case unsent != nil && len(out) == 0:
		return nil, errGone
	}
	if len(out) > maxRendered {
		return nil, errors.New("spiff: the result is larger than 4 MiB")
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w (%s): %s", errEnded, c.cmd.ProcessState, c.complaint.firstLine())
	}
	var a answer
	dec := json.NewDecoder(bytes.NewReader(out))
	dec.UseNumber()
	if err := dec.Decode(&a); err != nil {
		return nil, errors.New("spiff's answer is cut off")
	}
	if a.Error != "" {
		return nil, errors.New("spiff: " + a.Error)
	}
	return &a, nil
}

// bounded keeps the first limit bytes of what is written to it.
type bounded struct {
	limit int
	buf   []byte
}

func (b *bounded) Write(p []byte) (int, error) {
	b.buf = append(b.buf, p[:min(len(p), b.limit-len(b.buf))]...)
	return len(p), nil
}

// firstLine returns the first line, which is what a Go program says before the
// addresses of a crash.
func (b *bounded) firstLine() string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(b.buf)), "\n")
	return line
}
