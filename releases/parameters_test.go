package releases_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/catalog"
	"github.com/serviceforge/serviceforge/releases"
	"github.com/serviceforge/serviceforge/releases/parameters"
)

func TestCheckParameters(t *testing.T) {
	r := load(t, small("a: 1"))
	for given, want := range map[string]string{
		``:                          "",
		`null`:                      "",
		`{}`:                        "",
		`{"word":"x","count":3}`:    "",
		`{"count":1000000}`:         "",
		`{"count":1000001}`:         "parameter count must be at most 1000000",
		`{"ratio":1.5,"flag":true}`: "",
		`{"mode":"slow"}`:           "",
		`{"short":"äöü"}`:           "",
		`[]`:                        "parameters must be a JSON object",
		`{"word":`:                  "parameters must be a JSON object",
		`{} {}`:                     "parameters must be one JSON object",
		`{"colour":"red"}`:          `parameter "colour" is not known; allowed: count, flag, mode, ratio, short, word`,
		`{"word":5}`:                "parameter word must be of type string",
		`{"word":null}`:             "parameter word must be of type string",
		`{"word":""}`:               "parameter word must match .",
		`{"word":["x"]}`:            "parameter word must be of type string",
		`{"word":"a\nb"}`:           "parameter word must not hold control characters",
		`{"word":"a((b"}`:           `parameter word: "((" is not allowed`,
		`{"word":"((/x))"}`:         `parameter word: "((" is not allowed`,
		`{"word":{"a":["x((y))"]}}`: `parameter word.a: "((" is not allowed`,
		`{"((x))":1}`:               `parameter: "((" is not allowed in a name`,
		`{"count":0}`:               "parameter count must be at least 1",
		`{"count":1.5}`:             "parameter count must be of type integer",
		`{"count":1e400}`:           "parameter count has too many digits",
		`{"ratio":1e99999}`:         "parameter ratio has too many digits",
		`{"ratio":1e-9999999}`:      "parameter ratio has too many digits",
		`{"count":1e3}`:             "",
		`{"ratio":"1"}`:             "parameter ratio must be of type number",
		`{"mode":"slower"}`:         "parameter mode must be one of [fast slow]",
		`{"short":"abcd"}`:          "parameter short must not be longer than 3 characters",
		`{"flag":"true"}`:           "parameter flag must be of type boolean",
		`{"flag":1}`:                "parameter flag must be of type boolean",
	} {
		err := r.CheckParameters(catalog.Plan{ID: "p"}, parameters.Create, json.RawMessage(given))
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != want || err != nil && serviceforge.CodeOf(err) != serviceforge.Invalid {
			t.Errorf("%s: got %q, want %q", given, got, want)
		}
	}
	if err := r.CheckParameters(catalog.Plan{ID: "other"}, parameters.Create, nil); serviceforge.CodeOf(err) != serviceforge.Invalid {
		t.Errorf("unknown plan: %v", err)
	}
}

func FuzzCheckParameters(f *testing.F) {
	r := load(f, small("a: 1"))
	f.Add(`{"word":"x"}`)
	f.Add(`{"word":"((x))","count":1e9}`)
	f.Fuzz(func(t *testing.T, given string) {
		err := r.CheckParameters(catalog.Plan{ID: "p"}, parameters.Create, json.RawMessage(given))
		if err == nil {
			var v any
			if strings.TrimSpace(given) != "" && json.Unmarshal([]byte(given), &v) != nil {
				t.Errorf("%q was taken", given)
			}
			if parameters.RefuseReferences("parameter", v) != nil {
				t.Errorf("%q was taken", given)
			}
		}
	})
}

// rich is a service release that says all it can of parameters.
func rich() string {
	return strings.NewReplacer("  parameters:\n", `  binding_parameters:
    role: {enum: [reader, writer]}
  parameters:
    word: {type: string, maxLength: 9, on: [create]}
    backup:
      type: object
      properties: {times: {type: array, maxItems: 2, items: {type: integer}}}
      additionalProperties: false
`).Replace(smallService[:strings.Index(smallService, "    word:")]) + `  plans:
  - id: p
    name: plan
    description: d
    parameters: {later: {type: integer, multipleOf: 5, on: [update], default: 5}}
  - id: q
    name: own
    description: d
`
}

func TestEachCallHasItsSchema(t *testing.T) {
	files := small("a: (( sf.params ))")
	files["service.yml"].Data = []byte(rich())
	r := load(t, files)
	for _, c := range []struct {
		plan, parameters string
		call             parameters.Call
		want             string
	}{
		{"p", `{"word":"x"}`, parameters.Create, ""},
		{"p", `{"word":"x"}`, parameters.Update, `parameter "word" is not known; allowed: backup, later`},
		{"p", `{"later":10}`, parameters.Update, ""},
		{"p", `{"later":7}`, parameters.Update, "parameter later must be a multiple of 5"},
		{"p", `{"later":10}`, parameters.Create, `parameter "later" is not known; allowed: backup, word`},
		{"p", `{"later":10,"word":"x"}`, parameters.Whole, ""},
		{"q", `{"later":10}`, parameters.Whole, `parameter "later" is not known; allowed: backup, word`},
		{"p", `{"backup":{"times":[1,"hunter2"]}}`, parameters.Create, "parameter backup.times.1 must be of type integer"},
		{"p", `{"backup":{"times":[1,2,3]}}`, parameters.Create, "parameter backup.times must have at most 2 items"},
		{"p", `{"backup":{"time":[]}}`, parameters.Create, `parameter "backup.time" is not known`},
		{"p", `{"backup":{"times":["a\nb"]}}`, parameters.Create, "parameter backup.times.0 must not hold control characters"},
		{"p", `{"role":"writer"}`, parameters.Bind, ""},
		{"p", `{"role":"hunter2"}`, parameters.Bind, "parameter role must be one of [reader writer]"},
		{"p", `{"word":"x"}`, parameters.Bind, `parameter "word" is not known; allowed: role`},
	} {
		err := r.CheckParameters(catalog.Plan{ID: c.plan}, c.call, json.RawMessage(c.parameters))
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s %s: got %q, want %q", c.call, c.parameters, got, c.want)
		}
	}
	told := r.Offerings()[0].Plans[0].Schemas
	for _, text := range []json.RawMessage{told.Create, told.Update, told.Bind} {
		var document map[string]any
		if err := json.Unmarshal(text, &document); err != nil || document["$schema"] == nil || document["additionalProperties"] != false || strings.Contains(string(text), `"on"`) {
			t.Errorf("told %s, %v", text, err)
		}
	}
}

// Any draft may be used, and is used: 2020-12 knows dependentRequired, 04 does not.
func TestWholeSchemas(t *testing.T) {
	schemas := func(draft, additional string) string {
		return `schemas: {create: {$schema: "` + draft + `"` + additional + `, properties: {a: {type: integer, default: 1}, b: {}}, dependentRequired: {a: [b]}}}`
	}
	const draft2020 = "https://json-schema.org/draft/2020-12/schema"
	for _, c := range []struct{ schemas, parameters, want string }{
		{schemas(draft2020, ""), `{"a":1}`, "parameters must match the schema's dependentRequired/a"},
		{schemas(draft2020, ""), `{"a":1,"b":1}`, ""},
		{schemas("http://json-schema.org/draft-04/schema#", ""), `{"a":1}`, ""},
		{schemas(draft2020, ""), `{"c":1}`, `parameter "c" is not known; allowed: a, b`},
		{schemas(draft2020, ", additionalProperties: true"), `{"c":1}`, ""},
	} {
		files := small("a: 1")
		files["service.yml"].Data = []byte(smallService[:strings.Index(smallService, "parameters:")] + c.schemas + "\n  plans: [{id: p, name: plan, description: d}]\n")
		err := load(t, files).CheckParameters(catalog.Plan{ID: "p"}, parameters.Create, json.RawMessage(c.parameters))
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: %s: got %q, want %q", c.schemas, c.parameters, got, c.want)
		}
	}
}

func TestBadSchemas(t *testing.T) {
	for words, want := range map[string]string{
		`parameters: {a: {type: integer, minimun: 1}}`:                                   "parameters.a.minimun is not a keyword",
		`parameters: {a: {type: object, properties: {b: {typ: string}}}}`:                "parameters.a.properties.b.typ is not a keyword",
		`parameters: {a: {type: string}}`:                                                "parameters.a: a string needs pattern, enum or maxLength",
		`parameters: {a: {type: thing}}`:                                                 "is not a JSON Schema",
		`parameters: {a: {type: string, pattern: "("}}`:                                  "is not a JSON Schema",
		`parameters: {a: {type: integer, default: x}}`:                                   "a: the default does not match",
		`parameters: {a: {type: integer, on: [bind]}}`:                                   "parameters.a: on must be a list of create and update",
		`schemas: {create: {properties: {a: {$ref: "http://example.com/schema.json"}}}}`: "is not a JSON Schema",
		`schemas: {create: {properties: {a: {$ref: "file:///etc/passwd"}}}}`:             "is not a JSON Schema",
		"schemas: {create: {}}\n  parameters: {a: {type: integer}}":                      "schemas.create and parameters exclude each other",
		`schemas: {make: {}}`:                                                            `the key "make" is not known`,
	} {
		files := small("a: 1")
		files["service.yml"].Data = []byte(smallService[:strings.Index(smallService, "parameters:")] + words + "\n  plans: [{id: p, name: plan, description: d}]\n")
		_, err := releases.Load(files)
		if serviceforge.CodeOf(err) != serviceforge.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", words, err, want)
		}
	}
}
