// Command child is the Spiff child of tests that run with the race detector,
// which makes every start of a child slow and finds nothing in it.
package main

import (
	"os"

	"github.com/serviceforge/serviceforge/releases/spiff"
)

func main() { os.Exit(spiff.Main(os.Args[2:])) }
