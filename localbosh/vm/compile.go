package vm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// outputLimit is how much of the output of a compilation is kept: its end.
const outputLimit = 4 << 20

// scratchPrefix names the folders of sandboxes that run once.
const scratchPrefix = ".once-"

// once is what the host side leaves for SandboxMain in configFile.
type once struct {
	View view     `json:"view"`
	Argv []string `json:"argv"`
	Env  []string `json:"env"`
	Dir  string   `json:"dir"`
}

// Compile runs `bash -x packaging` in a sandbox of its own. Its output is
// returned in either case; the error says how the script failed. A package
// without a packaging script is an empty one.
func (h *Host) Compile(ctx context.Context, c Compile) (output string, err error) {
	if !plainName(c.Name) {
		return "", fmt.Errorf("package %q: not a name", c.Name)
	}
	if err := os.MkdirAll(c.Target, 0o755); err != nil {
		return "", err
	}
	if err := os.Chmod(c.Target, 0o755); err != nil { // vcap must get in, whatever the umask
		return "", err
	}
	if _, err := os.Stat(filepath.Join(c.Source, "packaging")); errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	source, target := filepath.Join(vcapDir, "data/compile", c.Name), filepath.Join(vcapDir, "packages", c.Name)
	binds := []bind{{Source: c.Source, Target: source, Writable: true}, {Source: c.Target, Target: target, Writable: true}}
	for name, dir := range c.Dependencies {
		if !plainName(name) || name == c.Name {
			return "", fmt.Errorf("package %s: dependency %q", c.Name, name)
		}
		binds = append(binds, bind{Source: dir, Target: filepath.Join(vcapDir, "packages", name)})
	}
	output, err = h.once(ctx, "compile", once{
		Argv: []string{"bash", "-x", "packaging"},
		Dir:  source,
		Env: []string{
			"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:" + vcapDir + "/bosh/bin", "HOME=/tmp", "LANG=en_US.UTF-8",
			"BOSH_COMPILE_TARGET=" + source, "BOSH_INSTALL_TARGET=" + target,
			"BOSH_PACKAGE_NAME=" + c.Name, "BOSH_PACKAGE_VERSION=" + c.Version,
		},
	}, binds)
	if err != nil {
		return output, fmt.Errorf("package %s: packaging: %w", c.Name, err)
	}
	return output, nil
}

// Clean removes what compilations of a killed director left behind. Call it
// once before the first Compile.
func (h *Host) Clean() error {
	dirs, err := filepath.Glob(filepath.Join(h.VMs, scratchPrefix+"*"))
	for _, d := range dirs {
		err = errors.Join(err, removeTree(d))
	}
	return err
}

// once runs a program in a sandbox that ends with it, or with this process.
func (h *Host) once(ctx context.Context, hostname string, o once, binds []bind) (string, error) {
	if err := os.MkdirAll(h.VMs, 0o700); err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(h.VMs, scratchPrefix)
	if err != nil {
		return "", err
	}
	defer removeTree(dir)
	if o.View, err = h.view(dir, hostname); err != nil {
		return "", err
	}
	o.View.Binds, o.Env = binds, append(o.Env, h.Env...)
	if err := writeJSON(filepath.Join(dir, configFile), o); err != nil {
		return "", err
	}
	// A file, not a pipe: a daemon that is left behind holds nobody up.
	out, err := os.OpenFile(filepath.Join(dir, "output"), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return "", err
	}
	defer out.Close()
	err = h.runSandbox(ctx, dir, out)
	text, rerr := tailOf(out)
	return text, errors.Join(err, rerr)
}

// runSandbox runs `Program __sandbox dir` to its end.
func (h *Host) runSandbox(ctx context.Context, dir string, out *os.File) error {
	failure, theirs, err := os.Pipe()
	if err != nil {
		return err
	}
	defer failure.Close()
	cmd := exec.CommandContext(ctx, h.Program, "__sandbox", dir)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = "/", h.Env, out, out, []*os.File{theirs}
	cmd.SysProcAttr = namespaces(singleMap())
	// The kernel kills it when the thread that started it ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	err = cmd.Start()
	theirs.Close()
	if err != nil {
		return explain(err)
	}
	said, _ := io.ReadAll(failure)
	err = cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case len(said) > 0:
		return explain(errors.New(strings.TrimSpace(string(said))))
	}
	return err
}

func tailOf(f *os.File) (string, error) {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return "", err
	}
	from := max(0, size-outputLimit)
	b, err := io.ReadAll(io.NewSectionReader(f, from, size-from))
	return string(b), err
}

// SandboxMain is the entry point of `Program __sandbox <folder>`; args are those
// after __sandbox. It becomes the program that the folder's config names, or
// writes to descriptor 3 why it cannot.
func SandboxMain(args []string) int {
	if len(args) != 1 {
		fmt.Fprintln(os.Stderr, "usage: __sandbox FOLDER")
		return 2
	}
	unix.CloseOnExec(3)
	catchSignals()
	err := becomeOnce(args[0])
	fmt.Fprint(os.NewFile(3, "creator"), err)
	return sandboxFailed
}

func becomeOnce(dir string) error {
	var o once
	if err := readJSON(filepath.Join(dir, configFile), &o); err != nil {
		return err
	}
	if err := o.View.enter(); err != nil {
		return err
	}
	unix.Umask(0o022)
	if err := os.Chdir(o.Dir); err != nil {
		return err
	}
	path, err := lookPath(o.Argv[0], o.Env)
	if err != nil {
		return err
	}
	return fmt.Errorf("%s: %w", path, syscall.Exec(path, o.Argv, o.Env))
}
