package releases_test

import (
	"testing"

	"github.com/serviceforge/serviceforge/releases"
	"github.com/serviceforge/serviceforge/spec/spiff"
)

func TestMain(m *testing.M) { spiff.Main(m) }

// renderer returns a renderer that ends with the test.
func renderer(t testing.TB) *releases.Spiff {
	t.Helper()
	s := releases.NewSpiff(spiff.Program, []string{"SERVICEFORGE_STATE=" + t.TempDir()})
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}
