package vm

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// resultLimit is how much of each output a Result holds.
const resultLimit = 1 << 20

// VM is a handle on a VM with a living supervisor. Its methods are safe for
// concurrent use; each answers ErrGone when the supervisor has died.
type VM struct {
	// Spec is what the VM was made from.
	Spec   Spec
	dir    string
	client *http.Client
}

func newVM(h *Host, spec Spec) *VM {
	v := &VM{Spec: spec, dir: h.dir(spec.CID)}
	v.client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: v.dial}}
	return v
}

// dial reaches the socket through /proc, since the paths of sockets end at 108
// bytes.
func (v *VM) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	dir, err := os.Open(filepath.Dir(filepath.Join(v.dir, socketFile)))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	var d net.Dialer
	return d.DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(socketFile)))
}

// Apply gives the VM its job files, packages and monit files. When processes
// run, they are stopped first; Start starts the new ones. A state that the VM
// holds already changes nothing and stops nothing.
func (v *VM) Apply(ctx context.Context, s State) error { return v.post(ctx, "/v1/apply", s) }

// Start starts the processes that the monit files name, and returns when each
// was started once (or failed to). It does nothing for a started VM.
func (v *VM) Start(ctx context.Context) error { return v.post(ctx, "/v1/start", nil) }

// Stop ends the processes with their full grace (bpm: signal, 20 s, QUIT,
// KILL) and returns when all are gone. The VM stays.
func (v *VM) Stop(ctx context.Context) error { return v.post(ctx, "/v1/stop", nil) }

// Status asks the supervisor.
func (v *VM) Status(ctx context.Context) (Status, error) { return v.status(ctx, "/v1/status") }

// Changed waits until the status has a revision above the given one.
func (v *VM) Changed(ctx context.Context, revision uint64) (Status, error) {
	return v.status(ctx, "/v1/status?after="+strconv.FormatUint(revision, 10))
}

func (v *VM) status(ctx context.Context, path string) (Status, error) {
	var st Status
	resp, err := v.do(ctx, http.MethodGet, path, nil)
	if err != nil {
		return st, err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&st); err != nil {
		return st, v.broken(ctx, err)
	}
	return st, nil
}

// WaitRunning waits until all processes run and have done so for settle. It
// ends early, with ErrNotRunning, when a process is Hopeless; when ctx ends
// first the error is ErrNotRunning too. The last status comes with each.
func (v *VM) WaitRunning(ctx context.Context, settle time.Duration) (Status, error) {
	st, err := v.Status(ctx)
	for err == nil {
		wait, cancel := ctx, context.CancelFunc(func() {})
		if st.JobState == Running {
			if settle <= 0 {
				return st, nil
			}
			wait, cancel = context.WithTimeout(ctx, settle)
		}
		for _, p := range st.Processes {
			if p.Hopeless {
				cancel()
				return st, fmt.Errorf("%w: %s", ErrNotRunning, st.down())
			}
		}
		var next Status
		next, err = v.Changed(wait, st.Revision)
		settled := st.JobState == Running && wait.Err() != nil && ctx.Err() == nil
		cancel()
		if settled {
			return st, nil
		}
		if err == nil {
			st = next
		}
	}
	if ctx.Err() != nil {
		return st, fmt.Errorf("%w: %s: %w", ErrNotRunning, st.down(), ctx.Err())
	}
	return st, err
}

// down names the processes that do not run, with the reasons.
func (st Status) down() string {
	var out []string
	for _, p := range st.Processes {
		if p.State == Running {
			continue
		}
		text := p.Name + " is " + p.State
		if p.Reason != "" {
			text += " (" + p.Reason + ")"
		}
		out = append(out, text)
	}
	if len(out) == 0 {
		return "the VM is " + st.JobState
	}
	return strings.Join(out, ", ")
}

// RunScript runs /var/vcap/jobs/JOB/bin/SCRIPT as root, with the environment
// and the log files (sys/log/JOB/SCRIPT.stdout.log, …) that the agent uses. A
// script that does not exist is Result.Missing. A script that fails is a
// Result, not an error. When ctx ends, the script is killed.
func (v *VM) RunScript(ctx context.Context, job, script string, args ...string) (Result, error) {
	if !plainName(job) || !plainName(script) {
		return Result{}, fmt.Errorf("vm: %q, %q: not the names of a job and a script", job, script)
	}
	path := filepath.Join(vcapDir, "jobs", job, "bin", script)
	return v.Exec(ctx, Exec{Argv: append([]string{path}, args...), Log: filepath.Join(vcapDir, "sys/log", job, script)}, nil, nil)
}

// Exec runs a program as root. Its output is also written to the two writers,
// when they are not nil, as soon as it ended; Result holds the last MiB of each.
func (v *VM) Exec(ctx context.Context, e Exec, stdout, stderr io.Writer) (Result, error) {
	body, err := json.Marshal(e)
	if err != nil {
		return Result{}, err
	}
	resp, err := v.do(ctx, http.MethodPost, "/v1/exec", body)
	var status *statusError
	if errors.As(err, &status) && status.code == http.StatusNotFound {
		return Result{Missing: true}, nil
	}
	if err != nil {
		return Result{}, err
	}
	defer resp.Body.Close()
	var r Result
	if r.ExitCode, err = strconv.Atoi(resp.Header.Get(exitCodeHeader)); err != nil {
		return r, fmt.Errorf("vm %s: exec: %w", v.Spec.CID, err)
	}
	n, err := strconv.ParseInt(resp.Header.Get(stdoutLengthHeader), 10, 64)
	if err != nil {
		return r, fmt.Errorf("vm %s: exec: %w", v.Spec.CID, err)
	}
	if r.Stdout, err = keepTail(io.LimitReader(resp.Body, n), stdout); err == nil {
		r.Stderr, err = keepTail(resp.Body, stderr)
	}
	if err != nil {
		return r, v.broken(ctx, err)
	}
	return r, nil
}

// keepTail copies r to w and answers the end of it.
func keepTail(r io.Reader, w io.Writer) (string, error) {
	var tail []byte
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		if w != nil && n > 0 {
			if _, werr := w.Write(buf[:n]); werr != nil {
				return string(tail), werr
			}
		}
		tail = append(tail, buf[:n]...)
		if len(tail) > 2*resultLimit {
			tail = append(tail[:0], tail[len(tail)-resultLimit:]...)
		}
		if err == io.EOF {
			return string(tail[max(0, len(tail)-resultLimit):]), nil
		}
		if err != nil {
			return string(tail), err
		}
	}
}

// Logs writes the VM's /var/vcap/sys/log as a gzipped tar archive.
func (v *VM) Logs(ctx context.Context, w io.Writer) error {
	resp, err := v.do(ctx, http.MethodGet, "/v1/logs", nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	z := gzip.NewWriter(w)
	if _, err := io.Copy(z, resp.Body); err != nil {
		return v.broken(ctx, err)
	}
	return z.Close()
}

func (v *VM) post(ctx context.Context, path string, body any) error {
	var b []byte
	if body != nil {
		var err error
		if b, err = json.Marshal(body); err != nil {
			return err
		}
	}
	resp, err := v.do(ctx, http.MethodPost, path, b)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	return err
}

// statusError is an answer other than 200.
type statusError struct {
	code int
	text string
}

func (e *statusError) Error() string { return e.text }

func (v *VM) do(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://vm"+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	resp, err := v.client.Do(req)
	if err != nil {
		return nil, v.broken(ctx, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	return nil, fmt.Errorf("vm %s: %w", v.Spec.CID, &statusError{resp.StatusCode, strings.TrimSpace(string(text))})
}

// broken is the error of a call without a whole answer: ErrGone when nobody
// listens or the supervisor has died.
func (v *VM) broken(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("vm %s: %w", v.Spec.CID, ctx.Err())
	}
	gone := errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, os.ErrNotExist)
	if !gone { // cut off: is it just about to die?
		fd, serr := readStamp(filepath.Join(v.dir, pidFile)).open()
		if gone = serr != nil; !gone {
			patience, cancel := context.WithTimeout(ctx, time.Second)
			gone = fd.wait(patience) == nil
			cancel()
			fd.close()
		}
	}
	if gone {
		return fmt.Errorf("vm %s: %w", v.Spec.CID, ErrGone)
	}
	return fmt.Errorf("vm %s: %w", v.Spec.CID, err)
}
