package spiff

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/mandelsoft/spiff/dynaml"
	"github.com/mandelsoft/spiff/yaml"
)

// purity finds out whether documents only carry an instance's values to their
// places: as they are, or as a part of a text. Then a render with other values
// differs in those places only, and need not be done again. It errs on the
// safe side: what it does not know for sure is impure.
//
// A node is tainted if an instance's value may be in it. Taint is kept by key,
// not by place: where a key is tainted anywhere, it is everywhere, and so are
// the keys above it.
type purity struct {
	leaves  [][]string // of instance values, below sf
	token   string     // stands for the deployment's name in documents; "" = none
	known   map[string]bool
	tainted map[string]bool
	named   bool // a value lies under a key "name" somewhere below the top
	strict  bool // a value lies in a list entry whose name is computed
	exprs   []formula
	changed bool
}

// formula is one (( )) of a document.
type formula struct {
	document string
	path     []string
	name     []string // of the list entries in path
	computed bool     // one of those names is computed
	text     string
	tree     dynaml.Expression
}

// flow says what an expression does with instance values.
type flow int

const (
	fixed   flow = iota // knows none
	carries             // hands them on
	decides             // may depend on them otherwise
)

// impurity returns why the documents may do more with values than carry them,
// or "".
func impurity(documents []yaml.Node, leaves [][]string, token string) string {
	p := &purity{leaves: leaves, token: token, known: map[string]bool{}, tainted: map[string]bool{}}
	for _, d := range documents {
		if why := p.collect(d, d.SourceName(), nil, nil, false); why != "" {
			return why
		}
	}
	for p.changed = true; p.changed; {
		p.changed = false
		for _, e := range p.exprs {
			switch p.of(e.tree, nil) {
			case decides:
				return fmt.Sprintf("%s: %s computes with values: ((%s))", e.document, strings.Join(e.path, "."), e.text)
			case carries:
				if why := p.taint(e); why != "" {
					return why
				}
			}
		}
	}
	return ""
}

// collect gathers the keys and expressions of a node.
func (p *purity) collect(n yaml.Node, document string, path, names []string, computed bool) string {
	switch v := n.Value().(type) {
	case map[string]yaml.Node:
		for key, value := range v {
			if key == "sf" || strings.Contains(key, ":") || p.token != "" && strings.Contains(key, p.token) {
				return fmt.Sprintf("%s: the key %s", document, key)
			}
			p.known[key] = true
			if why := p.collect(value, document, append(slices.Clone(path), key), names, computed); why != "" {
				return why
			}
		}
	case []yaml.Node:
		for _, item := range v {
			name, itsComputed := nameOf(item)
			itsNames := append(slices.Clone(names), name)
			if why := p.collect(item, document, append(slices.Clone(path), "[]"), itsNames, computed || itsComputed); why != "" {
				return why
			}
		}
	case string:
		return p.collectText(n, v, formula{document: document, path: path, name: names, computed: computed})
	}
	return ""
}

func nameOf(item yaml.Node) (name string, computed bool) {
	m, ok := item.Value().(map[string]yaml.Node)
	if !ok || m["name"] == nil {
		return "", false
	}
	name, _ = m["name"].Value().(string)
	return name, yaml.EmbeddedDynaml(m["name"], false) != nil
}

var markers = regexp.MustCompile(`^\s*(?:&(?:temporary|local)\s*)+(?:\((.*)\))?\s*$`)

func (p *purity) collectText(n yaml.Node, text string, e formula) string {
	code := yaml.EmbeddedDynaml(n, false)
	switch {
	case code != nil:
		e.text = *code
	case p.token != "" && strings.Contains(text, p.token):
		e.tree = carrier{}
		p.exprs = append(p.exprs, e)
		return ""
	default:
		return ""
	}
	source := e.text
	if m := markers.FindStringSubmatch(source); m != nil {
		if source = m[1]; source == "" {
			return ""
		}
	}
	tree, err := dynaml.Parse(source, pathOf(e.path), pathOf(e.path))
	if err != nil {
		return fmt.Sprintf("%s: %s cannot be read", e.document, strings.Join(e.path, "."))
	}
	e.tree = tree
	p.exprs = append(p.exprs, e)
	return ""
}

// pathOf drops what is no key.
func pathOf(path []string) []string {
	return slices.DeleteFunc(slices.Clone(path), func(s string) bool { return s == "[]" || s == "<<" || s == "<<<" })
}

// carrier is a text with the deployment's name in it.
type carrier struct{ dynaml.StringExpr }

// taint marks everything above an expression that carries values.
func (p *purity) taint(e formula) string {
	if last := len(e.path) - 1; last > 0 && (e.path[last] == "name" && e.path[last-1] == "[]" || e.path[last] == "[]" && p.named) {
		return fmt.Sprintf("%s: a list entry at %s is named after a value", e.document, strings.Join(e.path, "."))
	}
	if e.computed && !p.strict {
		p.strict, p.changed = true, true
	}
	if len(e.path) > 1 && slices.Contains(e.path, "name") && !p.named {
		p.named, p.changed = true, true
	}
	for _, key := range slices.Concat(e.path, e.name) {
		if !p.tainted[key] {
			p.tainted[key], p.changed = true, true
		}
	}
	return ""
}

// scope holds what a lambda's parameters are.
type scope map[string]flow

func worst(flows ...flow) flow { return slices.Max(append(flows, fixed)) }

// computed is what an operation on such operands is: fine only without values.
func computed(flows ...flow) flow {
	if worst(flows...) == fixed {
		return fixed
	}
	return decides
}

// of says what an expression does with values.
func (p *purity) of(e dynaml.Expression, s scope) flow {
	switch e := e.(type) {
	case nil, dynaml.IntegerExpr, dynaml.FloatExpr, dynaml.BooleanExpr, dynaml.NilExpr, dynaml.UndefinedExpr, dynaml.DefaultExpr:
		return fixed
	case carrier:
		return carries
	case dynaml.StringExpr:
		if p.token != "" && strings.Contains(e.Value, p.token) {
			return carries
		}
		return fixed
	case dynaml.ReferenceExpr:
		return p.reference(e, s)
	case dynaml.MergeExpr:
		return p.merge(e)
	case dynaml.GroupedExpr:
		return p.of(e.Expr, s)
	case dynaml.ConcatenationExpr:
		return worst(p.of(e.A, s), p.of(e.B, s))
	case dynaml.OrExpr: // whether a value is there does not depend on what it is
		return worst(p.of(e.A, s), p.of(e.B, s))
	case dynaml.ValidOrExpr:
		return worst(p.of(e.A, s), p.of(e.B, s))
	case dynaml.CondExpr:
		return worst(computed(p.of(e.C, s)), p.of(e.T, s), p.of(e.F, s))
	case dynaml.ListExpansionExpr:
		return p.of(e.Expression, s)
	case dynaml.ListExpr:
		return p.all(e.Contents, s)
	case dynaml.CreateMapExpr:
		out := fixed
		for _, a := range e.Assignments {
			out = worst(out, computed(p.of(a.Key, s)), p.of(a.Value, s))
		}
		return out
	case dynaml.QualifiedExpr:
		return p.of(e.Expression, s)
	case dynaml.DynamicExpr:
		return worst(p.of(e.Root, s), computed(p.of(e.Index, s)))
	case dynaml.MappingExpr:
		return p.mapping(e, s)
	case dynaml.CallExpr:
		return p.call(e, s)
	case dynaml.AdditionExpr, dynaml.SubtractionExpr, dynaml.MultiplicationExpr, dynaml.DivisionExpr, dynaml.ModuloExpr,
		dynaml.ComparisonExpr, dynaml.LogAndExpr, dynaml.LogOrExpr, dynaml.NotExpr, dynaml.RangeExpr:
		return computed(p.operands(e, s))
	}
	return decides
}

func (p *purity) all(list []dynaml.Expression, s scope) flow {
	out := fixed
	for _, e := range list {
		out = worst(out, p.of(e, s))
	}
	return out
}

// operands looks at every operand of an operation.
func (p *purity) operands(e dynaml.Expression, s scope) flow {
	out, v := fixed, reflect.ValueOf(e)
	for i := range v.NumField() {
		if operand, ok := v.Field(i).Interface().(dynaml.Expression); ok {
			out = worst(out, p.of(operand, s))
		}
	}
	return out
}

func (p *purity) reference(e dynaml.ReferenceExpr, s scope) flow {
	path := e.Path
	switch {
	case e.Tag != "":
		return decides
	case len(path) > 0 && path[0] == "":
		path = path[1:]
	case len(path) > 0:
		if f, ok := s[path[0]]; ok {
			return f
		}
	}
	if p.token != "" && strings.Contains(strings.Join(path, "."), p.token) {
		return decides
	}
	if len(path) > 0 && path[0] == "sf" {
		return p.value(path[1:])
	}
	return p.place(path)
}

// value says what a reference into sf is. One to more than a leaf brings keys
// with it that may hide values.
func (p *purity) value(path []string) flow {
	out := fixed
	for _, leaf := range p.leaves {
		if n := min(len(leaf), len(path)); !slices.Equal(leaf[:n], path[:n]) {
			continue
		}
		out = carries
		for _, key := range leaf[min(len(leaf), len(path)):] {
			if !p.tainted[key] {
				p.tainted[key], p.changed = true, true
			}
		}
	}
	return out
}

// place says whether values may be at a path of the documents.
func (p *purity) place(path []string) flow {
	for i := len(path) - 1; i >= 0; i-- {
		if p.tainted[path[i]] {
			return carries
		}
		if p.known[path[i]] && !p.strict {
			return fixed
		}
	}
	if p.strict && len(path) > 0 {
		return fixed
	}
	return carries
}

func (p *purity) merge(e dynaml.MergeExpr) flow {
	switch {
	case e.KeyName != "":
		return decides
	case e.None:
		return fixed
	}
	return p.place(e.Path)
}

// mapping: how many times the body runs depends on the shape alone.
func (p *purity) mapping(e dynaml.MappingExpr, s scope) flow {
	body, ok := e.Lambda.(dynaml.LambdaExpr)
	if !ok || body.VarArgs {
		return decides
	}
	of := p.of(e.A, s)
	inner := scope{}
	for name, f := range s {
		inner[name] = f
	}
	for i, parameter := range body.Parameters {
		if parameter.Default != nil {
			return decides
		}
		inner[parameter.Name] = fixed // a key or an index
		if i == len(body.Parameters)-1 {
			inner[parameter.Name] = of
		}
	}
	result := p.of(body.E, inner)
	if e.Context == dynaml.SelectToListContext || e.Context == dynaml.SelectToMapContext {
		return worst(of, computed(result))
	}
	return worst(of, result)
}

// pure are functions of their arguments alone.
var pure = []string{
	"static_ips", "join", "split", "trim", "length", "uniq", "element", "contains", "index", "lastindex", "replace",
	"upper", "lower", "substr", "min_ip", "max_ip", "num_ip", "keys", "makemap", "list_to_map", "merge", "base64",
	"base64_decode", "asjson", "asyaml", "sort", "reverse", "compact", "string", "integer", "float", "bool", "format",
}

func (p *purity) call(e dynaml.CallExpr, s scope) flow {
	f, ok := e.Function.(dynaml.ReferenceExpr)
	if !ok || e.Curry || f.Tag != "" || len(f.Path) != 1 || !slices.Contains(pure, f.Path[0]) {
		return decides
	}
	of := p.all(e.Arguments, s)
	switch f.Path[0] {
	case "join": // of texts and numbers: another text
		if len(e.Arguments) > 0 && p.of(e.Arguments[0], s) == fixed {
			return of
		}
	case "static_ips": // looks at more than its arguments
		for _, key := range []string{"networks", "instances", "subnets", "static", "range", "reserved"} {
			if p.tainted[key] {
				return decides
			}
		}
	}
	return computed(of)
}
