package releases

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/catalog"
)

// parameter is one parameter that a developer may set at create: a small part
// of JSON Schema.
type parameter struct {
	Type        string   `yaml:"type"` // string, integer, number or boolean
	Description string   `yaml:"description"`
	Default     any      `yaml:"default"`
	Enum        []any    `yaml:"enum"`
	Pattern     string   `yaml:"pattern"` // RE2, searched as JSON Schema does: anchor it
	MaxLength   *int     `yaml:"maxLength"`
	Minimum     *float64 `yaml:"minimum"`
	Maximum     *float64 `yaml:"maximum"`
}

const draft04 = "http://json-schema.org/draft-04/schema#"

// noParameters is the schema of a call that takes none.
var noParameters = json.RawMessage(`{"$schema":"` + draft04 + `","additionalProperties":false,"properties":{},"type":"object"}`)

func checkParameters(what string, specs map[string]parameter) error {
	for name, p := range specs {
		if err := p.checkSpec(); err != nil {
			return invalid("%s.%s: %s", what, name, err)
		}
	}
	return nil
}

func (p parameter) checkSpec() error {
	switch p.Type {
	case "string":
		if p.Enum == nil && p.Pattern == "" && p.MaxLength == nil {
			return fmt.Errorf("a string needs pattern, enum or maxLength")
		}
	case "integer", "number", "boolean":
	default:
		return fmt.Errorf("type must be string, integer, number or boolean")
	}
	if _, err := regexp.Compile(p.Pattern); err != nil {
		return fmt.Errorf("pattern: %w", err)
	}
	if p.Default == nil {
		return nil
	}
	def, err := plain(p.Default)
	if err != nil {
		return err
	}
	if complaint := p.complain(def); complaint != "" {
		return fmt.Errorf("the default %s", complaint)
	}
	return nil
}

// CheckParameters checks what the platform sent (a JSON object or nothing)
// against the plan's schema, in memory. Errors: Invalid.
func (r *Release) CheckParameters(p catalog.Plan, params json.RawMessage) error {
	for _, s := range r.services {
		if found := s.plans[p.ID]; found != nil {
			given, err := objectOf(params)
			if err != nil {
				return err
			}
			return found.check(given)
		}
	}
	return invalid("unknown plan %q", p.ID)
}

func (p *plan) check(given map[string]any) error {
	if err := RefuseReferences("parameter", given); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		spec, ok := p.parameters[name]
		if !ok {
			return invalid("parameter %.64q is not known%s", name, p.allowed())
		}
		if complaint := spec.complain(given[name]); complaint != "" {
			return invalid("parameter %s %s", name, complaint)
		}
	}
	return nil
}

func (p *plan) allowed() string {
	if len(p.parameters) == 0 {
		return "; this plan takes none"
	}
	return "; allowed: " + strings.Join(slices.Sorted(maps.Keys(p.parameters)), ", ")
}

// complain says what is wrong with a value, or "". It never repeats the value.
func (p parameter) complain(v any) string {
	switch v := v.(type) {
	case string:
		return p.complainText(v)
	case bool:
		if p.Type != "boolean" {
			return "must be of type " + p.Type
		}
	case json.Number:
		return p.complainNumber(v)
	default:
		return "must be of type " + p.Type
	}
	return ""
}

func (p parameter) complainText(v string) string {
	switch {
	case p.Type != "string":
		return "must be of type " + p.Type
	case p.Enum != nil && !slices.Contains(p.Enum, any(v)):
		return fmt.Sprintf("must be one of %v", p.Enum)
	case p.MaxLength != nil && utf8.RuneCountInString(v) > *p.MaxLength:
		return fmt.Sprintf("must not be longer than %d characters", *p.MaxLength)
	case p.Pattern != "" && !regexp.MustCompile(p.Pattern).MatchString(v):
		return "must match " + p.Pattern
	case strings.ContainsFunc(v, func(r rune) bool { return r < 0x20 || r == 0x7f }):
		return "must not hold control characters"
	}
	return ""
}

func (p parameter) complainNumber(v json.Number) string {
	if p.Type != "integer" && p.Type != "number" {
		return "must be of type " + p.Type
	}
	if len(v) > 32 {
		return "has too many digits"
	}
	f, _, err := big.ParseFloat(v.String(), 10, 128, big.ToNearestEven)
	if err != nil {
		return "must be a number"
	}
	if _, err := v.Int64(); p.Type == "integer" && err != nil {
		return "must be an integer of at most 64 bits"
	}
	switch {
	case p.Minimum != nil && f.Cmp(big.NewFloat(*p.Minimum)) < 0:
		return fmt.Sprintf("must be at least %s", number(*p.Minimum))
	case p.Maximum != nil && f.Cmp(big.NewFloat(*p.Maximum)) > 0:
		return fmt.Sprintf("must be at most %s", number(*p.Maximum))
	case p.Enum != nil && !slices.ContainsFunc(p.Enum, func(e any) bool { return fmt.Sprint(e) == v.String() }):
		return fmt.Sprintf("must be one of %v", p.Enum)
	}
	return ""
}

// filled returns the given parameters with the plan's defaults.
func (p *plan) filled(given map[string]any) (map[string]any, error) {
	out := make(map[string]any, len(p.parameters))
	for name, spec := range p.parameters {
		v, err := plain(spec.Default)
		if err != nil {
			return nil, err
		}
		out[name] = v
	}
	maps.Copy(out, given)
	return out, nil
}

// schemaOf writes parameters as a JSON Schema draft-04 document.
func schemaOf(specs map[string]parameter) (json.RawMessage, error) {
	properties := make(map[string]any, len(specs))
	for name, p := range specs {
		property := map[string]any{"type": p.Type}
		for key, value := range map[string]any{"description": p.Description, "pattern": p.Pattern} {
			if value != "" {
				property[key] = value
			}
		}
		if p.Default != nil {
			property["default"] = p.Default
		}
		if p.Enum != nil {
			property["enum"] = p.Enum
		}
		if p.MaxLength != nil {
			property["maxLength"] = *p.MaxLength
		}
		if p.Minimum != nil {
			property["minimum"] = json.Number(number(*p.Minimum))
		}
		if p.Maximum != nil {
			property["maximum"] = json.Number(number(*p.Maximum))
		}
		properties[name] = property
	}
	text, err := json.Marshal(map[string]any{
		"$schema": draft04, "type": "object", "additionalProperties": false, "properties": properties,
	})
	if err != nil {
		return nil, invalid("parameters cannot be written as a JSON Schema")
	}
	return text, nil
}

// RefuseReferences refuses any string in v (decoded JSON) that holds "((":
// Spiff or a director would evaluate it. what names v in the message, e.g.
// "parameter". Errors: Invalid, as in `parameter prefix: "((" is not allowed`.
func RefuseReferences(what string, v any) error {
	return refuse(what, " ", v)
}

func refuse(where, separator string, v any) error {
	switch v := v.(type) {
	case string:
		if strings.Contains(v, "((") {
			return invalid(`%s: "((" is not allowed`, where)
		}
	case []any:
		for _, item := range v {
			if err := refuse(where, ".", item); err != nil {
				return err
			}
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if strings.Contains(key, "((") {
				return invalid(`%s: "((" is not allowed in a name`, where)
			}
			if err := refuse(where+separator+fmt.Sprintf("%.64s", key), ".", v[key]); err != nil {
				return err
			}
		}
	}
	return nil
}

// objectOf decodes a JSON object; nothing and null are an empty one.
func objectOf(text []byte) (map[string]any, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return map[string]any{}, nil
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	out := map[string]any{}
	if err := dec.Decode(&out); err != nil {
		return nil, invalid("parameters must be a JSON object")
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, invalid("parameters must be one JSON object")
	}
	return out, nil
}

// plain turns a value read from YAML into what JSON decoding gives.
func plain(v any) (any, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, serviceforge.Wrap(err, serviceforge.Invalid, "a value cannot be written as JSON")
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var out any
	err = dec.Decode(&out)
	return out, err
}

// number writes a bound without an exponent.
func number(f float64) string {
	return new(big.Float).SetFloat64(f).Text('f', -1)
}
