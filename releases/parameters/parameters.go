// Package parameters checks what users give with a call against the JSON Schemas
// that a service release has for it.
package parameters

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/releases/trees"
)

// Call is a request that carries parameters.
type Call string

// The calls, each with a schema of its own.
const (
	Create Call = "create"
	Update Call = "update" // what is given is put over what the instance has
	Bind   Call = "bind"
	// Whole is no call: all parameters that an instance has, after updates too.
	Whole Call = "whole"
)

// Parameter is a parameter in service.yml: a JSON Schema, and `on`.
type Parameter = map[string]any

// Schemas are whole JSON Schemas, instead of parameters one by one.
type Schemas struct {
	Create map[string]any `yaml:"create"`
	Update map[string]any `yaml:"update"`
	Bind   map[string]any `yaml:"bind"`
}

// Input is what service and plans say of parameters.
type Input struct {
	Parameters        map[string]Parameter `yaml:"parameters"`
	BindingParameters map[string]Parameter `yaml:"binding_parameters"`
	Schemas           Schemas              `yaml:"schemas"`
}

// Over returns the service's words with the plan's over them.
func (f Input) Over(service Input) Input {
	out := Input{Parameters: map[string]Parameter{}, BindingParameters: map[string]Parameter{}, Schemas: service.Schemas}
	maps.Copy(out.Parameters, service.Parameters)
	maps.Copy(out.Parameters, f.Parameters)
	maps.Copy(out.BindingParameters, service.BindingParameters)
	maps.Copy(out.BindingParameters, f.BindingParameters)
	for _, s := range []struct{ own, of *map[string]any }{
		{&f.Schemas.Create, &out.Schemas.Create}, {&f.Schemas.Update, &out.Schemas.Update}, {&f.Schemas.Bind, &out.Schemas.Bind},
	} {
		if *s.own != nil {
			*s.of = *s.own
		}
	}
	return out
}

// Compile makes the schema of each call.
func (f Input) Compile() (map[Call]*Schema, error) {
	documents := map[Call]map[string]any{Create: f.Schemas.Create, Update: f.Schemas.Update, Bind: f.Schemas.Bind}
	for call, parameters := range map[Call]map[string]Parameter{
		Create: f.Parameters, Update: f.Parameters, Bind: f.BindingParameters,
	} {
		if documents[call] != nil {
			if len(parameters) > 0 {
				return nil, serviceforge.Errorf(serviceforge.Invalid, "schemas.%s and parameters exclude each other", call)
			}
			if err := refuseTypos("schemas."+string(call), documents[call]); err != nil {
				return nil, err
			}
			continue
		}
		properties, err := propertiesOf(call, parameters)
		if err != nil {
			return nil, err
		}
		documents[call] = map[string]any{"properties": properties}
	}
	documents[Whole] = whole(documents[Create], documents[Update])
	out := map[Call]*Schema{}
	for _, call := range []Call{Create, Update, Bind, Whole} {
		var err error
		if out[call], err = newSchema("the schema of "+string(call), documents[call]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// whole makes the schema of all parameters: what may be given at creation, and
// what updates may add.
func whole(create, update map[string]any) map[string]any {
	out := maps.Clone(create)
	for _, table := range []string{"properties", "definitions", "$defs"} {
		both := map[string]any{}
		for _, document := range []map[string]any{update, create} {
			if members, ok := document[table].(map[string]any); ok {
				maps.Copy(both, members)
			}
		}
		if len(both) > 0 {
			out[table] = both
		}
	}
	return out
}

// propertiesOf checks parameters given one by one and returns those of a call.
func propertiesOf(call Call, parameters map[string]Parameter) (map[string]any, error) {
	properties := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		property := maps.Clone(parameters[name])
		taken, err := takenBy(call, property["on"])
		if err != nil {
			return nil, serviceforge.Errorf(serviceforge.Invalid, "parameters.%s: %s", name, err)
		}
		delete(property, "on")
		if err := refuseTypos("parameters."+name, property); err != nil {
			return nil, err
		}
		if property["type"] == "string" && !slices.ContainsFunc([]string{"enum", "const", "pattern", "maxLength", "format"},
			func(bound string) bool { return property[bound] != nil }) {
			return nil, serviceforge.Errorf(serviceforge.Invalid, "parameters.%s: a string needs pattern, enum or maxLength", name)
		}
		if taken {
			properties[name] = property
		}
	}
	return properties, nil
}

// takenBy reads `on`: a list of create and update; absent = both.
func takenBy(call Call, on any) (bool, error) {
	if on == nil || call == Bind {
		return true, nil
	}
	list, _ := on.([]any)
	for _, item := range list {
		if item != string(Create) && item != string(Update) {
			list = nil
		}
	}
	if len(list) == 0 {
		return false, fmt.Errorf("on must be a list of create and update")
	}
	return slices.Contains(list, any(string(call))), nil
}

// Check checks what came with a call, in memory. Errors: Invalid, with the path.
func (s *Schema) Check(given map[string]any) error {
	if err := RefuseReferences("parameter", given); err != nil {
		return err
	}
	if err := refuseUnfit("", given); err != nil {
		return err
	}
	if err := s.check.Validate(given); err != nil {
		return serviceforge.Errorf(serviceforge.Invalid, "%s", s.complaint(err))
	}
	return nil
}

// Filled returns the given parameters with the defaults of those that are not.
func (s *Schema) Filled(given map[string]any) map[string]any {
	out := map[string]any{}
	for _, name := range s.names {
		out[name] = s.defaults[name]
	}
	for name, v := range given {
		out[name] = trees.Map(v, decimal)
	}
	return out
}

// decimal writes a whole number without point and exponent: 1e3 and 1000.0 are
// integers to JSON Schema, but a manifest reads them as fractions.
func decimal(leaf any) any {
	if n, is := leaf.(json.Number); is {
		if r, ok := new(big.Rat).SetString(n.String()); ok && r.IsInt() && r.Num().IsInt64() {
			return json.Number(r.Num().String())
		}
	}
	return leaf
}

// refuseUnfit refuses what no schema speaks of: control characters, which break
// out of a line of a configuration file, and numbers that a manifest cannot hold.
func refuseUnfit(where string, v any) error {
	switch v := v.(type) {
	case string:
		if strings.ContainsFunc(v, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
			return serviceforge.Errorf(serviceforge.Invalid, "parameter %s must not hold control characters", where)
		}
	case json.Number:
		if f, err := strconv.ParseFloat(v.String(), 64); len(v) > 32 || err != nil || f == 0 && strings.ContainsAny(mantissa(v), "123456789") {
			return serviceforge.Errorf(serviceforge.Invalid, "parameter %s has too many digits", where)
		}
	case []any:
		for i, item := range v {
			if err := refuseUnfit(where+"."+strconv.Itoa(i), item); err != nil {
				return err
			}
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if err := refuseUnfit(strings.TrimPrefix(where+"."+fmt.Sprintf("%.64s", key), "."), v[key]); err != nil {
				return err
			}
		}
	}
	return nil
}

// mantissa is a number's text before its exponent.
func mantissa(n json.Number) string {
	digits, _, _ := strings.Cut(strings.ToLower(n.String()), "e")
	return digits
}

// RefuseReferences refuses any string in v (decoded JSON) that holds "((":
// Renderer or a director would evaluate it. what names v in the message, e.g.
// "parameter". Errors: Invalid, as in `parameter prefix: "((" is not allowed`.
func RefuseReferences(what string, v any) error {
	return refuse(what, " ", v)
}

func refuse(where, separator string, v any) error {
	switch v := v.(type) {
	case string:
		if strings.Contains(v, "((") {
			return serviceforge.Errorf(serviceforge.Invalid, `%s: "((" is not allowed`, where)
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
				return serviceforge.Errorf(serviceforge.Invalid, `%s: "((" is not allowed in a name`, where)
			}
			if err := refuse(where+separator+fmt.Sprintf("%.64s", key), ".", v[key]); err != nil {
				return err
			}
		}
	}
	return nil
}
