package render

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// maxRendering is how many deployments render at once: memory, not the processor, is the limit.
const maxRendering = 2

// defaultIdle is how long an unused child is held ready.
const defaultIdle = 2 * time.Minute

// defaultPause is how long after a render the next child is started.
const defaultPause = time.Second

// Options says how a Renderer works.
type Options struct {
	// Program is the absolute path of the program whose first argument "__erb" leads to ErbMain.
	Program string
	// CacheDir is the folder for compiled WebAssembly; empty means serviceforge in the user's cache folder
	// ($XDG_CACHE_HOME or ~/.cache). If it cannot be written, rendering works without, but slowly.
	CacheDir string
	// Env is the whole environment of the child ("SERVICEFORGE_STATE=…"); Ruby sees none of it.
	Env []string
	// Idle is how long an unused child is held ready; 0 means two minutes.
	Idle time.Duration
	// Pause is how long after a render the next child is started; 0 means a second. To get one ready takes most of a
	// second of a processor, which what was rendered needs just then: it is being deployed.
	Pause time.Duration
	// Log receives troubles that no caller sees, such as a child that cannot be started ahead; nil discards them.
	Log *slog.Logger
}

// Renderer renders deployments. It may be used by several goroutines.
type Renderer struct {
	options Options
	slots   chan struct{}
	life    context.Context
	end     context.CancelCauseFunc
	next    *time.Timer // starts the next child

	mu   sync.Mutex
	idle *standby
	used sync.WaitGroup // children that somebody will wait for; Add only under mu
}

// standby is a child started ahead and not yet used; it may still be preparing itself.
type standby struct {
	*child
	expiry *time.Timer // ends it when it is not used
	unbind func() bool // forgets the context that would end it
}

func (s *standby) release() {
	s.expiry.Stop()
	s.unbind()
}

var errClosed = errors.New("the renderer is closed")

// New makes a Renderer; it starts nothing.
func New(options Options) *Renderer {
	if options.Idle == 0 {
		options.Idle = defaultIdle
	}
	if options.Pause == 0 {
		options.Pause = defaultPause
	}
	if options.Log == nil {
		options.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	if options.CacheDir == "" {
		if folder, err := os.UserCacheDir(); err == nil {
			options.CacheDir = filepath.Join(folder, "serviceforge")
		}
	}
	r := &Renderer{options: options, slots: make(chan struct{}, maxRendering)}
	r.life, r.end = context.WithCancelCause(context.Background())
	r.next = time.AfterFunc(options.Pause, func() { r.Warm(r.life) })
	r.next.Stop()
	return r
}

// Warm has a child made ready in the background, for which Ruby may have to be compiled (once per cache folder,
// some seconds). It returns at once. Call it when the director starts, and again when a deployment is expected:
// it costs nothing if a child is there, and begins its idle time anew. When ctx ends, an unused child ends.
func (r *Renderer) Warm(ctx context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.life.Err() != nil || ctx.Err() != nil {
		return
	}
	if s := r.idle; s != nil {
		if s.usable() {
			s.expiry.Reset(r.options.Idle)
			return
		}
		s.release()
		s.stop()
	}
	c, err := startChild(r.options.Program, r.options.CacheDir, r.options.Env)
	if err != nil {
		r.options.Log.Warn("cannot prepare for rendering", "error", err)
		return
	}
	s := &standby{child: c}
	s.expiry = time.AfterFunc(r.options.Idle, func() { r.discard(s) })
	s.unbind = context.AfterFunc(ctx, func() { r.discard(s) })
	r.idle = s
	r.used.Add(1)
	go func() {
		defer r.used.Done()
		<-c.ready
		if c.err != nil && ctx.Err() == nil && r.life.Err() == nil && r.holds(s) {
			r.options.Log.Warn("cannot prepare for rendering", "error", c.err)
		}
	}()
}

// Ready waits until a child is ready, or returns why there will be none. Call Warm before.
func (r *Renderer) Ready(ctx context.Context) error {
	r.mu.Lock()
	s := r.idle
	r.mu.Unlock()
	if s == nil {
		return errors.New("no renderer is being made ready")
	}
	select {
	case <-s.ready:
		return s.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// holds says whether s is still unused; who has taken it is told how it failed.
func (r *Renderer) holds(s *standby) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.idle == s
}

// discard ends s if it is still unused.
func (r *Renderer) discard(s *standby) {
	r.mu.Lock()
	if s == nil || r.idle != s {
		r.mu.Unlock()
		return
	}
	r.idle = nil
	r.used.Add(1)
	defer r.used.Done()
	r.mu.Unlock()
	s.release()
	s.stop()
}

// take returns the child held ready, or starts one, which is fresh. The caller calls used.Done.
func (r *Renderer) take() (c *child, fresh bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.life.Err() != nil {
		return nil, false, errClosed
	}
	if s := r.idle; s != nil {
		r.idle = nil
		s.release()
		if s.usable() {
			r.used.Add(1)
			return s.child, false, nil
		}
		s.stop()
	}
	if c, err = startChild(r.options.Program, r.options.CacheDir, r.options.Env); err == nil {
		r.used.Add(1)
	}
	return c, true, err
}

// evaluate has one deployment evaluated by a child.
func (r *Renderer) evaluate(ctx context.Context, asked request) ([][]answer, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	release := context.AfterFunc(r.life, func() { cancel(errClosed) })
	defer release()
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer r.next.Reset(r.options.Pause)
	for {
		answers, again, err := r.try(ctx, asked)
		if !again {
			return answers, err
		}
	}
}

// try has one child evaluate a deployment. again: it was held ready for too long, and was gone before it was asked.
func (r *Renderer) try(ctx context.Context, asked request) (answers [][]answer, again bool, err error) {
	c, fresh, err := r.take()
	if err != nil {
		return nil, false, err
	}
	defer r.used.Done()
	answers, err = c.render(ctx, asked)
	return answers, !fresh && errors.Is(err, errUnasked), err
}

// Close ends the children and waits for them. Renders under way fail.
func (r *Renderer) Close() error {
	r.mu.Lock()
	r.end(errClosed)
	r.next.Stop()
	idle := r.idle
	r.mu.Unlock()
	r.discard(idle)
	r.used.Wait()
	return nil
}
