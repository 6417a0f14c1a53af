package vm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ready is what a supervisor says on its socket to the creator; anything else
// is the reason why it could not start.
const ready = "ready"

// sandboxFailed is the exit code of a process that could not make its sandbox.
const sandboxFailed = 125

var validCID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)

// Create stores spec, starts the VM's supervisor and returns when it answers.
// For a CID whose supervisor lives it is Adopt; for one that died it starts a
// new supervisor in the old folder, as a reboot would. Apply and Start are then
// needed again. When it fails, nothing runs; Destroy clears the folder.
func (h *Host) Create(ctx context.Context, spec Spec) (*VM, error) {
	if !validCID.MatchString(spec.CID) {
		return nil, fmt.Errorf("vm: %q cannot be a CID", spec.CID)
	}
	dir := h.dir(spec.CID)
	if v, err := h.Adopt(ctx, spec.CID); !errors.Is(err, ErrGone) {
		return v, err
	}
	if err := h.furnish(dir, spec); err != nil {
		return nil, fmt.Errorf("vm %s: %w", spec.CID, err)
	}
	if err := h.spawn(ctx, dir); err != nil {
		return nil, fmt.Errorf("vm %s: %w", spec.CID, err)
	}
	return newVM(h, spec), nil
}

// Adopt attaches to a VM that another process made. It answers ErrGone when
// its supervisor is dead.
func (h *Host) Adopt(ctx context.Context, cid string) (*VM, error) {
	if !validCID.MatchString(cid) {
		return nil, fmt.Errorf("vm: %q cannot be a CID", cid)
	}
	dir := h.dir(cid)
	stamp := readStamp(filepath.Join(dir, pidFile))
	var c config
	if err := readJSON(filepath.Join(dir, configFile), &c); err != nil || !stamp.alive() {
		return nil, fmt.Errorf("vm %s: %w", cid, ErrGone)
	}
	v := newVM(h, c.Spec)
	for { // one whose creator died just now may not answer yet
		_, err := v.Status(ctx)
		if !errors.Is(err, ErrGone) || !stamp.alive() {
			if err != nil {
				return nil, err
			}
			return v, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("vm %s: the supervisor does not answer: %w", cid, ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// List names the VMs that have a folder, dead and half-made ones included.
func (h *Host) List() ([]string, error) {
	entries, err := os.ReadDir(h.VMs)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var cids []string
	for _, e := range entries {
		if e.IsDir() && validCID.MatchString(e.Name()) {
			cids = append(cids, e.Name())
		}
	}
	return cids, err
}

// Destroy stops everything in the VM, waits at most grace for processes to end
// by themselves, kills the rest and removes the VM's folder. It works for dead,
// half-made and unknown VMs. The persistent disk stays.
func (h *Host) Destroy(ctx context.Context, cid string, grace time.Duration) error {
	if !validCID.MatchString(cid) {
		return fmt.Errorf("vm: %q cannot be a CID", cid)
	}
	dir := h.dir(cid)
	fd, err := readStamp(filepath.Join(dir, pidFile)).open()
	if err == nil {
		err = h.end(ctx, cid, fd, grace)
		fd.close()
	}
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("vm %s: %w", cid, err)
	}
	if err := removeTree(dir); err != nil {
		return fmt.Errorf("vm %s: %w", cid, err)
	}
	return nil
}

// end shuts a supervisor down, or kills it. When it is gone, so is everything
// in its PID namespace.
func (h *Host) end(ctx context.Context, cid string, fd *pidfd, grace time.Duration) error {
	if grace > 0 {
		patience, cancel := context.WithTimeout(ctx, grace+500*time.Millisecond)
		defer cancel()
		path := fmt.Sprintf("/v1/shutdown?grace=%d", grace.Milliseconds())
		if err := newVM(h, Spec{CID: cid}).post(patience, path, nil); err == nil && fd.wait(patience) == nil {
			return nil
		}
		h.log().Warn("a supervisor does not end in time and is killed", "cid", cid)
	}
	if err := fd.kill(unix.SIGKILL); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return fd.wait(ctx)
}

func (h *Host) dir(cid string) string { return filepath.Join(h.VMs, cid) }

func (h *Host) log() *slog.Logger {
	if h.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return h.Log
}

// view is the view of a sandbox whose folders are below dir, which it makes.
func (h *Host) view(dir, hostname string) (view, error) {
	v := view{
		Root: filepath.Join(dir, "root"), Vcap: filepath.Join(dir, "vcap"), Tmp: filepath.Join(dir, "tmp"), Etc: filepath.Join(dir, "etc"),
		Program: h.Program, Hostname: hostname, Masks: []string{"/home", "/root"}, SingleMap: singleMap(),
	}
	for _, d := range []string{v.Root, v.Vcap, v.Etc} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return v, err
		}
	}
	if err := sticky(v.Tmp); err != nil {
		return v, err
	}
	masks := v.Masks
	if h.State != "" {
		masks = append(masks, h.State)
	}
	for _, m := range masks { // what a link points to is masked as well
		if real, err := filepath.EvalSymlinks(m); err == nil && real != m {
			masks = append(masks, real)
		}
	}
	v.Masks = masks
	return v, writeEtc(v.Etc, v.SingleMap)
}

// furnish makes the folder of a VM.
func (h *Host) furnish(dir string, spec Spec) error {
	if err := os.MkdirAll(filepath.Join(dir, "run"), 0o700); err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return err
	}
	hostname := spec.InstanceID
	if hostname == "" {
		hostname = spec.CID
	}
	v, err := h.view(dir, hostname)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(h.Packages, 0o755); err != nil {
		return err
	}
	if err := os.Chmod(h.Packages, 0o755); err != nil { // vcap must get in, whatever the umask
		return err
	}
	v.Binds = []bind{{Source: h.Packages, Target: vcapDir + "/data/packages"}}
	if spec.Store != "" {
		if err := os.MkdirAll(spec.Store, 0o755); err != nil {
			return err
		}
		v.Binds = append(v.Binds, bind{Source: spec.Store, Target: vcapDir + "/store", Writable: true})
	}
	return writeJSON(filepath.Join(dir, configFile), config{Spec: spec, View: v, Env: h.Env})
}

// spawn starts the supervisor of a furnished folder, detached, and waits until
// it is ready.
func (h *Host) spawn(ctx context.Context, dir string) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	unix.SetNonblock(pair[0], true)
	ours, theirs := os.NewFile(uintptr(pair[0]), "supervisor"), os.NewFile(uintptr(pair[1]), "creator")
	defer ours.Close()
	log, err := os.OpenFile(filepath.Join(dir, logFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		theirs.Close()
		return err
	}
	defer log.Close()
	cmd := exec.Command(h.Program, "__vm", dir)
	// GOGC: see collect.
	cmd.Dir, cmd.Env = "/", append([]string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "GOMAXPROCS=2", "GOGC=off"}, h.Env...)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = log, log, []*os.File{theirs}
	cmd.SysProcAttr = namespaces(singleMap())
	err = cmd.Start()
	theirs.Close()
	if err != nil {
		return explain(err)
	}
	go cmd.Wait() // it outlives this process; until then somebody must reap it
	stop := context.AfterFunc(ctx, func() { ours.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	said, err := io.ReadAll(ours)
	if string(said) == ready {
		return nil
	}
	cmd.Process.Kill()
	if ctx.Err() != nil {
		return fmt.Errorf("the supervisor did not get ready: %w", ctx.Err())
	}
	if len(said) == 0 {
		return fmt.Errorf("the supervisor died at once, see %s: %w", filepath.Join(dir, logFile), errors.Join(err, io.ErrUnexpectedEOF))
	}
	return explain(errors.New(strings.TrimSpace(string(said))))
}

func readJSON(file string, v any) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}

// writeJSON replaces a file in one step.
func writeJSON(file string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := os.WriteFile(file+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// removeTree removes a folder, also when it holds folders that their owner may
// not write to (compilers make such).
func removeTree(dir string) error {
	err := os.RemoveAll(dir)
	if err == nil || !errors.Is(err, fs.ErrPermission) {
		return err
	}
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() {
			os.Chmod(path, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}
