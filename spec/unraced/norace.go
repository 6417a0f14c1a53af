//go:build !race

package unraced

import (
	"os"
	"path/filepath"
)

// On says that the tests themselves run under the race detector.
const On = false

// Program returns the path of the test binary itself, or, under the race
// detector, of the command at an import path, built without it. Who calls it
// removes that in the end.
func Program(string) (path string, remove func(), err error) {
	path, err = filepath.Abs(os.Args[0])
	return path, func() {}, err
}
