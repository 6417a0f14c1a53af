package releases

import (
	"regexp"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/releases/spiff"
	"github.com/serviceforge/serviceforge/releases/trees"
	"github.com/serviceforge/serviceforge/releases/yamldoc"
)

var reference = regexp.MustCompile(`\(\(!?([A-Za-z0-9_][A-Za-z0-9_-]*)(\.[A-Za-z0-9_.-]+)?\)\)`)

// references is what a manifest may leave to the director.
type references struct {
	known   []string        // by the director itself
	texts   map[string]bool // whole texts of the documents that hold references
	written string          // a manifest with ((vars)), of which parts may have been filled
}

func (s *service) references(documents []spiff.Document) references {
	r := references{known: s.known, texts: map[string]bool{}, written: s.manifest}
	for _, d := range documents {
		if !strings.Contains(d.Data, "((") {
			continue
		}
		if root, err := yamldoc.Parse(d.Name, []byte(d.Data)); err == nil {
			_ = yamldoc.EachText(root, func(n *yaml.Node) error {
				r.texts[strings.ReplaceAll(n.Value, "((!", "((")] = true
				return nil
			})
		}
	}
	return r
}

// Check walks the finished manifest: a director with a config server replaces
// ((name)) anywhere in it, also by another deployment's secret. Only names that
// are declared in its own `variables:`, or listed in director_variables, may
// appear; and only in texts that a document holds just so, none that was put
// together.
func (r references) check(tree map[string]any) error {
	declared := make(map[string]bool)
	for _, name := range r.known {
		declared[name] = true
	}
	variables, _ := tree["variables"].([]any)
	for _, v := range variables {
		if m, ok := v.(map[string]any); ok {
			if name, ok := m["name"].(string); ok {
				declared[name] = true
			}
		}
	}
	return trees.Walk("", tree, func(path, text string) error {
		if !strings.Contains(text, "((") || r.fine(text, declared) {
			return nil
		}
		return serviceforge.Errorf(serviceforge.Unprocessable,
			`the manifest holds a reference at %s that is not in its variables`, path)
	})
}

func (r references) fine(text string, declared map[string]bool) bool {
	if r.written == "" && !r.texts[text] {
		return false
	}
	for _, m := range reference.FindAllStringSubmatch(text, -1) {
		if !declared[m[1]] || r.written != "" && !strings.Contains(r.written, m[0]) {
			return false
		}
	}
	return !strings.Contains(reference.ReplaceAllString(text, ""), "((")
}
