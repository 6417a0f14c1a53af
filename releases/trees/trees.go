// Package trees handles decoded documents: what came as JSON, what Spiff has
// rendered, and the YAML that directors read.
package trees

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/serviceforge/serviceforge"
)

// Walk calls visit for every string and key of a tree, in order.
func Walk(path string, v any, visit func(path, text string) error) error {
	switch v := v.(type) {
	case string:
		return visit(path, v)
	case []any:
		for i, item := range v {
			if err := Walk(path+"/"+strconv.Itoa(i), item, visit); err != nil {
				return err
			}
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if err := visit(path+"/?", key); err != nil {
				return err
			}
			if err := Walk(path+"/"+key, v[key], visit); err != nil {
				return err
			}
		}
	}
	return nil
}

// Texts lists the texts in a tree, without its keys.
func Texts(v any) (out []string) {
	switch v := v.(type) {
	case string:
		return []string{v}
	case map[string]any:
		for _, item := range v {
			out = append(out, Texts(item)...)
		}
	case []any:
		for _, item := range v {
			out = append(out, Texts(item)...)
		}
	}
	return out
}

// Leaf returns the text at a path of a tree.
func Leaf(tree map[string]any, path []string) (string, bool) {
	var v any = tree
	for _, key := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return "", false
		}
		v = m[key]
	}
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	}
	return "", false
}

// Map returns a tree of the same shape with what leaf makes of each leaf; names
// stay.
func Map(v any, leaf func(any) any) any {
	switch v := v.(type) {
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = Map(item, leaf)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, item := range v {
			out[name] = Map(item, leaf)
		}
		return out
	}
	return leaf(v)
}

// Substitute returns a tree with what put makes of each text.
func Substitute(v any, put *strings.Replacer) any {
	return Map(v, func(leaf any) any {
		if text, is := leaf.(string); is {
			return put.Replace(text)
		}
		return leaf
	})
}

// Object decodes a JSON object, with numbers as they are written; nothing and
// null are an empty one. Errors: Invalid.
func Object(text []byte) (map[string]any, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return map[string]any{}, nil
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	out := map[string]any{}
	if err := dec.Decode(&out); err != nil {
		return nil, serviceforge.Errorf(serviceforge.Invalid, "parameters must be a JSON object")
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, serviceforge.Errorf(serviceforge.Invalid, "parameters must be one JSON object")
	}
	return out, nil
}

// List makes a tree of texts.
func List(items []string) []any {
	out := make([]any, len(items))
	for i, item := range items {
		out[i] = item
	}
	return out
}

// Table makes a tree of named texts.
func Table(m map[string]string) map[string]any {
	out := make(map[string]any, len(m))
	for key, value := range m {
		out[key] = value
	}
	return out
}
