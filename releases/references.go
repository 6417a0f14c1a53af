package releases

import (
	"bytes"
	"context"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/serviceforge/serviceforge"
)

var reference = regexp.MustCompile(`\(\(!?([A-Za-z0-9_][A-Za-z0-9_-]*)(\.[A-Za-z0-9_.-]+)?\)\)`)

// references is what a manifest may leave to the director.
type references struct {
	known   []string        // by the director itself
	texts   map[string]bool // whole texts of the documents that hold references
	written string          // a manifest with ((vars)), of which parts may have been filled
}

func (s *service) references(documents []document) references {
	r := references{known: s.known, texts: map[string]bool{}, written: s.manifest}
	for _, d := range documents {
		if !strings.Contains(d.Data, "((") {
			continue
		}
		if root, err := parseYAML(d.Name, []byte(d.Data)); err == nil {
			_ = eachText(root, func(n *yaml.Node) error {
				r.texts[strings.ReplaceAll(n.Value, "((!", "((")] = true
				return nil
			})
		}
	}
	return r
}

// check walks the finished manifest: a director with a config server replaces
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
	return walk("", tree, func(path, text string) error {
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

// ownReferences refuses a body whose references are not all the documents' own:
// a value with a "(" may have become one with the "(" of a template, and name a
// variable of this deployment that nobody meant to show. Without any "(" in
// values the same references have to stand at the same places.
func (s *Spiff) ownReferences(ctx context.Context, w work, body []byte) error {
	plain, _ := harmless(w.sf).(map[string]any)
	if !bytes.Contains(body, []byte("((")) || reflect.DeepEqual(plain, w.sf) {
		return nil
	}
	w.sf = plain
	other, err := s.produce(ctx, w)
	if err != nil {
		return err
	}
	want, err := referencesIn(other)
	if err != nil {
		return err
	}
	if got, err := referencesIn(body); err != nil || !slices.Equal(got, want) {
		return serviceforge.Wrap(err, serviceforge.Unprocessable, "a value of the instance became a reference in the manifest")
	}
	return nil
}

// harmless is v without "(" in its texts.
func harmless(v any) any {
	switch v := v.(type) {
	case string:
		return strings.ReplaceAll(v, "(", "[")
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = harmless(item)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, item := range v {
			out[strings.ReplaceAll(key, "(", "[")] = harmless(item)
		}
		return out
	}
	return v
}

// referencesIn lists the texts with references, and where they are.
func referencesIn(manifest []byte) (out []string, err error) {
	root, err := parseYAML("the manifest", manifest)
	if err != nil {
		return nil, err
	}
	tree, err := valueOf(root, new(int))
	if err != nil {
		return nil, invalid("the manifest %s", err)
	}
	err = walk("", tree, func(path, text string) error {
		if strings.Contains(text, "((") {
			out = append(out, path+" "+text)
		}
		return nil
	})
	return out, err
}
