package blobs

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// errHostile is in the chain of errors about archives that try to leave their folder, to use what no release
// needs, or to fill the disk.
var errHostile = errors.New("refused archive")

func hostile(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errHostile, fmt.Sprintf(format, args...))
}

// budget is what the rest of an upload may still unpack to, nested archives included.
type budget struct {
	bytes   int64
	entries int
}

// limited counts what is read through it, and honours ctx.
type limited struct {
	ctx context.Context
	r   io.Reader
	b   *budget
}

func (l *limited) Read(p []byte) (int, error) {
	if err := l.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := l.r.Read(p)
	if l.b.bytes -= int64(n); l.b.bytes < 0 {
		return n, hostile("it unpacks to more than the limit")
	}
	return n, err
}

// openTar reads a tar archive, gzip-compressed or not.
func openTar(ctx context.Context, r io.Reader, b *budget) (*tar.Reader, error) {
	buffered := bufio.NewReaderSize(r, 64<<10)
	magic, err := buffered.Peek(2)
	if err != nil {
		return nil, fmt.Errorf("read archive: %w", err)
	}
	plain := io.Reader(buffered)
	if magic[0] == 0x1f && magic[1] == 0x8b {
		if plain, err = gzip.NewReader(buffered); err != nil {
			return nil, fmt.Errorf("read archive: %w", err)
		}
	}
	return tar.NewReader(&limited{ctx, plain, b}), nil
}

// next returns the next entry with a clean, local, slash-separated name ("." for the archive's own folder), or
// io.EOF.
func next(t *tar.Reader, b *budget) (*tar.Header, string, error) {
	h, err := t.Next()
	if err != nil {
		return nil, "", err
	}
	if b.entries--; b.entries < 0 {
		return nil, "", hostile("it has more entries than the limit")
	}
	name := path.Clean(strings.TrimPrefix(h.Name, "./"))
	if strings.ContainsRune(h.Name, 0) || !filepath.IsLocal(name) {
		return nil, "", hostile("entry %q leaves the archive", h.Name)
	}
	return h, name, nil
}

// extract unpacks a nested archive into dir, which it creates. Nothing is written outside of dir, links do not
// point out of it (but into /var/vcap, where packages run), and there are no devices. Modes lose their special
// bits; modification times are kept, since makefiles look at them.
func extract(ctx context.Context, r io.Reader, dir string, b *budget) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	t, err := openTar(ctx, r, b)
	if err != nil {
		return err
	}
	for {
		h, name, err := next(t, b)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := extractEntry(root, h, name, t, b); err != nil {
			return fmt.Errorf("unpack %q: %w", h.Name, err)
		}
	}
}

func extractEntry(root *os.Root, h *tar.Header, name string, t *tar.Reader, b *budget) error {
	if name == "." {
		if h.Typeflag != tar.TypeDir {
			return hostile("it is its own folder")
		}
		return nil
	}
	if parent := path.Dir(name); parent != "." {
		if err := root.MkdirAll(parent, 0o700); err != nil {
			return err
		}
	}
	mode := fs.FileMode(h.Mode).Perm()
	switch h.Typeflag {
	case tar.TypeDir:
		if err := root.MkdirAll(name, 0o700); err != nil {
			return err
		}
		return root.Chmod(name, mode|0o700)
	case tar.TypeReg, tar.TypeGNUSparse:
		return writeEntry(root, h, name, mode|0o400, t)
	case tar.TypeSymlink:
		if !linkStaysInside(name, h.Linkname) {
			return hostile("link to %q", h.Linkname)
		}
		_ = root.Remove(name)
		return root.Symlink(h.Linkname, name)
	case tar.TypeLink:
		return copyLinked(root, h, name, mode|0o400, b)
	case tar.TypeXGlobalHeader:
		return nil
	}
	return hostile("entry of type %q", h.Typeflag)
}

// linkStaysInside says whether a symbolic link may be made: relative inside the archive, or into /var/vcap.
func linkStaysInside(name, target string) bool {
	if path.IsAbs(target) {
		return strings.HasPrefix(path.Clean(target)+"/", "/var/vcap/")
	}
	return target != "" && filepath.IsLocal(path.Join(path.Dir(name), target))
}

func writeEntry(root *os.Root, h *tar.Header, name string, mode fs.FileMode, r io.Reader) error {
	_ = root.Remove(name) // the last entry of a name counts; never write through an earlier link
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	if err == nil {
		err = f.Chmod(mode)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil && !h.ModTime.IsZero() {
		err = root.Chtimes(name, h.ModTime, h.ModTime)
	}
	return err
}

// copyLinked makes a hard link of the archive as a copy: files of the store that share bytes are links to
// referenced files only.
func copyLinked(root *os.Root, h *tar.Header, name string, mode fs.FileMode, b *budget) error {
	target := path.Clean(strings.TrimPrefix(h.Linkname, "./"))
	if !filepath.IsLocal(target) || target == name {
		return hostile("link to %q", h.Linkname)
	}
	st, err := root.Lstat(target)
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return hostile("hard link to %q", h.Linkname)
	}
	if b.bytes -= st.Size(); b.bytes < 0 {
		return hostile("it unpacks to more than the limit")
	}
	src, err := root.Open(target)
	if err != nil {
		return err
	}
	defer src.Close()
	return writeEntry(root, h, name, mode, src)
}
