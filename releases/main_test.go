package releases_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/serviceforge/serviceforge/releases"
)

// TestMain makes the test binary its own `__spiff` child, as the program does.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "__spiff" {
		os.Exit(releases.SpiffMain(os.Args[2:]))
	}
	os.Exit(m.Run())
}

// renderer returns a renderer that ends with the test.
func renderer(t testing.TB) *releases.Spiff {
	t.Helper()
	program, err := filepath.Abs(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	s := releases.NewSpiff(program, []string{"SERVICEFORGE_STATE=" + t.TempDir()})
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}
