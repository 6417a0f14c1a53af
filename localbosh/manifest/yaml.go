package manifest

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/serviceforge/serviceforge/localbosh/bosherr"
	"gopkg.in/yaml.v3"
)

// What a document may expand to, so that anchors cannot be used as a bomb.
const (
	maxNodes = 500_000
	maxDepth = 200
)

// ParseTree reads YAML as the director's Ruby does (YAML 1.1: yes and on are booleans, 12:30:00 is 45000) into
// maps with string keys. Errors are 440001: "Manifest should not be empty", "Manifest should be a hash", and
// what the parser says of broken YAML.
func ParseTree(text []byte) (map[string]any, error) {
	v, err := decodeYAML(text)
	if err != nil {
		return nil, bosherr.New(bosherr.BadManifest, "Incorrect YAML structure of the uploaded manifest: %s", err)
	}
	if v == nil {
		return nil, bosherr.New(bosherr.BadManifest, "Manifest should not be empty")
	}
	tree, ok := v.(map[string]any)
	if !ok {
		return nil, bosherr.New(bosherr.BadManifest, "Manifest should be a hash")
	}
	return tree, nil
}

// decodeYAML returns the first document of text as nil, bool, int, float64, string, []any and map[string]any.
func decodeYAML(text []byte) (any, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, err
	}
	d := yamlDecoder{}
	return d.decode(&doc, 0)
}

type yamlDecoder struct{ nodes int }

func (d *yamlDecoder) decode(n *yaml.Node, depth int) (any, error) {
	d.nodes++
	if d.nodes > maxNodes || depth > maxDepth {
		return nil, fmt.Errorf("line %d: document is too large", n.Line)
	}
	switch n.Kind {
	case yaml.DocumentNode:
		return d.decode(n.Content[0], depth+1)
	case yaml.AliasNode:
		return d.decode(n.Alias, depth+1)
	case yaml.SequenceNode:
		list := make([]any, 0, len(n.Content))
		for _, c := range n.Content {
			v, err := d.decode(c, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, nil
	case yaml.MappingNode:
		return d.decodeMapping(n, depth)
	case yaml.ScalarNode:
		return scalar(n), nil
	}
	return nil, nil // an empty document
}

func (d *yamlDecoder) decodeMapping(n *yaml.Node, depth int) (any, error) {
	m := make(map[string]any, len(n.Content)/2)
	var merges []any
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, err := d.decode(n.Content[i], depth+1)
		if err != nil {
			return nil, err
		}
		v, err := d.decode(n.Content[i+1], depth+1)
		if err != nil {
			return nil, err
		}
		if n.Content[i].ShortTag() == "!!merge" {
			merges = append(merges, v)
			continue
		}
		m[keyString(k)] = v
	}
	for _, from := range merges {
		mergeInto(m, from)
	}
	return m, nil
}

// mergeInto adds the keys of a "<<" value that m does not have.
func mergeInto(m map[string]any, from any) {
	switch f := from.(type) {
	case map[string]any:
		for k, v := range f {
			if _, ok := m[k]; !ok {
				m[k] = v
			}
		}
	case []any:
		for _, e := range f {
			mergeInto(m, e)
		}
	}
}

func keyString(k any) string {
	switch k := k.(type) {
	case string:
		return k
	case nil:
		return ""
	case map[string]any, []any:
		return inspect(k)
	}
	return rubyString(k)
}

var (
	sexagesimalInt   = regexp.MustCompile(`^[-+]?[0-9][0-9_]*(:[0-5]?[0-9]){1,2}$`)
	sexagesimalFloat = regexp.MustCompile(`^[-+]?[0-9][0-9_]*(:[0-5]?[0-9]){1,2}\.[0-9_]*$`)
	yamlFloat        = regexp.MustCompile(`^[-+]?([0-9][0-9_,]*)?\.[0-9]*([eE][+-][0-9]+)?$`)
	yamlInt          = regexp.MustCompile(`^([-+]?0b[01_,]+|[-+]?0[0-7_,]+|[-+]?(0|[1-9]([0-9]|,[0-9]|_[0-9])*)|[-+]?0x[0-9a-fA-F_,]+)$`)
)

// scalar resolves a scalar by the rules of Ruby's Psych; dates stay strings.
func scalar(n *yaml.Node) any {
	if n.Style&yaml.TaggedStyle != 0 {
		switch n.ShortTag() {
		case "!!str", "!!binary":
			return n.Value
		case "!!float":
			if f, err := strconv.ParseFloat(n.Value, 64); err == nil {
				return f
			}
		}
	} else if n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		return n.Value
	}
	return plain(n.Value)
}

func plain(s string) any {
	switch strings.ToLower(s) {
	case "", "~", "null":
		return nil
	case "yes", "true", "on":
		return true
	case "no", "false", "off":
		return false
	case ".inf", "+.inf":
		return math.Inf(1)
	case "-.inf":
		return math.Inf(-1)
	case ".nan":
		return math.NaN()
	}
	if c := s[0]; c != '-' && c != '+' && c != '.' && (c < '0' || c > '9') {
		return s
	}
	digits := strings.NewReplacer("_", "", ",", "").Replace(s)
	switch {
	case yamlInt.MatchString(s):
		if i, err := strconv.ParseInt(digits, 0, 64); err == nil {
			return int(i)
		}
	case sexagesimalInt.MatchString(s):
		return int(sexagesimal(digits))
	case sexagesimalFloat.MatchString(s):
		return sexagesimal(digits)
	case yamlFloat.MatchString(s) && strings.ContainsAny(s, "0123456789"):
		if f, err := strconv.ParseFloat(digits, 64); err == nil {
			return f
		}
	}
	return s
}

func sexagesimal(s string) float64 {
	sign := 1.0
	if s[0] == '-' {
		sign = -1
	}
	sum := 0.0
	for part := range strings.SplitSeq(strings.TrimLeft(s, "+-"), ":") {
		f, _ := strconv.ParseFloat(part, 64)
		sum = sum*60 + f
	}
	return sign * sum
}
