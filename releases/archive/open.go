// Package archive reads the files of service releases: out of folders and packed
// ones, which nobody trusts, and as texts that fit into the store.
package archive

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/releases/tarball"
)

// What a packed service release may hold. Text has to fit into the store;
// tarballs of BOSH releases do not go there.
const (
	maxEntries = 2_000
	maxText    = 16 << 20     // bytes of all text files
	maxBOSH    = tarball.Max  // bytes of all that is below bosh/
	Sums       = "SHA256SUMS" // the file with the checksums of all others
)

// MaxFile is the largest text file of a release: it has to fit into the store.
const MaxFile = 256 << 10

// MaxPacked bounds a packed service release, in bytes.
const MaxPacked = maxText + maxBOSH + 1<<20

// Opened is a service release that was opened. Close it.
type Opened struct {
	fs.FS
	root *os.Root
	dir  string // to remove; "" = it was a folder
}

// Close removes what was unpacked.
func (o *Opened) Close() error {
	err := o.root.Close()
	if o.dir != "" {
		err = errors.Join(err, os.RemoveAll(o.dir))
	}
	if err != nil {
		return serviceforge.Wrap(err, serviceforge.Internal, "the opened release cannot be removed")
	}
	return nil
}

// Open opens a service release: a folder, or a packed one, which is unpacked
// into a folder of its own below scratch ("" = the system's). An archive may
// hold files and folders only, and its checksums have to fit. Errors: Invalid,
// NotFound, Internal.
func Open(ctx context.Context, name, scratch string) (*Opened, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, serviceforge.Wrap(err, serviceforge.NotFound, "%s is not there", name)
	}
	if info.IsDir() {
		root, err := os.OpenRoot(name)
		if err != nil {
			return nil, serviceforge.Wrap(err, serviceforge.Invalid, "%s cannot be opened", name)
		}
		return &Opened{FS: root.FS(), root: root}, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, serviceforge.Wrap(err, serviceforge.Invalid, "%s cannot be read", name)
	}
	defer f.Close()
	return Unpack(ctx, f, scratch)
}

// Unpack reads a packed service release. Errors: Invalid, Internal.
func Unpack(ctx context.Context, from io.Reader, scratch string) (*Opened, error) {
	dir, err := os.MkdirTemp(scratch, "serviceforge-release-")
	if err != nil {
		return nil, serviceforge.Wrap(err, serviceforge.Internal, "no folder to unpack into")
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, serviceforge.Wrap(err, serviceforge.Internal, "no folder to unpack into")
	}
	o := &Opened{FS: root.FS(), root: root, dir: dir}
	u := unpacker{root: root, digests: map[string]string{}}
	if err := u.all(tarball.Interrupted(ctx, from)); err != nil {
		return nil, errors.Join(err, o.Close())
	}
	return o, nil
}

type unpacker struct {
	root       *os.Root
	text, bosh int64             // bytes so far
	digests    map[string]string // by path
	sums       []byte
}

func (u *unpacker) all(from io.Reader) error {
	buffered := bufio.NewReader(from)
	zip, err := gzip.NewReader(buffered)
	if err != nil {
		return serviceforge.Wrap(err, serviceforge.Invalid, "this is no service release: it is not gzip")
	}
	zip.Multistream(false)
	in := tar.NewReader(zip)
	for {
		header, err := in.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return broken(err)
		}
		if err := u.one(in, header); err != nil {
			return err
		}
	}
	if err := u.end(zip, buffered); err != nil {
		return err
	}
	return u.check()
}

// end reads what is behind the last entry: the checksum of the whole, and
// nothing else.
func (u *unpacker) end(zip *gzip.Reader, behind *bufio.Reader) error {
	n, err := io.Copy(io.Discard, io.LimitReader(zip, 1<<20))
	if err != nil {
		return broken(err)
	}
	if _, err := behind.ReadByte(); n == 1<<20 || err != io.EOF {
		return serviceforge.Errorf(serviceforge.Invalid, "there is something behind the end of the archive")
	}
	return nil
}

func broken(err error) error {
	if serviceforge.CodeOf(err) == serviceforge.Invalid {
		return err
	}
	return serviceforge.Wrap(err, serviceforge.Invalid, "the archive is cut off or damaged")
}

func (u *unpacker) one(in io.Reader, header *tar.Header) error {
	name := strings.TrimPrefix(header.Name, "./")
	if header.Typeflag == tar.TypeDir {
		name = strings.TrimSuffix(name, "/")
	}
	switch {
	case name == "" || name == ".":
		return nil
	case !fs.ValidPath(name) || strings.ContainsAny(name, "\\\x00\n") || len(name) > 255:
		return serviceforge.Errorf(serviceforge.Invalid, "the archive holds %.64q, which is not a path inside the release", header.Name)
	case header.Typeflag == tar.TypeDir:
		return nil // made with the files in them
	case header.Typeflag != tar.TypeReg:
		return serviceforge.Errorf(serviceforge.Invalid, "%s is neither file nor folder", name)
	case u.digests[name] != "":
		return serviceforge.Errorf(serviceforge.Invalid, "the archive holds %s twice", name)
	case len(u.digests) == maxEntries:
		return serviceforge.Errorf(serviceforge.Invalid, "the archive holds more than %d files", maxEntries)
	}
	limit := int64(MaxFile)
	if strings.HasPrefix(name, "bosh/") {
		u.bosh += header.Size
		limit = maxBOSH
	} else {
		u.text += header.Size
	}
	if header.Size > limit || u.text > maxText || u.bosh > maxBOSH {
		return serviceforge.Errorf(serviceforge.Invalid, "%s is too large: texts may have 256 KiB each and 16 MiB together, BOSH releases 2 GiB", name)
	}
	return u.write(name, in, header.Size)
}

func (u *unpacker) write(name string, in io.Reader, size int64) error {
	if name == Sums {
		text, err := io.ReadAll(in)
		if err != nil {
			return broken(err)
		}
		u.sums, u.digests[name] = append([]byte{}, text...), "-"
		return nil
	}
	h := sha256.New()
	if err := u.root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return serviceforge.Wrap(err, serviceforge.Invalid, "%s cannot be unpacked: a file stands where a folder should be", name)
	}
	f, err := u.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return serviceforge.Wrap(err, serviceforge.Invalid, "%s cannot be unpacked", name)
	}
	n, err := io.Copy(io.MultiWriter(f, h), in)
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err != nil || n != size {
		return broken(err)
	}
	u.digests[name] = hex.EncodeToString(h.Sum(nil))
	return nil
}

// Check compares with SHA256SUMS, where the archive has one: as sha256sum
// writes it, with every file.
func (u *unpacker) check() error {
	if u.sums == nil {
		return nil
	}
	delete(u.digests, Sums)
	want := string(u.sums)
	if got := SumsOf(u.digests); got != want {
		for name, digest := range u.digests {
			if !strings.Contains(want, digest+"  "+name+"\n") {
				return serviceforge.Errorf(serviceforge.Invalid, "%s is not what %s says", name, Sums)
			}
		}
		return serviceforge.Errorf(serviceforge.Invalid, "%s names files that are not there", Sums)
	}
	return nil
}

// SumsOf is the text of Sums for digests by path.
func SumsOf(digests map[string]string) string {
	var out strings.Builder
	for _, name := range slices.Sorted(maps.Keys(digests)) {
		fmt.Fprintf(&out, "%s  %s\n", digests[name], name)
	}
	return out.String()
}

// ReadFile reads a text file of a service release. Errors: Invalid.
func ReadFile(files fs.FS, name string) (string, error) {
	if !fs.ValidPath(name) {
		return "", serviceforge.Errorf(serviceforge.Invalid, "%q is not a path inside the release", name)
	}
	info, err := fs.Stat(files, name)
	if err != nil {
		return "", serviceforge.Wrap(err, serviceforge.Invalid, "%s is missing", name)
	}
	if !info.Mode().IsRegular() || info.Size() > MaxFile {
		return "", serviceforge.Errorf(serviceforge.Invalid, "%s must be a file of at most 256 KiB", name)
	}
	text, err := fs.ReadFile(files, name)
	if err != nil {
		return "", serviceforge.Wrap(err, serviceforge.Invalid, "%s cannot be read", name)
	}
	return string(text), nil
}
