// Package tarball reads and writes tarballs: equal content gives equal bytes.
package tarball

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"io"
	"io/fs"
	"strings"
	"time"
)

// File writes one file without owner and time, so that equal content gives
// equal bytes.
func File(ctx context.Context, out *tar.Writer, name string, mode fs.FileMode, size int64, from io.Reader) error {
	header := &tar.Header{
		Typeflag: tar.TypeReg, Name: "./" + name, Mode: int64(mode.Perm()), Size: size,
		ModTime: time.Unix(0, 0).UTC(), Format: tar.FormatUSTAR,
	}
	if err := out.WriteHeader(header); err != nil {
		return err
	}
	_, err := io.Copy(out, Interrupted(ctx, from))
	return err
}

// interruptible ends a copy with its context.
type interruptible struct {
	ctx context.Context
	r   io.Reader
}

// Interrupted reads from r until ctx ends.
func Interrupted(ctx context.Context, r io.Reader) io.Reader { return &interruptible{ctx, r} }

func (i *interruptible) Read(p []byte) (int, error) {
	if err := i.ctx.Err(); err != nil {
		return 0, err
	}
	return i.r.Read(p)
}

// Max bounds a tarball that is read, in bytes.
const Max = 2 << 30

// Each visits the files of a tarball, and stops at the first error.
func Each(from io.Reader, visit func(name string, in io.Reader) error) error {
	zip, err := gzip.NewReader(io.LimitReader(from, Max))
	if err != nil {
		return err
	}
	in := tar.NewReader(io.LimitReader(zip, 4*Max))
	for {
		header, err := in.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := visit(strings.TrimPrefix(header.Name, "./"), in); err != nil {
			return err
		}
	}
}
