package spiff

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/serviceforge/serviceforge/releases/yamldoc"
)

// endless finds what of an expression can go on without an end, or grow without
// one: functions, which may call themselves, ranges, and templates.
var endless = regexp.MustCompile(`->|\.\.|&template|\(\(\s*\*`)

// whereabouts names the documents, each with the lines to look at where a child
// did not survive them: it cannot say how far it came.
func whereabouts(documents []Document) string {
	names := make([]string, len(documents))
	for i, d := range documents {
		names[i] = d.Name
		if lines := suspects(d); len(lines) > 0 {
			names[i] = fmt.Sprintf("%s (look at line %s)", d.Name, strings.Join(lines, ", "))
		}
	}
	return strings.Join(names, ", ")
}

func suspects(d Document) (lines []string) {
	root, err := yamldoc.Parse(d.Name, []byte(d.Data))
	if err != nil {
		return nil
	}
	_ = yamldoc.EachText(root, func(n *yaml.Node) error {
		if strings.HasPrefix(n.Value, "((") && endless.MatchString(n.Value) {
			lines = append(lines, fmt.Sprint(n.Line))
		}
		return nil
	})
	return slices.Compact(lines)
}
