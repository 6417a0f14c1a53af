package releases

import (
	"io/fs"

	"github.com/serviceforge/serviceforge/releases/archive"
)

// ReadTexts loads a service release and returns the texts it consists of: those
// that Load reads, and README.md. Errors: Invalid.
func ReadTexts(files fs.FS) (*Release, archive.Texts, error) {
	seen := &reading{FS: files, texts: archive.Texts{}}
	r, err := Load(seen)
	if err != nil {
		return nil, nil, err
	}
	if _, err := fs.Stat(files, "README.md"); err == nil {
		if _, err := archive.ReadFile(seen, "README.md"); err != nil {
			return nil, nil, err
		}
	}
	return r, seen.texts, nil
}

// reading keeps what is read through it.
type reading struct {
	fs.FS
	texts archive.Texts
}

// ReadFile reads a file and keeps it.
func (r *reading) ReadFile(name string) ([]byte, error) {
	text, err := fs.ReadFile(r.FS, name)
	if err == nil {
		r.texts[name] = text
	}
	return text, err
}
