//go:build !race

package orchestrator_test

import (
	"os"
	"path/filepath"
)

// spiffProgram is this very binary: TestMain makes it a Spiff child.
func spiffProgram() (path string, remove func(), err error) {
	path, err = filepath.Abs(os.Args[0])
	return path, func() {}, err
}
