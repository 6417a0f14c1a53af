// Package spiff gives tests that render in-process a Spiff child: the test
// binary itself, or, under the race detector, a program built without it.
package spiff

import (
	"fmt"
	"os"
	"testing"

	"github.com/serviceforge/serviceforge/releases/spiff"
	"github.com/serviceforge/serviceforge/spec/unraced"
)

// Program is what runs as a Spiff child; Main sets it.
var Program string

// Renderer is one that tests share which do not look at its children: what was
// rendered once is a compiled plan from then on. Main makes and closes it.
var Renderer *spiff.Renderer

// Main is for TestMain: it is a child itself where it was started as one, else
// it runs the tests. It does not return.
func Main(m interface{ Run() int }) {
	if len(os.Args) > 1 && os.Args[1] == "__spiff" {
		os.Exit(spiff.Main(os.Args[2:]))
	}
	unraced.Main("github.com/serviceforge/serviceforge/spec/spiff/child", &Program, func() int {
		Renderer = spiff.New(Program, nil)
		code := m.Run()
		if err := Renderer.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
		return code
	})
}

// New returns a renderer of the test's own, which ends with it.
func New(t testing.TB) *spiff.Renderer {
	t.Helper()
	s := spiff.New(Program, []string{"SERVICEFORGE_STATE=" + t.TempDir()})
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}
