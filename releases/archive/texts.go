package archive

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"io/fs"
	"path"
	"time"
)

// Texts are the files of a service release that are not BOSH releases, by their
// paths: all that Load needs. As an fs.FS they can be loaded again.
type Texts map[string][]byte

// Digest is the SHA-256 of the texts with their paths, in hex.
func (t Texts) Digest() string {
	digests := make(map[string]string, len(t))
	for name, text := range t {
		sum := sha256.Sum256(text)
		digests[name] = hex.EncodeToString(sum[:])
	}
	sum := sha256.Sum256([]byte(SumsOf(digests)))
	return hex.EncodeToString(sum[:])
}

// Open opens a text; there are no folders.
func (t Texts) Open(name string) (fs.File, error) {
	text, ok := t[name]
	if !ok || !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &textFile{Reader: bytes.NewReader(text), name: path.Base(name), size: int64(len(text))}, nil
}

// textFile is an open text, and what fs.FileInfo says of it.
type textFile struct {
	io.Reader
	name string
	size int64
}

func (f *textFile) Stat() (fs.FileInfo, error) { return f, nil }
func (f *textFile) Close() error               { return nil }
func (f *textFile) Name() string               { return f.name }
func (f *textFile) Size() int64                { return f.size }
func (f *textFile) Mode() fs.FileMode          { return 0o444 }
func (f *textFile) ModTime() time.Time         { return time.Time{} }
func (f *textFile) IsDir() bool                { return false }
func (f *textFile) Sys() any                   { return nil }
