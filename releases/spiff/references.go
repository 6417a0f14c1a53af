package spiff

import (
	"bytes"
	"context"
	"reflect"
	"slices"
	"strings"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/releases/trees"
	"github.com/serviceforge/serviceforge/releases/yamldoc"
)

// OwnReferences refuses a body whose references are not all the documents' own:
// a value with a "(" may have become one with the "(" of a template, and name a
// variable of this deployment that nobody meant to show. Without any "(" in
// values the same references have to stand at the same places.
func (s *Renderer) OwnReferences(ctx context.Context, w Work, body []byte) error {
	plain, _ := harmless(w.Values).(map[string]any)
	if !bytes.Contains(body, []byte("((")) || reflect.DeepEqual(plain, w.Values) {
		return nil
	}
	w.Values = plain
	other, err := s.Produce(ctx, w)
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
	root, err := yamldoc.Parse("the manifest", manifest)
	if err != nil {
		return nil, err
	}
	tree, err := yamldoc.Value(root)
	if err != nil {
		return nil, serviceforge.Errorf(serviceforge.Invalid, "the manifest %s", err)
	}
	err = trees.Walk("", tree, func(path, text string) error {
		if strings.Contains(text, "((") {
			out = append(out, path+" "+text)
		}
		return nil
	})
	return out, err
}
