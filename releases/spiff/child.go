package spiff

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"reflect"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/mandelsoft/spiff/dynaml"
	"github.com/mandelsoft/spiff/spiffing"
	"golang.org/x/sys/unix"

	"github.com/serviceforge/serviceforge/releases/trees"
)

// What one child may use: a manifest takes 30 ms and some 50 MB.
const (
	childData = 512 << 20 // bytes, RLIMIT_DATA
	childCPU  = 5         // seconds, RLIMIT_CPU
)

// Main is the child's entry (`__spiff`): one request on stdin, its result
// on stdout. It returns the exit code.
func Main(args []string) int {
	if err := limitSelf(); err != nil {
		fmt.Fprintln(os.Stderr, "spiff:", err)
		return 1
	}
	in := bufio.NewReaderSize(os.Stdin, 64<<10)
	var o order
	line, err := in.ReadBytes('\n')
	if err != nil {
		return 0 // nobody asked
	}
	dec := json.NewDecoder(strings.NewReader(string(line)))
	dec.UseNumber()
	if err := dec.Decode(&o); err != nil {
		fmt.Fprintln(os.Stderr, "spiff: the request cannot be read")
		return 1
	}
	go func() { // the parent is gone: nobody reads the answer
		_, _ = io.Copy(io.Discard, in)
		os.Exit(1)
	}()
	out, err := json.Marshal(o.answer())
	if err != nil {
		fmt.Fprintln(os.Stderr, "spiff: the result cannot be written")
		return 1
	}
	if _, err := os.Stdout.Write(out); err != nil {
		return 1
	}
	return 0
}

// limitSelf leaves the process nothing that a template could use or use up.
func limitSelf() error {
	os.Clearenv() // Spiff's env() works in every mode, from a copy
	dynaml.ReloadEnv()
	debug.SetGCPercent(400) // short life: collect late; the limit stands
	for resource, limit := range map[int]uint64{unix.RLIMIT_DATA: childData, unix.RLIMIT_CPU: childCPU, unix.RLIMIT_CORE: 0} {
		if err := unix.Setrlimit(resource, &unix.Rlimit{Cur: limit, Max: limit}); err != nil {
			return fmt.Errorf("cannot limit myself: %w", err)
		}
	}
	return nil
}

// answer does what the order says. It may end the process: see Spiff.
func (o order) answer() (a answer) {
	var err error
	if a.Result, err = run(o.Documents, o.Values); err != nil {
		return answer{Error: err.Error()}
	}
	if guarded, changed := guard(o.Values); changed {
		if other, err := run(o.Documents, guarded.(map[string]any)); err != nil || !reflect.DeepEqual(unguard(other), a.Result) {
			return answer{Error: "a value that begins with ( was taken for an expression"}
		}
	}
	if o.Probe == nil {
		return a
	}
	nodes, err := read(spiffing.Plain(), o.Probe.Documents)
	if err == nil { // before the run: a token is a huge number, too
		a.Impure = impurity(nodes, o.Probe.Leaves, o.Probe.Token)
	}
	if err == nil && a.Impure == "" {
		a.Probe, err = run(o.Probe.Documents, o.Probe.Values)
	}
	if err != nil {
		a.Impure = err.Error()
	}
	return a
}

// opening stands for a value's first parenthesis: Spiff evaluates a result that
// looks like an expression, also one that a template put together of values.
const opening = "\ue028"

func guard(v any) (any, bool) {
	switch v := v.(type) {
	case string:
		if rest, ok := strings.CutPrefix(v, "("); ok {
			return opening + rest, true
		}
	case map[string]any:
		out, changed := make(map[string]any, len(v)), false
		for key, value := range v {
			g, c := guard(value)
			out[key], changed = g, changed || c
		}
		return out, changed
	case []any:
		out, changed := make([]any, len(v)), false
		for i, value := range v {
			g, c := guard(value)
			out[i], changed = g, changed || c
		}
		return out, changed
	}
	return v, false
}

func unguard(v any) any { return trees.Substitute(v, strings.NewReplacer(opening, "(")) }

// run merges documents.
func run(documents []Document, given map[string]any) (result any, err error) {
	defer func() {
		if p := recover(); p != nil { // Spiff panics on some malformed expressions
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	values, err := native(given)
	if err != nil {
		return nil, err
	}
	s, err := spiffing.Plain().WithMode(spiffing.MODE_PRIVATE).WithValues(values.(map[string]any))
	if err != nil {
		return nil, err
	}
	nodes, err := read(s, documents)
	if err != nil {
		return nil, err
	}
	node, err := s.Cascade(nodes[0], nodes[1:])
	if err != nil {
		return nil, err
	}
	if result, err = s.Normalize(node); err != nil {
		return nil, err
	}
	return portable(result)
}

func read(s spiffing.Spiff, documents []Document) (nodes []spiffing.Node, err error) {
	if len(documents) == 0 {
		return nil, fmt.Errorf("no documents")
	}
	nodes = make([]spiffing.Node, len(documents))
	for i, d := range documents {
		if nodes[i], err = s.Unmarshal(d.Name, []byte(d.Data)); err != nil {
			return nil, fmt.Errorf("%s: %w", d.Name, err)
		}
	}
	return nodes, nil
}

// native turns decoded JSON into what Spiff computes with.
func native(v any) (any, error) {
	switch v := v.(type) {
	case json.Number:
		if i, err := strconv.ParseInt(v.String(), 10, 64); err == nil {
			return i, nil
		}
		return v.Float64()
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, value := range v {
			n, err := native(value)
			if err != nil {
				return nil, err
			}
			out[key] = n
		}
		return out, nil
	case []any:
		out := make([]any, len(v))
		for i, value := range v {
			n, err := native(value)
			if err != nil {
				return nil, err
			}
			out[i] = n
		}
		return out, nil
	}
	return v, nil
}

// portable turns Spiff's result into JSON that keeps integers and floats apart.
func portable(v any) (any, error) {
	switch v := v.(type) {
	case nil, string, bool, int64, int:
		return v, nil
	case float64:
		return trees.Fraction(v), nil
	case map[string]any:
		for key, value := range v {
			p, err := portable(value)
			if err != nil {
				return nil, err
			}
			v[key] = p
		}
		return v, nil
	case []any:
		for i, value := range v {
			p, err := portable(value)
			if err != nil {
				return nil, err
			}
			v[i] = p
		}
		return v, nil
	}
	return nil, fmt.Errorf("a value of type %T has no place in a manifest", v)
}
