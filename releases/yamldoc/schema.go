package yamldoc

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
	"gopkg.in/yaml.v3"
)

// Schema is a JSON Schema that documents are checked against.
type Schema struct{ compiled *jsonschema.Schema }

// Fault is what is wrong at a place of a document.
type Fault struct {
	Line, Column int
	Words        string
}

func (f Fault) before(g Fault) bool {
	return f.Line < g.Line || f.Line == g.Line && f.Column < g.Column
}

// CompileSchema reads a JSON Schema; name is for its errors.
func CompileSchema(name string, text []byte) (*Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource(name, doc); err != nil {
		return nil, err
	}
	compiled, err := c.Compile(name)
	return &Schema{compiled}, err
}

// Check returns the first thing that is wrong with a document; nil = nothing is.
// Errors: the document is no value, with line and column.
func (s *Schema) Check(root *yaml.Node) (*Fault, error) {
	value, err := Value(root)
	if err != nil {
		return nil, err
	}
	failed, ok := s.compiled.Validate(value).(*jsonschema.ValidationError)
	if !ok {
		return nil, nil
	}
	first := Fault{Line: 1 << 30}
	for _, e := range ends(failed) {
		if f := describe(root, e); f.before(first) {
			first = f
		}
	}
	return &first, nil
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

var english = message.NewPrinter(language.English)

// describe says where and what one fault is.
func describe(root *yaml.Node, e *jsonschema.ValidationError) Fault {
	n := at(root, e.InstanceLocation)
	where := strings.Join(e.InstanceLocation, ".")
	if unknown, ok := e.ErrorKind.(*kind.AdditionalProperties); ok {
		first := Fault{Line: 1 << 30}
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			if f := (Fault{key.Line, key.Column, key.Value}); slices.Contains(unknown.Properties, key.Value) && f.before(first) {
				first = f
			}
		}
		if where != "" {
			where = " in " + where
		}
		first.Words = fmt.Sprintf("the key %q is not known%s", first.Words, where)
		return first
	}
	if where != "" {
		where += ": "
	}
	return Fault{n.Line, n.Column, where + e.ErrorKind.LocalizedString(english)}
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
		case n.Kind == yaml.SequenceNode && strconv.Itoa(i) == path[0]:
			return at(item, path[1:])
		case n.Kind == yaml.MappingNode && i%2 == 0 && item.Value == path[0]:
			return at(n.Content[i+1], path[1:])
		}
	}
	return n
}
