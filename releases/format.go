package releases

import (
	"bytes"
	_ "embed"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
	"gopkg.in/yaml.v3"
)

// Schema is the JSON Schema of service.yml, format 1, with a description of
// every key.
//
//go:embed service.schema.json
var Schema []byte

// maxNodes bounds what a document becomes when its aliases are resolved.
const maxNodes = 100_000

var serviceSchema = sync.OnceValues(func() (*jsonschema.Schema, error) {
	return compileSchema("service.schema.json", Schema)
})

func compileSchema(name string, text []byte) (*jsonschema.Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource(name, doc); err != nil {
		return nil, err
	}
	return c.Compile(name)
}

// checkFormat checks service.yml against Schema. Errors: Invalid, with line and
// column of the first thing that is wrong.
func checkFormat(name string, text []byte) error {
	root, err := parseYAML(name, text)
	if err != nil {
		return err
	}
	value, err := valueOf(root, new(int))
	if err != nil {
		return invalid("%s %s", name, err)
	}
	schema, err := serviceSchema()
	if err != nil {
		panic(err) // ours, and a test compiles it
	}
	failed, ok := schema.Validate(value).(*jsonschema.ValidationError)
	if !ok {
		return nil
	}
	first, words := firstFault(root, failed)
	return invalid("%s line %d column %d: %s", name, first.line, first.column, words)
}

func firstFault(root *yaml.Node, failed *jsonschema.ValidationError) (position, string) {
	first, words := position{line: 1 << 30}, ""
	for _, e := range ends(failed) {
		if at, what := describe(root, e); at.before(first) {
			first, words = at, what
		}
	}
	return first, words
}

// parseYAML reads one document. Errors: Invalid with the line.
func parseYAML(name string, text []byte) (root *yaml.Node, err error) {
	defer func() {
		if recover() != nil { // yaml.v3 panics on a few malformed documents
			err = invalid("%s is not valid YAML", name)
		}
	}()
	var doc yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(text))
	if err := dec.Decode(&doc); err != nil {
		return nil, invalid("%s: %s", name, yamlReason(err))
	}
	if dec.Decode(new(yaml.Node)) != io.EOF {
		return nil, invalid("%s: more than one document", name)
	}
	if len(doc.Content) == 0 {
		return nil, invalid("%s: it is empty", name)
	}
	return doc.Content[0], nil
}

// valueOf is the node as JSON would give it; a date is a text.
func valueOf(n *yaml.Node, count *int) (any, error) {
	if *count++; *count > maxNodes {
		return nil, fmt.Errorf("line %d: too much", n.Line)
	}
	switch n.Kind {
	case yaml.AliasNode:
		return valueOf(n.Alias, count)
	case yaml.SequenceNode:
		out := make([]any, len(n.Content))
		for i, item := range n.Content {
			var err error
			if out[i], err = valueOf(item, count); err != nil {
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
			if out[key.Value], err = valueOf(n.Content[i+1], count); err != nil {
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

// ends are what is wrong, without what only sums it up.
func ends(e *jsonschema.ValidationError) (out []*jsonschema.ValidationError) {
	if len(e.Causes) == 0 {
		return []*jsonschema.ValidationError{e}
	}
	for _, cause := range e.Causes {
		out = append(out, ends(cause)...)
	}
	return out
}

type position struct{ line, column int }

func (p position) before(q position) bool {
	return p.line < q.line || p.line == q.line && p.column < q.column
}

var english = message.NewPrinter(language.English)

// describe says where and what one fault is.
func describe(root *yaml.Node, e *jsonschema.ValidationError) (position, string) {
	n := at(root, e.InstanceLocation)
	where := strings.Join(e.InstanceLocation, ".")
	if unknown, ok := e.ErrorKind.(*kind.AdditionalProperties); ok {
		first, name := position{line: 1 << 30}, ""
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			if p := (position{key.Line, key.Column}); slices.Contains(unknown.Properties, key.Value) && p.before(first) {
				first, name = p, key.Value
			}
		}
		if where != "" {
			where = " in " + where
		}
		return first, fmt.Sprintf("the key %q is not known%s", name, where)
	}
	if where != "" {
		where += ": "
	}
	return position{n.Line, n.Column}, where + e.ErrorKind.LocalizedString(english)
}

// at finds the node at a path, or the last one on the way.
func at(n *yaml.Node, path []string) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if len(path) == 0 {
		return n
	}
	for i, item := range n.Content {
		switch {
		case n.Kind == yaml.SequenceNode && itoa(i) == path[0]:
			return at(item, path[1:])
		case n.Kind == yaml.MappingNode && i%2 == 0 && item.Value == path[0]:
			return at(n.Content[i+1], path[1:])
		}
	}
	return n
}
