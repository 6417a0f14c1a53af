package releases

import (
	"encoding/json"
	"strings"

	"github.com/cloudfoundry/bosh-cli/v7/director/template"
	"github.com/cppforlife/go-patch/patch"
	"gopkg.in/yaml.v3"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/releases/spiff"
	"github.com/serviceforge/serviceforge/releases/trees"
	"github.com/serviceforge/serviceforge/releases/yamldoc"
)

// patched applies ops files to a rendered tree, and fills a manifest's ((vars)),
// as `bosh deploy -o … -v …` does: ops first. The errors are those of its
// library, with the file's name.
func (s *service) patched(tree map[string]any, ops []spiff.Document) (map[string]any, error) {
	if s.manifest == "" && len(ops) == 0 {
		return tree, nil
	}
	text, vars := []byte(s.manifest), template.StaticVariables{}
	if s.manifest != "" {
		for name, value := range tree {
			vars[name] = simple(value)
		}
		if err := trees.Walk("", tree, func(path, text string) error {
			if strings.Contains(text, "((") {
				return serviceforge.Errorf(serviceforge.Unprocessable, "vars%s holds a reference", path)
			}
			return nil
		}); err != nil {
			return nil, err
		}
	} else {
		var err error
		if text, err = trees.Emit(tree); err != nil {
			return nil, serviceforge.Wrap(err, serviceforge.Internal, "the manifest cannot be written")
		}
	}
	for i, d := range ops {
		op, err := opsOf(d)
		if err != nil {
			return nil, err
		}
		if text, err = evaluated(text, nil, op); err != nil {
			return nil, serviceforge.Wrap(err, serviceforge.Unprocessable, "%s cannot be applied (ops file %d of %d)", d.Name, i+1, len(ops))
		}
	}
	text, err := evaluated(text, vars, nil)
	if err != nil {
		return nil, serviceforge.Wrap(err, serviceforge.Unprocessable, "the manifest cannot be filled")
	}
	root, err := yamldoc.Parse("the manifest", text)
	if err != nil {
		return nil, err
	}
	value, err := yamldoc.Value(root)
	if err != nil {
		return nil, invalid("the manifest %s", err)
	}
	out, ok := value.(map[string]any)
	if !ok {
		return nil, serviceforge.Errorf(serviceforge.Unprocessable, "ops files left no map")
	}
	return out, nil
}

func evaluated(text []byte, vars template.StaticVariables, op patch.Op) ([]byte, error) {
	if len(vars) == 0 && op == nil {
		return text, nil
	}
	return template.NewTemplate(text).Evaluate(vars, op, template.EvaluateOpts{})
}

// simple turns Spiff's result into what the library writes: its numbers.
func simple(v any) any {
	switch v := v.(type) {
	case json.Number:
		var out any
		if yaml.Unmarshal([]byte(v), &out) == nil {
			return out
		}
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = simple(item)
		}
		return out
	case map[string]any:
		out := make(map[any]any, len(v))
		for key, item := range v {
			out[key] = simple(item)
		}
		return out
	}
	return v
}

// tests says whether one of the ops files looks at values.
func tests(ops []spiff.Document) bool {
	for _, d := range ops {
		var definitions []patch.OpDefinition
		if yaml.Unmarshal([]byte(d.Data), &definitions) != nil {
			return true
		}
		for _, definition := range definitions {
			if definition.Type == "test" {
				return true
			}
		}
	}
	return false
}
