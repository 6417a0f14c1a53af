package render

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
)

// request is what a child is asked, as JSON after its length (8 bytes, big endian). prelude.rb reads it.
type request struct {
	Templates []wireTemplate `json:"templates"`
	Jobs      []wireJob      `json:"jobs"`
}

// wireTemplate is a template; equal ones of many instances are sent once.
type wireTemplate struct {
	File string `json:"file"` // <job>/<source>, the file name in Ruby's backtraces
	Body []byte `json:"body"`
}

// wireJob is one job of one instance: its `spec` as JSON text and the numbers of its templates.
type wireJob struct {
	Spec      string `json:"spec"`
	Templates []int  `json:"templates"`
}

// answer is what became of one template: the bytes, or a message with the line it points to.
type answer struct {
	Data  []byte `json:"data"`
	Error string `json:"error"`
	Line  string `json:"line"`
}

// encodeSpec encodes a job's document so that Ruby sees the types that YAML had: 1.0 stays a Float.
func encodeSpec(spec map[string]any) (string, error) {
	plain, err := plain(spec)
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(plain)
	return string(text), err
}

func plain(value any) (any, error) {
	switch value := value.(type) {
	case map[string]any:
		result := make(map[string]any, len(value))
		for key, member := range value {
			converted, err := plain(member)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", key, err)
			}
			result[key] = converted
		}
		return result, nil
	case map[any]any:
		result := make(map[string]any, len(value))
		for key, member := range value {
			converted, err := plain(member)
			if err != nil {
				return nil, fmt.Errorf("%v: %w", key, err)
			}
			result[fmt.Sprint(key)] = converted
		}
		return result, nil
	case []any:
		result := make([]any, len(value))
		for i, member := range value {
			converted, err := plain(member)
			if err != nil {
				return nil, fmt.Errorf("%d: %w", i, err)
			}
			result[i] = converted
		}
		return result, nil
	case float64:
		return plainFloat(value)
	default:
		return value, nil
	}
}

func plainFloat(value float64) (any, error) {
	if math.IsNaN(value) || math.IsInf(value, 0) {
		return nil, fmt.Errorf("%v cannot be given to a template", value)
	}
	if value == math.Trunc(value) && math.Abs(value) < 1e15 {
		return json.Number(strconv.FormatFloat(value, 'f', 1, 64)), nil
	}
	return value, nil
}
