// Package unraced gives tests a program for their children that is built
// without the race detector: under it CRuby in WebAssembly takes minutes and
// every start of a child is slow, and there is nothing for it to find.
package unraced

import (
	"fmt"
	"os"
)

// Main is for TestMain: it sets program to what Program returns for a command,
// runs the tests, and ends with their code. It does not return.
func Main(command string, program *string, run func() int) {
	path, remove, err := Program(command)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	*program = path
	code := run()
	remove()
	os.Exit(code)
}
