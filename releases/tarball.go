package releases

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/serviceforge/serviceforge"
)

// archive writes the entries as a tarball; a sparse one leaves out what lies on disk.
func archive(ctx context.Context, w io.Writer, entries []entry, sparse bool) error {
	zip := gzip.NewWriter(w) // no name and no time in its header
	out := tar.NewWriter(zip)
	for _, e := range entries {
		if e.disk != "" && sparse {
			continue
		}
		if err := e.write(ctx, out); err != nil {
			return serviceforge.Wrap(err, serviceforge.Internal, "%s cannot be packed", e.path)
		}
	}
	if err := out.Close(); err != nil {
		return serviceforge.Wrap(err, serviceforge.Internal, "an archive cannot be written")
	}
	if err := zip.Close(); err != nil {
		return serviceforge.Wrap(err, serviceforge.Internal, "an archive cannot be written")
	}
	return nil
}

func (e entry) write(ctx context.Context, out *tar.Writer) error {
	if e.disk == "" {
		return tarFile(ctx, out, e.path, e.mode, int64(len(e.text)), bytes.NewReader(e.text))
	}
	f, err := os.Open(e.disk)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return tarFile(ctx, out, e.path, e.mode, info.Size(), f)
}

// tarFile writes one file without owner and time, so that equal content gives
// equal bytes.
func tarFile(ctx context.Context, out *tar.Writer, name string, mode fs.FileMode, size int64, from io.Reader) error {
	header := &tar.Header{
		Typeflag: tar.TypeReg, Name: "./" + name, Mode: int64(mode.Perm()), Size: size,
		ModTime: time.Unix(0, 0).UTC(), Format: tar.FormatUSTAR,
	}
	if err := out.WriteHeader(header); err != nil {
		return err
	}
	_, err := io.Copy(out, &interruptible{ctx: ctx, r: from})
	return err
}

// interruptible ends a copy with its context.
type interruptible struct {
	ctx context.Context
	r   io.Reader
}

func (i *interruptible) Read(p []byte) (int, error) {
	if err := i.ctx.Err(); err != nil {
		return 0, err
	}
	return i.r.Read(p)
}

func fileDigest(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
