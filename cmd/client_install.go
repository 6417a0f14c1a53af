package cmd

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/admin"
	"github.com/serviceforge/serviceforge/releases/authoring"
)

func newInstallCommand(env *clientEnv) *cobra.Command {
	command := &cobra.Command{
		Use:   "install FILE|URL|DIR",
		Short: "Install a service release, or a newer version of one, into a running broker",
		Long: `Install a service release: all of it is checked, every plan is rendered on every
pool, directors get the BOSH releases that they lack, and the catalog of all
replicas is switched. Before all of it is known to be good nothing is changed,
and what was cut off is begun again by installing again.

Service instances stay with the version they were made with, until they are
upgraded. A folder is packed as "serviceforge package" does; the BOSH releases
that are built of source get a version of their own for each content.`,
		Example: `  serviceforge install serviceforge-redis-1.0.0.tgz
  serviceforge install https://example.com/serviceforge-redis-1.0.0.tgz
  serviceforge install .`,
		Args: cobra.ExactArgs(1),
	}
	return showing(env, command, func(ctx context.Context, client *admin.Client, args []string) (admin.Installed, error) {
		return inProgress(command, "installed", func(shown *progress) (admin.Installed, error) {
			return installFrom(ctx, client, args[0], shown)
		})
	}, func(_ context.Context, r reader, installed admin.Installed) error {
		return tellInstalled(r.out, &installed)
	})
}

// inProgress does what takes a while, and shows how far it is and how it ended:
// with the word, or not.
func inProgress[T any](command *cobra.Command, word string, do func(shown *progress) (T, error)) (T, error) {
	shown := newProgress(command.ErrOrStderr())
	answer, err := do(shown)
	if err != nil {
		word = "not " + word
	}
	if err == nil || shown.last != "" { // what was refused at once took no time
		shown.done(word)
	}
	return answer, err
}

// installFrom sends what a person named, with progress.
func installFrom(ctx context.Context, client *admin.Client, from string, shown *progress) (admin.Installed, error) {
	packed, size, err := openPacked(ctx, from, "/proc/self/exe", shown)
	if err != nil {
		return admin.Installed{}, err
	}
	defer func() { _ = packed.Close() }()
	s := &sending{Reader: packed, from: from, size: size, shown: shown}
	installed, err := client.Install(ctx, s, size, s.step)
	if read, broken := s.brokeOff(); broken != nil && ctx.Err() == nil { // the request failed with it, and says that no broker answers
		return installed, serviceforge.Wrap(broken, serviceforge.Invalid, "%s broke off after %d bytes (%v); nothing was changed: install again", from, read, broken)
	}
	return installed, err
}

// sending tells how far a file is sent, until the broker tells of its own steps.
type sending struct {
	io.Reader
	from string
	size int64 // below 1 where it is not known

	mu       sync.Mutex // the file is read beside the answer
	read     int64
	broken   error // what it ended with, but its end
	shown    *progress
	answered bool
}

// Read reads on, for the request.
func (s *sending) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.read += int64(n)
	if err != nil && err != io.EOF {
		s.broken = err
	}
	if n > 0 && !s.answered {
		percent := 0
		if s.size > 0 {
			percent = int(100 * s.read / s.size)
		}
		s.shown.show(admin.Progress{Description: "sending " + s.from + " to the broker", Percent: percent})
	}
	return n, err
}

// brokeOff is how much could be read, and why no more; nil = the whole, or the
// broker wanted no more.
func (s *sending) brokeOff() (read int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.read, s.broken
}

func (s *sending) step(step admin.InstallStep) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answered = true
	s.shown.show(admin.Progress{Description: step.Says, Percent: step.Percent})
}

// openPacked opens a packed service release: a file, what is at a URL, or a
// folder, which is packed with program as the payload.
func openPacked(ctx context.Context, from, program string, shown *progress) (packed io.ReadCloser, size int64, err error) {
	if strings.HasPrefix(from, "https://") || strings.HasPrefix(from, "http://") {
		return fetchPacked(ctx, from)
	}
	info, err := os.Stat(from)
	if err != nil {
		return nil, 0, serviceforge.Wrap(err, serviceforge.NotFound, "%s is not there", from)
	}
	if info.IsDir() {
		if shown != nil {
			shown.show(admin.Progress{Description: "packing " + from})
		}
		return packFolder(ctx, from, program)
	}
	file, err := os.Open(from)
	if err != nil {
		return nil, 0, serviceforge.Wrap(err, serviceforge.Invalid, "%s cannot be read", from)
	}
	return file, info.Size(), nil
}

func fetchPacked(ctx context.Context, address string) (io.ReadCloser, int64, error) {
	failed := func(err error) (io.ReadCloser, int64, error) {
		return nil, 0, serviceforge.Wrap(err, serviceforge.NotFound, "%s cannot be fetched: %v", address, reason(err))
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return failed(err)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return failed(err)
	}
	if response.StatusCode != http.StatusOK {
		_ = response.Body.Close()
		return failed(fmt.Errorf("HTTP status %s", response.Status))
	}
	return response.Body, response.ContentLength, nil
}

// packFolder packs work in progress into a temporary file, which is gone when
// it is closed.
func packFolder(ctx context.Context, dir, program string) (io.ReadCloser, int64, error) {
	file, err := os.CreateTemp("", "serviceforge-install-*.tgz")
	if err != nil {
		return nil, 0, serviceforge.Wrap(err, serviceforge.Unprocessable, "no temporary file can be made (%v): set TMPDIR", reason(err))
	}
	_ = os.Remove(file.Name()) // it lives as long as it is open
	size := int64(0)
	if err = authoring.PackageUnreleased(ctx, os.DirFS(dir), program, file); err == nil {
		if size, err = file.Seek(0, io.SeekCurrent); err == nil {
			_, err = file.Seek(0, io.SeekStart)
		}
	}
	if err != nil {
		_ = file.Close()
		return nil, 0, err
	}
	return file, size, nil
}

func tellInstalled(out io.Writer, i *admin.Installed) error {
	var text strings.Builder
	says := "is on offer"
	if i.Already {
		says = "is on offer already, and nothing was missing"
	}
	fmt.Fprintf(&text, "%s %s\n", printable(i.Release), says)
	for _, group := range []struct {
		what  string
		lines []string
	}{{"uploaded", i.Uploaded}, {"not offered in pool", i.Without}, {"warning:", i.Warnings}} {
		for _, line := range group.lines {
			fmt.Fprintf(&text, "  %s %s\n", group.what, printable(line))
		}
	}
	_, err := io.WriteString(out, text.String())
	return err
}
