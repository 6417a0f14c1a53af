package config

import (
	"bytes"
	"context"
	"crypto/sha256"
	"log/slog"
	"os"
	"time"

	"github.com/serviceforge/serviceforge"
)

// lookAgain is how often followed files are looked at.
const lookAgain = time.Second

// File is a setting that lives in files of its own and may change while the
// program runs: credentials, certificates, keys. (Files are looked at, not
// watched: what mounts secrets replaces folders by links.)
type File struct {
	Paths   []string
	Private bool // nobody but their owner may read them
	// Apply takes the contents, in the order of Paths. After an error what was
	// applied before stays in force.
	Apply func(contents [][]byte) error

	seen [sha256.Size]byte // of what Apply was last given
}

// Read reads and applies f for the first time. Errors: Unprocessable, and Apply's.
func (f *File) Read() error {
	_, err := f.read()
	return err
}

// read applies f if its contents are others than the last time.
func (f *File) read() (changed bool, err error) {
	contents := make([][]byte, len(f.Paths))
	for i, path := range f.Paths {
		if contents[i], err = os.ReadFile(path); err != nil {
			return false, serviceforge.Wrap(err, serviceforge.Unprocessable, "the file %s cannot be read", path)
		}
		if info, err := os.Stat(path); f.Private && err == nil && info.Mode().Perm()&0o077 != 0 {
			return false, serviceforge.Errorf(serviceforge.Unprocessable, "the file %s can be read by others: run chmod 600 on it", path)
		}
	}
	sum := sha256.Sum256(bytes.Join(contents, []byte{0}))
	if sum == f.seen {
		return false, nil
	}
	f.seen = sum
	return true, f.Apply(contents)
}

// Follow applies changes of files until ctx ends. What is wrong with a file is
// logged once; what it said before stays in force.
func Follow(ctx context.Context, log *slog.Logger, files ...*File) {
	said := make([]string, len(files))
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for i, f := range files {
			changed, err := f.read()
			switch {
			case err == nil && changed:
				log.Info("a file has changed and is in force", "files", f.Paths)
				said[i] = ""
			case err != nil && said[i] != err.Error():
				log.Error("a file has changed and is not in force", "files", f.Paths, "error", serviceforge.DetailOf(err))
				said[i] = err.Error()
			}
		}
	}
}
