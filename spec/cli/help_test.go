package cli_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge/spec"
)

// TestHelpHasExamples asks every command that the help lists for its own.
func TestHelpHasExamples(t *testing.T) {
	self := spec.Self(t)
	var look func(path ...string)
	seen := map[string]bool{}
	look = func(path ...string) {
		out, errs, code := self.Run(t, append(path, "--help")...)
		r := result{"serviceforge " + strings.Join(path, " "), out, errs, code}
		r.plain(t)
		r.succeeds(t, "Usage:")
		_, examples, found := strings.Cut(out, "Examples:\n")
		if example, _, _ := strings.Cut(examples, "\n\n"); !found || !strings.Contains(example, "serviceforge "+strings.Join(path, " ")) {
			t.Errorf("%s --help has no example:\n%s", r.line, out)
		}
		_, commands, _ := strings.Cut(out, "Available Commands:\n")
		commands, _, _ = strings.Cut(commands, "\n\n")
		for _, name := range regexp.MustCompile(`(?m)^  (\S+) `).FindAllStringSubmatch(commands, -1) {
			if name[1] != "help" { // cobra's own
				seen[name[1]] = true
				look(append(path, name[1])...)
			}
		}
	}
	look()
	for name := range strings.FieldsSeq("dev demo serve env package validate render diff convert generate catalog create-service services service bind unbind delete-service") {
		if !seen[name] {
			t.Errorf("the help does not list %s", name)
		}
	}
}
