//go:build !race

package director_test

import (
	"os"
	"path/filepath"
)

// program is this very binary.
func program() (string, error) { return filepath.Abs(os.Args[0]) }
