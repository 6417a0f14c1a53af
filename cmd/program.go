package cmd

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"

	"github.com/serviceforge/serviceforge"
)

// installedProgram is a copy of the running program that outlives it: `go run`
// deletes its binary, an upgrade replaces it, but supervisors go on.
type installedProgram struct {
	Path   string
	SHA256 string // hex
}

// installProgram copies the running program to <state>/bin/<sha256>/serviceforge,
// unless it is there.
func installProgram(state string) (installedProgram, error) {
	failed := func(err error) (installedProgram, error) {
		return installedProgram{}, serviceforge.Wrap(err, serviceforge.Unprocessable, "the program cannot be installed into %s: %v", state, err)
	}
	self, err := os.Open("/proc/self/exe") // also when its file was deleted
	if err != nil {
		return failed(err)
	}
	defer func() { _ = self.Close() }()
	hash := sha256.New()
	if _, err := io.Copy(hash, self); err != nil {
		return failed(err)
	}
	sum := hex.EncodeToString(hash.Sum(nil))
	dir := filepath.Join(state, "bin", sum)
	target := filepath.Join(dir, "serviceforge")
	if _, err := os.Stat(target); err == nil {
		return installedProgram{target, sum}, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return failed(err)
	}
	if err := copyProgram(self, dir, target); err != nil {
		return failed(err)
	}
	return installedProgram{target, sum}, nil
}

// copyProgram copies completely or not at all. It does not link: the source may
// be rewritten in place by a compiler.
func copyProgram(self *os.File, dir, target string) error {
	if _, err := self.Seek(0, io.SeekStart); err != nil {
		return err
	}
	temporary, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temporary.Name()) }()
	if _, err := io.Copy(temporary, self); err != nil {
		_ = temporary.Close()
		return err
	}
	if err := temporary.Chmod(0o755); err != nil {
		_ = temporary.Close()
		return err
	}
	if err := temporary.Close(); err != nil {
		return err
	}
	return os.Rename(temporary.Name(), target)
}
