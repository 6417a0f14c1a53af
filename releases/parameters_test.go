package releases_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/catalog"
	"github.com/serviceforge/serviceforge/releases"
)

func TestCheckParameters(t *testing.T) {
	r := load(t, small("a: 1"))
	for parameters, want := range map[string]string{
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
		`{"count":1.5}`:             "parameter count must be an integer of at most 64 bits",
		`{"count":1e400}`:           "parameter count must be an integer of at most 64 bits",
		`{"ratio":1e99999}`:         "",
		`{"ratio":"1"}`:             "parameter ratio must be of type number",
		`{"mode":"slower"}`:         "parameter mode must be one of [fast slow]",
		`{"short":"abcd"}`:          "parameter short must not be longer than 3 characters",
		`{"flag":"true"}`:           "parameter flag must be of type boolean",
		`{"flag":1}`:                "parameter flag must be of type boolean",
	} {
		err := r.CheckParameters(catalog.Plan{ID: "p"}, json.RawMessage(parameters))
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != want || err != nil && serviceforge.CodeOf(err) != serviceforge.Invalid {
			t.Errorf("%s: got %q, want %q", parameters, got, want)
		}
	}
	if err := r.CheckParameters(catalog.Plan{ID: "other"}, nil); serviceforge.CodeOf(err) != serviceforge.Invalid {
		t.Errorf("unknown plan: %v", err)
	}
}

func FuzzCheckParameters(f *testing.F) {
	r := load(f, small("a: 1"))
	f.Add(`{"word":"x"}`)
	f.Add(`{"word":"((x))","count":1e9}`)
	f.Fuzz(func(t *testing.T, parameters string) {
		err := r.CheckParameters(catalog.Plan{ID: "p"}, json.RawMessage(parameters))
		if err == nil {
			var v any
			if strings.TrimSpace(parameters) != "" && json.Unmarshal([]byte(parameters), &v) != nil {
				t.Errorf("%q was taken", parameters)
			}
			if releases.RefuseReferences("parameter", v) != nil {
				t.Errorf("%q was taken", parameters)
			}
		}
	})
}
