// Package need says loudly what a machine lacks for a test.
package need

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Skip says that something is missing on this machine and was not tested; under
// SERVICEFORGE_REQUIRE=all (CI) that is a failure.
func Skip(t testing.TB, missing string) {
	t.Helper()
	if os.Getenv("SERVICEFORGE_REQUIRE") == "all" {
		t.Fatal("NOT TESTED: " + missing)
	}
	_, _ = fmt.Fprintf(os.Stderr, "SKIP %s: %s\n", t.Name(), missing)
	t.Skip("SKIP: " + missing)
}

// Program returns the path of a program of a Debian package, the newest that
// pattern finds, or skips the test.
func Program(t testing.TB, pattern, debian string) string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	if len(found) == 0 {
		Skip(t, "there is no "+pattern+" (apt-get install "+debian+")")
	}
	path, err := exec.LookPath(found[len(found)-1])
	if err != nil {
		t.Fatal(err)
	}
	return path
}
