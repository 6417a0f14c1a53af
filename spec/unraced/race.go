//go:build race

package unraced

import (
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
)

// On says that the tests themselves run under the race detector.
const On = true

// Program returns the path of the test binary itself, or, under the race
// detector, of the command at an import path, built without it. Who calls it
// removes that in the end.
func Program(command string) (program string, remove func(), err error) {
	dir, err := os.MkdirTemp("", "unraced")
	if err != nil {
		return "", nil, err
	}
	remove = func() { _ = os.RemoveAll(dir) }
	if err := os.Chmod(dir, 0o755); err != nil { // children may run as somebody else
		remove()
		return "", nil, err
	}
	program = filepath.Join(dir, path.Base(command))
	build := exec.Command("go", "build", "-o", program, command)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		remove()
		return "", nil, fmt.Errorf("building %s: %w\n%s", command, err, out)
	}
	return program, remove, nil
}
