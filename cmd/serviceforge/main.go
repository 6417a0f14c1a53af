// Command serviceforge is an on-demand service broker backed by BOSH.
package main

import (
	"os"

	"github.com/serviceforge/serviceforge/cmd"
)

func main() { os.Exit(cmd.Main(os.Args, os.Stdout, os.Stderr)) }
