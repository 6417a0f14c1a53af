package api

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// diffLine is a line of text and "added", "removed" or null.
type diffLine [2]any

// sections is the order of the parts of a manifest in a diff.
var sections = []string{
	"azs", "vm_types", "vm_extensions", "compilation", "networks", "disk_types", "stemcells", "releases", "update",
	"instance_groups", "addons", "name", "properties", "variables", "tags",
}

// differ compares documents; with redact, it shows no value below `properties`
// or `bosh`.
type differ struct{ redact bool }

func (d differ) hides(key string) bool { return d.redact && (key == "properties" || key == "bosh") }

// diff compares two documents as the director does: line by line of their YAML,
// list entries by their name, with the values of properties left out if redact
// says so.
func diff(before, after map[string]any, redact bool) []diffLine {
	d := differ{redact}
	out := []diffLine{}
	keys := slices.Sorted(maps.Keys(merged(before, after)))
	slices.SortStableFunc(keys, func(a, b string) int { return rank(a) - rank(b) })
	for _, key := range keys {
		part := d.diffKey(before, after, key, 0, false)
		if len(part) > 0 && len(out) > 0 {
			out = append(out, diffLine{"", nil})
		}
		out = append(out, part...)
	}
	return out
}

func rank(key string) int {
	if i := slices.Index(sections, key); i >= 0 {
		return i
	}
	return len(sections)
}

func merged(a, b map[string]any) map[string]any {
	out := maps.Clone(a)
	if out == nil {
		out = map[string]any{}
	}
	maps.Copy(out, b)
	return out
}

// diffKey compares one key of two mappings. hidden says that values must not be
// shown, since they are below `properties`.
func (d differ) diffKey(before, after map[string]any, key string, indent int, hidden bool) []diffLine {
	x, had := before[key]
	y, has := after[key]
	switch {
	case had && !has:
		return mark("removed", d.emitKey(key, x, hidden), indent)
	case !had:
		return mark("added", d.emitKey(key, y, hidden), indent)
	case reflect.DeepEqual(x, y):
		return nil
	}
	hidden = hidden || d.hides(key)
	xm, xok := x.(map[string]any)
	ym, yok := y.(map[string]any)
	if xok && yok {
		return under(key+":", indent, d.diffMaps(xm, ym, indent+1, hidden))
	}
	xl, xok := x.([]any)
	yl, yok := y.([]any)
	if xok && yok {
		return under(key+":", indent, d.diffLists(xl, yl, indent, hidden))
	}
	return append(mark("removed", d.emitKey(key, x, hidden), indent), mark("added", d.emitKey(key, y, hidden), indent)...)
}

func (d differ) diffMaps(x, y map[string]any, indent int, hidden bool) []diffLine {
	var out []diffLine
	for _, key := range slices.Sorted(maps.Keys(merged(x, y))) {
		out = append(out, d.diffKey(x, y, key, indent, hidden)...)
	}
	return out
}

// under puts a title above lines, if there are any.
func under(title string, indent int, lines []diffLine) []diffLine {
	if len(lines) == 0 {
		return nil
	}
	return append([]diffLine{{strings.Repeat("  ", indent) + title, nil}}, lines...)
}

// identity is what tells entries of a list apart: their name, or their range.
func identity(v any) (title, key string) {
	m, ok := v.(map[string]any)
	if !ok {
		return "", ""
	}
	for _, k := range []string{"name", "range", "alias"} {
		if s, ok := m[k].(string); ok {
			return "- " + k + ": " + s, k
		}
	}
	return "", ""
}

func (d differ) diffLists(x, y []any, indent int, hidden bool) []diffLine {
	find := func(list []any, v any) any {
		title, _ := identity(v)
		for _, o := range list {
			if t, _ := identity(o); title != "" && t == title || title == "" && reflect.DeepEqual(o, v) {
				return o
			}
		}
		return nil
	}
	var out []diffLine
	for _, v := range y {
		o := find(x, v)
		title, key := identity(v)
		switch {
		case o == nil:
			out = append(out, mark("added", d.emit([]any{v}, hidden), indent)...)
		case title != "":
			a, b := maps.Clone(o.(map[string]any)), maps.Clone(v.(map[string]any))
			delete(a, key)
			delete(b, key)
			out = append(out, under(title, indent, d.diffMaps(a, b, indent+1, hidden))...)
		}
	}
	for _, v := range x {
		if find(y, v) == nil {
			out = append(out, mark("removed", d.emit([]any{v}, hidden), indent)...)
		}
	}
	return out
}

func mark(as string, lines []string, indent int) []diffLine {
	out := make([]diffLine, len(lines))
	for i, l := range lines {
		out[i] = diffLine{strings.Repeat("  ", indent) + l, as}
	}
	return out
}

func (d differ) emitKey(key string, v any, hidden bool) []string {
	return d.emit(map[string]any{key: v}, hidden)
}

// emit writes a value as the YAML lines Ruby would write.
func (d differ) emit(v any, hidden bool) []string {
	switch v := v.(type) {
	case map[string]any:
		if len(v) == 0 {
			return []string{"{}"}
		}
		var out []string
		for _, key := range slices.Sorted(maps.Keys(v)) {
			out = append(out, d.emitEntry(key, v[key], hidden)...)
		}
		return out
	case []any:
		if len(v) == 0 {
			return []string{"[]"}
		}
		var out []string
		for _, e := range v {
			for i, l := range d.emit(e, hidden) {
				if i == 0 {
					out = append(out, "- "+l)
				} else {
					out = append(out, "  "+l)
				}
			}
		}
		return out
	}
	if hidden {
		return []string{`"<redacted>"`}
	}
	return strings.Split(scalar(v), "\n")
}

func (d differ) emitEntry(key string, v any, hidden bool) []string {
	title := scalar(key) + ":"
	lines := d.emit(v, hidden || d.hides(key))
	if m, ok := v.(map[string]any); ok && len(m) > 0 {
		for i := range lines {
			lines[i] = "  " + lines[i]
		}
		return append([]string{title}, lines...)
	}
	if l, ok := v.([]any); ok && len(l) > 0 {
		return append([]string{title}, lines...)
	}
	lines[0] = title + " " + lines[0]
	return lines
}

func scalar(v any) string {
	if s, ok := v.(string); ok && strings.Contains(s, "\n") {
		return "|\n  " + strings.ReplaceAll(strings.TrimSuffix(s, "\n"), "\n", "\n  ")
	}
	data, err := yaml.Marshal(v)
	if err != nil {
		return "?"
	}
	return strings.TrimSuffix(string(data), "\n")
}
