//go:build race

package spiff

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

func build() (path string, remove func(), err error) {
	dir, err := os.MkdirTemp("", "spiff")
	if err != nil {
		return "", nil, err
	}
	remove = func() { _ = os.RemoveAll(dir) }
	path = filepath.Join(dir, "spiff")
	build := exec.Command("go", "build", "-o", path, "github.com/serviceforge/serviceforge/spec/spiff/child")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", remove, fmt.Errorf("building the Spiff child: %w\n%s", err, out)
	}
	return path, remove, nil
}
