package secrets

import (
	"maps"
	"slices"

	"github.com/serviceforge/serviceforge/releases/trees"
)

// Variables declares secrets as a director's config server makes them.
func Variables(secrets map[string]Spec, sf map[string]any) (out []any) {
	for _, name := range slices.Sorted(maps.Keys(secrets)) {
		spec := secrets[name]
		v := map[string]any{"name": name, "type": spec.Type}
		options := map[string]any{}
		for key, value := range map[string]any{
			"common_name": spec.CommonName, "ca": spec.CA, "is_ca": spec.IsCA, "duration": spec.Duration, "length": spec.Length, "username": spec.Username,
		} {
			if value != "" && value != false && value != 0 {
				options[key] = value
			}
		}
		if len(spec.Usage) > 0 {
			options["extended_key_usage"] = trees.List(spec.Usage)
		}
		names := []any{}
		for _, alternative := range spec.AlternativeNames {
			if name, err := evaluate(alternative, sf); err == nil {
				names = append(names, name)
			}
		}
		if len(names) > 0 {
			options["alternative_names"] = names
		}
		if len(options) > 0 {
			v["options"] = options
		}
		out = append(out, v)
	}
	return out
}
