package releases_test

import (
	"testing"

	"github.com/serviceforge/serviceforge/releases/spiff"
	children "github.com/serviceforge/serviceforge/spec/spiff"
)

func TestMain(m *testing.M) { children.Main(m) }

// renderer returns a renderer that ends with the test.
func renderer(t testing.TB) *spiff.Renderer { return children.New(t) }

// uncompiled returns one that has Spiff render every time.
func uncompiled(t testing.TB) *spiff.Renderer {
	t.Helper()
	s := renderer(t).Uncompiled()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}
