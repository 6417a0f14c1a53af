// Package osb_test is the black-box conformance table: the real program, the
// real engine, director and services, spoken to over HTTP as a platform does.
// Rows name the lines of checklist.md.
package osb_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	_ "github.com/serviceforge/serviceforge/cmd" // so that a change of the program runs these again
)

// program is the path of the built program.
var program string

func TestMain(m *testing.M) {
	if err := build(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// build builds the program into a folder that all specs share; go build does
// nothing when it is up to date.
func build() error {
	cache, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	program = filepath.Join(cache, "serviceforge-spec", "serviceforge")
	command := exec.Command("go", "build", "-o", program, "github.com/serviceforge/serviceforge/cmd/serviceforge")
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("building the program: %w\n%s", err, out)
	}
	return nil
}
