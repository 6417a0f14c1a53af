// Package yamldoc reads YAML documents so that what is wrong in them can be told
// with its line and column.
package yamldoc

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/serviceforge/serviceforge"
)

// maxNodes bounds what a document becomes when its aliases are resolved.
const maxNodes = 100_000

// Parse reads one document. Errors: Invalid with the line.
func Parse(name string, text []byte) (root *yaml.Node, err error) {
	defer func() {
		if recover() != nil { // yaml.v3 panics on a few malformed documents
			err = serviceforge.Errorf(serviceforge.Invalid, "%s is not valid YAML", name)
		}
	}()
	var doc yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(text))
	if err := dec.Decode(&doc); err != nil {
		return nil, serviceforge.Errorf(serviceforge.Invalid, "%s: %s", name, Reason(err))
	}
	if dec.Decode(new(yaml.Node)) != io.EOF {
		return nil, serviceforge.Errorf(serviceforge.Invalid, "%s: more than one document", name)
	}
	if len(doc.Content) == 0 {
		return nil, serviceforge.Errorf(serviceforge.Invalid, "%s: it is empty", name)
	}
	return doc.Content[0], nil
}

// Value is the node as JSON would give it; a date is a text. Errors: with line
// and column, without the document's name.
func Value(n *yaml.Node) (any, error) { return resolved(n, new(int)) }

func resolved(n *yaml.Node, count *int) (any, error) {
	if *count++; *count > maxNodes {
		return nil, fmt.Errorf("line %d: too much", n.Line)
	}
	switch n.Kind {
	case yaml.AliasNode:
		return resolved(n.Alias, count)
	case yaml.SequenceNode:
		out := make([]any, len(n.Content))
		for i, item := range n.Content {
			var err error
			if out[i], err = resolved(item, count); err != nil {
				return nil, err
			}
		}
		return out, nil
	case yaml.MappingNode:
		out := make(map[string]any, len(n.Content)/2)
		for i := 0; i < len(n.Content); i += 2 {
			key := n.Content[i]
			if _, twice := out[key.Value]; twice || key.Kind != yaml.ScalarNode || key.ShortTag() != "!!str" && key.Value != "<<" {
				return nil, fmt.Errorf("line %d column %d: the key %.64q is not a text, or is there twice", key.Line, key.Column, key.Value)
			}
			var err error
			if out[key.Value], err = resolved(n.Content[i+1], count); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	if n.ShortTag() == "!!timestamp" {
		return n.Value, nil
	}
	var v any
	if err := n.Decode(&v); err != nil {
		return nil, fmt.Errorf("line %d column %d: the value cannot be read", n.Line, n.Column)
	}
	return v, nil
}

// goType matches what our own types add to the words of the YAML library.
var goType = regexp.MustCompile(` in type \S+| into \S*(?:releases|parameters|secrets)\.\S+`)

// Reason says in one line why a document could not be read or decoded.
func Reason(err error) string {
	if errors.Is(err, io.EOF) {
		return "it is empty"
	}
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	text = strings.ReplaceAll(strings.TrimPrefix(text, "unmarshal errors:\n"), "\n", ";")
	if strings.Contains(text, "cannot start any token") || strings.Contains(text, "tab character") {
		text += " (YAML is indented with spaces, not with tabs)"
	}
	return strings.TrimSpace(goType.ReplaceAllString(text, ""))
}

// EachText visits every text of a document once, keys too.
func EachText(n *yaml.Node, visit func(*yaml.Node) error) error {
	if n.Kind == yaml.ScalarNode {
		return visit(n)
	}
	for _, item := range n.Content {
		if err := EachText(item, visit); err != nil {
			return err
		}
	}
	return nil
}

// Below is the entry of a map or a list; nil = there is none.
func Below(n *yaml.Node, step string) *yaml.Node {
	for i, item := range n.Content {
		switch n.Kind {
		case yaml.MappingNode:
			if i%2 == 0 && item.Value == step {
				return n.Content[i+1]
			}
		case yaml.SequenceNode:
			if strconv.Itoa(i) == step {
				return item
			}
			if name := Below(item, "name"); item.Kind == yaml.MappingNode && name != nil && name.Value == step {
				return item
			}
		}
	}
	return nil
}

// Scalar is the text of an entry of a map, or "".
func Scalar(n *yaml.Node, key string) string {
	if n == nil {
		return ""
	}
	if value := Below(n, key); value != nil {
		return value.Value
	}
	return ""
}
