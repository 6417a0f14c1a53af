package vm

import (
	"archive/tar"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Log files are cut as logrotate's copytruncate does: services keep them open.
const (
	rotateEvery = 30 * time.Second
	rotateAbove = 10 << 20
	rotateKeep  = 3
)

// rotate looks after *.log below sys/log and the supervisor's own log.
func (s *supervisor) rotate() {
	defer time.AfterFunc(rotateEvery, s.rotate)
	if fi, err := os.Stderr.Stat(); err == nil && fi.Size() > rotateAbove {
		os.Stderr.Truncate(0)
	}
	filepath.WalkDir(filepath.Join(vcapDir, "sys/log"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || !strings.HasSuffix(path, ".log") {
			return nil
		}
		if fi, err := d.Info(); err == nil && fi.Size() > rotateAbove {
			if err := rotateFile(path); err != nil {
				s.log.Warn("log rotation", "path", path, "error", err)
			}
		}
		return nil
	})
}

// rotateFile moves path.1 to path.2 and so on, copies path to path.1 and empties it.
func rotateFile(path string) error {
	for n := rotateKeep; n > 1; n-- {
		if err := os.Rename(fmt.Sprintf("%s.%d", path, n-1), fmt.Sprintf("%s.%d", path, n)); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	in, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(path+".1", os.O_CREATE|os.O_WRONLY|os.O_TRUNC|unix.O_NOFOLLOW, 0o640)
	if err != nil {
		return err
	}
	defer out.Close()
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return in.Truncate(0)
}

// serveLogs answers /var/vcap/sys/log as a tar archive.
func (s *supervisor) serveLogs(w http.ResponseWriter, r *http.Request) {
	root := filepath.Join(vcapDir, "sys/log")
	t := tar.NewWriter(w)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() && !d.IsDir() {
			return nil
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return nil
		}
		if d.IsDir() {
			return t.WriteHeader(&tar.Header{Name: "./" + rel + "/", Mode: 0o755, ModTime: fi.ModTime(), Typeflag: tar.TypeDir})
		}
		return tarFile(t, path, rel)
	})
	if err == nil {
		err = t.Close()
	}
	if err != nil {
		panic(http.ErrAbortHandler) // cut the answer: it must not look complete
	}
}

// tarFile adds as much of a file as it has when it is opened.
func tarFile(t *tar.Writer, path, name string) error {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil
	}
	if err := t.WriteHeader(&tar.Header{Name: "./" + name, Mode: 0o644, Size: fi.Size(), ModTime: fi.ModTime()}); err != nil {
		return err
	}
	n, err := io.CopyN(t, f, fi.Size())
	if err == io.EOF { // it was cut meanwhile
		_, err = io.CopyN(t, zeros{}, fi.Size()-n)
	}
	return err
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
