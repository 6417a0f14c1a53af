package blobs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Trees with more files than this are synced with their whole file system.
const syncEach = 256

// syncTree makes everything below dir survive the loss of power.
func syncTree(dir string) error {
	var paths []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && (d.IsDir() || d.Type().IsRegular()) {
			paths = append(paths, p)
		}
		return err
	})
	if err != nil {
		return err
	}
	if len(paths) > syncEach {
		return syncFileSystem(dir)
	}
	for _, p := range paths {
		f, err := os.Open(p)
		if err != nil {
			return err
		}
		err = f.Sync()
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func syncFileSystem(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := unix.Syncfs(int(d.Fd())); err != nil && !errors.Is(err, unix.ENOSYS) {
		return os.NewSyscallError("syncfs", err)
	}
	return nil
}

// replaceDir makes from the folder at to in one step; what was at to is then at from.
func replaceDir(from, to string) error {
	err := os.Rename(from, to)
	if err == nil || !exists(to) {
		return err
	}
	return os.NewSyscallError("renameat2", unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_EXCHANGE))
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// linkOrCopy makes to the same file as from, or a copy where links are impossible.
func linkOrCopy(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	if err := os.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if os.Link(from, to) == nil {
		return nil
	}
	return copyFile(from, to)
}

// copyFile copies bytes, permissions and modification time; the kernel shares the blocks if it can.
func copyFile(from, to string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	st, err := src.Stat()
	if err != nil {
		return err
	}
	dst, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if unix.IoctlFileClone(int(dst.Fd()), int(src.Fd())) != nil {
		_, err = io.Copy(dst, src)
	}
	if err == nil {
		err = dst.Chmod(st.Mode().Perm())
	}
	if cerr := dst.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Chtimes(to, st.ModTime(), st.ModTime())
	}
	return err
}

// copyTree copies a folder to a new one. Files named in linked (relative paths) are hard-linked.
func copyTree(from, to string, linked map[string]bool) error {
	return filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, p)
		if err != nil {
			return err
		}
		dst := filepath.Join(to, rel)
		switch {
		case d.IsDir():
			st, err := d.Info()
			if err != nil {
				return err
			}
			return os.MkdirAll(dst, st.Mode().Perm()|0o700)
		case d.Type() == fs.ModeSymlink:
			target, err := os.Readlink(p)
			if err != nil {
				return err
			}
			return os.Symlink(target, dst)
		case linked[rel]:
			return linkOrCopy(p, dst)
		}
		return copyFile(p, dst)
	})
}

// removeTree removes a folder that may hold read-only folders.
func removeTree(dir string) error {
	err := os.RemoveAll(dir)
	if err == nil {
		return nil
	}
	_ = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() {
			_ = os.Chmod(p, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}

// share replaces every file below dir that has the bytes of one of the originals by a link to it, so that a big
// binary which a packaging script copied exists once.
func share(dir string, originals []string) error {
	for _, original := range originals {
		want, err := os.Stat(original)
		if err != nil || want.Size() < 1<<20 {
			continue
		}
		err = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			have, err := d.Info()
			if err != nil || have.Size() != want.Size() || os.SameFile(have, want) || have.Mode().Perm() != want.Mode().Perm() {
				return err
			}
			if same, err := sameBytes(p, original); err != nil || !same {
				return err
			}
			tmp := p + ".link"
			if os.Link(original, tmp) != nil {
				return nil
			}
			return os.Rename(tmp, p)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func sameBytes(a, b string) (bool, error) {
	fa, err := os.Open(a)
	if err != nil {
		return false, err
	}
	defer fa.Close()
	fb, err := os.Open(b)
	if err != nil {
		return false, err
	}
	defer fb.Close()
	bufA, bufB := make([]byte, 256<<10), make([]byte, 256<<10)
	for {
		n, errA := io.ReadFull(fa, bufA)
		m, errB := io.ReadFull(fb, bufB)
		if n != m || string(bufA[:n]) != string(bufB[:m]) {
			return false, nil
		}
		if errA != nil || errB != nil {
			return true, nil
		}
	}
}
