package trees

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/serviceforge/serviceforge"
)

// Emit writes a rendered tree as YAML that a director's YAML 1.1 parser cannot
// misread: every string (keys too) is double-quoted, keys are sorted, equal
// trees give equal bytes.
func Emit(tree any) ([]byte, error) {
	node, err := nodeOf(tree)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := enc.Encode(node); err != nil {
		return nil, err
	}
	return out.Bytes(), enc.Close()
}

// Quote writes a text as emit does, without its quotes. Every letter is
// written for itself, so a text may be put together of quoted ones; but after a
// byte order mark the library escapes everything, so those are refused.
func Quote(text string) ([]byte, error) {
	if strings.Contains(text, "\ufeff") {
		return nil, serviceforge.Errorf(serviceforge.Invalid, "a byte order mark")
	}
	out, err := Emit(text)
	if err != nil {
		return nil, err
	}
	return out[1 : len(out)-2], nil // "…"\n
}

func nodeOf(v any) (*yaml.Node, error) {
	switch v := v.(type) {
	case nil:
		return scalar("!!null", "null", 0), nil
	case bool:
		return scalar("!!bool", fmt.Sprint(v), 0), nil
	case string:
		return scalar("!!str", v, yaml.DoubleQuotedStyle), nil
	case int, int64, uint64:
		return scalar("!!int", fmt.Sprint(v), 0), nil
	case float64:
		return nodeOf(Fraction(v))
	case json.Number:
		if strings.ContainsAny(v.String(), ".eE") {
			return scalar("!!float", v.String(), 0), nil
		}
		return scalar("!!int", v.String(), 0), nil
	case map[string]any:
		n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			value, err := nodeOf(v[key])
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, scalar("!!str", key, yaml.DoubleQuotedStyle), value)
		}
		return n, nil
	case []any:
		n := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		for _, item := range v {
			value, err := nodeOf(item)
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, value)
		}
		return n, nil
	}
	return nil, fmt.Errorf("a value of type %T has no place in a manifest", v)
}

func scalar(tag, value string, style yaml.Style) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: value, Style: style}
}

// Fraction is a float that is none without its point.
func Fraction(f float64) json.Number {
	text := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return json.Number(text)
}
