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
		_, commands, _ := strings.Cut(examples, "\n\n")
		commands, _, _ = strings.Cut(commands, "Flags:\n")
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

// TestWrongWordsAreAnsweredWithTheRightOnes types what there is not, or too
// little of it.
func TestWrongWordsAreAnsweredWithTheRightOnes(t *testing.T) {
	self := spec.Self(t)
	for _, test := range []struct{ typed, says string }{
		{"creat-service", "there is no command \"creat-service\" of serviceforge; did you mean create-service? (`serviceforge --help` lists them)"},
		{"creat-service a b c --no-wait", "did you mean create-service?"},
		{"keys foo", "there is no command \"foo\" of serviceforge keys (`serviceforge keys --help` lists them)"},
		{"pools chek", "did you mean check?"},
		{"create-service etcd-dedicated", "create-service takes SERVICE PLAN NAME, and one was given (`serviceforge create-service --help` shows examples)"},
		{"services mine", "services takes no argument, and one was given"},
		{"validate", "validate takes DIR|FILE, and none was given"},
		{"dev --port 1", "unknown flag: --port (`serviceforge dev --help` shows the flags)"},
	} {
		out, errs, code := self.Run(t, strings.Fields(test.typed)...)
		result{test.typed, out, errs, code}.refused(t, test.says)
	}
}
