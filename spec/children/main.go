// Command children is what the local director's children run when tests run
// under the race detector (spec/unraced).
package main

import (
	"os"

	"github.com/serviceforge/serviceforge/localbosh/render"
	"github.com/serviceforge/serviceforge/localbosh/vm"
)

func main() {
	table := map[string]func([]string) int{
		"__vm": vm.SupervisorMain, "__sandbox": vm.SandboxMain, "__chpst": vm.ChpstMain, "__erb": render.ErbMain,
	}
	if len(os.Args) > 1 && table[os.Args[1]] != nil {
		os.Exit(table[os.Args[1]](os.Args[2:]))
	}
	os.Exit(2)
}
