package cmd

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/serviceforge/serviceforge"
)

// testSays bounds what is kept of what one test prints, in bytes.
const testSays = 64 << 10

// tests are the files of a release's folder test/, copied so that those of a
// packed release can be run, too.
type tests struct {
	dir   string   // the copy
	names []string // of the files in test/ itself; those in folders below are theirs
}

// copyTests copies test/ of a release. Errors: Invalid, Internal.
func copyTests(files fs.FS) (*tests, error) {
	dir, err := os.MkdirTemp("", "serviceforge-test-")
	if err != nil {
		return nil, serviceforge.Wrap(err, serviceforge.Internal, "no temporary folder can be made (%v): set TMPDIR", reason(err))
	}
	t := &tests{dir: dir}
	err = fs.WalkDir(files, "test", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			if path == "test" {
				return fs.SkipAll // there are none
			}
			return err
		}
		target := filepath.Join(dir, path)
		if d.IsDir() {
			return os.Mkdir(target, 0o755)
		}
		text, err := fs.ReadFile(files, path)
		if err != nil {
			return err
		}
		if filepath.Dir(path) == "test" {
			t.names = append(t.names, d.Name())
		}
		return os.WriteFile(target, text, 0o755)
	})
	if err != nil {
		t.remove()
		return nil, serviceforge.Wrap(err, serviceforge.Invalid, "test/ cannot be copied: %v", reason(err))
	}
	return t, nil
}

func (t *tests) remove() { _ = os.RemoveAll(t.dir) }

// run runs one test to its end, or to that of ctx with all that it started, and
// returns what it printed.
func (t *tests) run(ctx context.Context, name string, with []string) (said string, err error) {
	command := exec.CommandContext(ctx, "./"+name)
	command.Dir = filepath.Join(t.dir, "test")
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); slices.Contains([]string{"PATH", "HOME", "LANG", "TMPDIR", "USER"}, name) {
			command.Env = append(command.Env, v)
		}
	}
	command.Env = append(command.Env, with...)
	out := &limitedBuffer{}
	command.Stdout, command.Stderr = out, out
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
	command.WaitDelay = time.Second
	err = command.Run()
	return strings.TrimRight(out.String(), "\n"), err
}

// limitedBuffer keeps the beginning of what is written to it.
type limitedBuffer struct{ bytes.Buffer }

func (b *limitedBuffer) Write(p []byte) (int, error) {
	_, _ = b.Buffer.Write(p[:min(len(p), testSays-b.Len())])
	return len(p), nil
}

// logLines and logFiles bound what is shown of a failed test's logs.
const (
	logLines = 20
	logFiles = 12
)

// showLogs prints the end of what jobs on the local director wrote, latest first.
func showLogs(out io.Writer, state string) {
	paths, _ := filepath.Glob(filepath.Join(state, "bosh", "vms", "*", "vcap", "sys", "log", "*", "*.log"))
	written := map[string]time.Time{}
	paths = slices.DeleteFunc(paths, func(path string) bool {
		info, err := os.Stat(path)
		if err != nil || info.Size() == 0 {
			return true
		}
		written[path] = info.ModTime()
		return false
	})
	slices.SortFunc(paths, func(a, b string) int { return written[b].Compare(written[a]) })
	for _, path := range paths[:min(len(paths), logFiles)] {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
		_, _ = fmt.Fprintf(out, "\n%s:\n", filepath.Join(filepath.Base(filepath.Dir(path)), filepath.Base(path)))
		for _, line := range lines[max(0, len(lines)-logLines):] {
			_, _ = fmt.Fprintln(out, "  "+printable(line))
		}
	}
	if len(paths) > 0 {
		_, _ = fmt.Fprintln(out)
	}
}
