//go:build race

package director_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

// program is a binary without the race detector.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "children")
	if err != nil {
		return "", err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", err
	}
	path := filepath.Join(dir, "children")
	build := exec.Command("go", "build", "-o", path, "./children")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the children: %w\n%s", err, out)
	}
	cleanups = append(cleanups, func() { _ = os.RemoveAll(dir) })
	return path, nil
})
