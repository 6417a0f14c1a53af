package parameters

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/serviceforge/serviceforge"
)

// draft04 is the draft of schemas that name none: the only one that every
// platform has to know (OSB "Input Parameters Schema Object").
const draft04 = "http://json-schema.org/draft-04/schema#"

// Schema is the JSON Schema of a call's parameters, ready to check them.
type Schema struct {
	Text     json.RawMessage // as platforms are told it
	check    *jsonschema.Schema
	names    []string       // of the properties, sorted
	defaults map[string]any // of the properties that have one
}

// newSchema compiles a document, read from YAML. Members that it does not name
// are refused, unless it says otherwise. Errors: Invalid.
func newSchema(what string, document map[string]any) (*Schema, error) {
	closed := maps.Clone(document)
	if closed == nil {
		closed = map[string]any{}
	}
	setDefault(closed, "$schema", draft04)
	setDefault(closed, "type", "object")
	if !slices.ContainsFunc([]string{"patternProperties", "unevaluatedProperties", "$ref"}, func(key string) bool { return closed[key] != nil }) {
		setDefault(closed, "additionalProperties", false)
	}
	text, err := json.Marshal(closed)
	if err != nil {
		return nil, serviceforge.Errorf(serviceforge.Invalid, "%s cannot be written as JSON", what)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	compiler.UseLoader(noLoader{})
	loaded, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err == nil {
		err = compiler.AddResource(schemaURL, loaded)
	}
	s := &Schema{Text: text, defaults: map[string]any{}}
	if err == nil {
		s.check, err = compiler.Compile(schemaURL)
	}
	if err != nil {
		return nil, serviceforge.Wrap(err, serviceforge.Invalid, "%s is not a JSON Schema: %s", what, schemaFault(err))
	}
	return s, s.takeProperties(what, compiler, loaded)
}

// schemaURL names a schema while it is compiled; nothing can be loaded from there.
const schemaURL = "schema:parameters"

// noLoader refuses references to other documents (OSB "Input Parameters Schema
// Object").
type noLoader struct{}

func (noLoader) Load(url string) (any, error) {
	return nil, serviceforge.Errorf(serviceforge.Invalid, "a reference to another document (%s) is not allowed", url)
}

// takeProperties notes names and defaults of the properties.
func (s *Schema) takeProperties(what string, compiler *jsonschema.Compiler, document any) error {
	root, _ := document.(map[string]any)
	properties, _ := root["properties"].(map[string]any)
	s.names = slices.Sorted(maps.Keys(properties))
	for _, name := range s.names {
		property, _ := properties[name].(map[string]any)
		value, given := property["default"]
		if !given {
			continue
		}
		of, err := compiler.Compile(schemaURL + "#/properties/" + pointer.Replace(name))
		if err == nil {
			err = of.Validate(value)
		}
		if err != nil {
			return serviceforge.Wrap(err, serviceforge.Invalid, "%s.%s: the default does not match", what, name)
		}
		s.defaults[name] = value
	}
	return nil
}

// pointer escapes a name for a JSON pointer in a URL's fragment (RFC 6901).
var pointer = strings.NewReplacer("~", "~0", "/", "~1", "%", "%25")

func setDefault(document map[string]any, key string, value any) {
	if _, given := document[key]; !given {
		document[key] = value
	}
}

// schemaFault words why a document is no schema.
func schemaFault(err error) string {
	text := strings.ReplaceAll(strings.TrimSpace(err.Error()), schemaURL, "")
	lines := strings.Split(text, "\n")
	return strings.TrimLeft(lines[len(lines)-1], "- ")
}

// keywords are those of JSON Schema, drafts 04 to 2020-12: a validator ignores
// any other word, and so would not see a typing error.
var keywords = words(`$anchor $comment $defs $dynamicAnchor $dynamicRef $id $ref $schema additionalItems
	additionalProperties allOf anyOf const contains contentEncoding contentMediaType contentSchema default
	definitions dependencies dependentRequired dependentSchemas deprecated description else enum examples
	exclusiveMaximum exclusiveMinimum format id if items maxContains maxItems maxLength maxProperties maximum
	minContains minItems minLength minProperties minimum multipleOf not oneOf pattern patternProperties
	prefixItems properties propertyNames readOnly required then title type unevaluatedItems
	unevaluatedProperties uniqueItems writeOnly`)

// tables are the keywords whose members are schemas under names of the author's.
var tables = words(`$defs definitions dependencies dependentSchemas patternProperties properties`)

// literal are the keywords whose values are no schemas.
var literal = words(`const default dependentRequired enum examples required type`)

func words(text string) map[string]bool {
	set := map[string]bool{}
	for _, word := range strings.Fields(text) {
		set[word] = true
	}
	return set
}

// refuseTypos refuses words that are no keywords, wherever a schema stands.
// Those that begin with x- are the author's own.
func refuseTypos(what string, v any) error {
	switch v := v.(type) {
	case []any:
		for i, item := range v {
			if err := refuseTypos(fmt.Sprintf("%s[%d]", what, i), item); err != nil {
				return err
			}
		}
	case map[string]any:
		for _, word := range slices.Sorted(maps.Keys(v)) {
			where := what + "." + word
			if !keywords[word] && !strings.HasPrefix(word, "x-") {
				return serviceforge.Errorf(serviceforge.Invalid, "%s is not a keyword of JSON Schema", where)
			}
			if literal[word] || strings.HasPrefix(word, "x-") {
				continue
			}
			members, isMap := v[word].(map[string]any)
			if !tables[word] || !isMap {
				if err := refuseTypos(where, v[word]); err != nil {
					return err
				}
				continue
			}
			for _, name := range slices.Sorted(maps.Keys(members)) {
				if err := refuseTypos(where+"."+name, members[name]); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
