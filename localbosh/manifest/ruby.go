package manifest

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// inspect writes a tree as Ruby 3.1's Object#inspect does; the director prints objects that way in its errors.
// Keys are sorted, since the order of the document is gone.
func inspect(v any) string {
	var b strings.Builder
	writeInspect(&b, v)
	return b.String()
}

func writeInspect(b *strings.Builder, v any) {
	switch v := v.(type) {
	case map[string]any:
		b.WriteByte('{')
		for i, k := range slices.Sorted(maps.Keys(v)) {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(rubyQuote(k))
			b.WriteString("=>")
			writeInspect(b, v[k])
		}
		b.WriteByte('}')
	case []any:
		b.WriteByte('[')
		for i, e := range v {
			if i > 0 {
				b.WriteString(", ")
			}
			writeInspect(b, e)
		}
		b.WriteByte(']')
	case nil:
		b.WriteString("nil")
	case string:
		b.WriteString(rubyQuote(v))
	default:
		b.WriteString(rubyString(v))
	}
}

var rubyEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\t", `\t`, "\r", `\r`, "\x1b", `\e`, "\x00", `\0`,
	"#{", `\#{`, "#$", `\#$`, "#@", `\#@`)

func rubyQuote(s string) string { return `"` + rubyEscapes.Replace(s) + `"` }

// rubyString is Ruby's to_s of a scalar.
func rubyString(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case nil:
		return ""
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1e16 {
			return strconv.FormatFloat(v, 'f', 1, 64)
		}
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	return fmt.Sprint(v)
}

// rubyClass names the class a tree's node has in Ruby.
func rubyClass(v any) string {
	switch v := v.(type) {
	case map[string]any:
		return "Hash"
	case []any:
		return "Array"
	case nil:
		return "NilClass"
	case string:
		return "String"
	case float64:
		return "Float"
	case bool:
		if v {
			return "TrueClass"
		}
		return "FalseClass"
	}
	return "Integer"
}

// Text is a scalar of a tree as the director turns it into a string: names and versions may stand unquoted in YAML.
func Text(v any) string { return rubyString(v) }
