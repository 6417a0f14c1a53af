// Package house_test checks the rules of the house that a compiler does not:
// which package may import which, and what CONTRIBUTING.md says of files,
// comments and tests.
package house_test

import (
	"go/ast"
	"go/format"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// longest is how many lines a file may have.
const longest = 400

// rules are functions that find what breaks a rule.
var rules = map[string]func(*tree) []string{
	"arrows point down":              pointUp,
	"packages say what they are":     withoutPackageComment,
	"exported names are documented":  undocumented,
	"files are formatted":            unformatted,
	"files are short":                long,
	"tests do not sleep":             sleeping,
	"no file knows a machine":        machinePaths,
	"names are in the field's words": vagueNames,
	"specs share no network":         sharedNetworks,
}

func TestTheHouse(t *testing.T) {
	house := read(t, module(t))
	if len(house.code) < 100 || house.texts["README.md"] == "" {
		t.Fatalf("this is not the house: %d files of Go", len(house.code))
	}
	for name, rule := range rules {
		t.Run(name, func(t *testing.T) {
			for _, broken := range rule(house) {
				t.Error(broken)
			}
		})
	}
	for _, broken := range rowsUp(house) {
		t.Error(broken)
	}
}

// withoutPackageComment finds packages whose comment does not begin as godoc
// wants, and those that have two.
func withoutPackageComment(tr *tree) (bad []string) {
	type pkg struct{ folder, name string }
	comments, first := map[pkg]int{}, map[pkg]source{}
	testsOnly := map[string]bool{}
	for _, file := range tr.code {
		if _, seen := testsOnly[file.folder()]; !seen {
			testsOnly[file.folder()] = true
		}
		if !file.isTest() {
			testsOnly[file.folder()] = false
		}
	}
	for _, file := range tr.code {
		if file.isTest() && !testsOnly[file.folder()] {
			continue // the package has its comment elsewhere
		}
		p := pkg{file.folder(), file.ast.Name.Name}
		if _, seen := first[p]; !seen {
			first[p] = file
		}
		want := "Package " + p.name + " "
		if p.name == "main" {
			want = "Command "
		}
		if file.ast.Doc != nil && strings.HasPrefix(file.ast.Doc.Text(), want) {
			comments[p]++
		}
	}
	for p, file := range first {
		if comments[p] != 1 {
			bad = append(bad, tr.at(file.ast.Name, "package %s has %d package comments, want 1", p.name, comments[p]))
		}
	}
	slices.Sort(bad)
	return bad
}

// undocumented finds exported names of non-test code without a comment. A
// comment of a group is one for each name in it.
func undocumented(tr *tree) (bad []string) {
	missing := func(name *ast.Ident, comments ...*ast.CommentGroup) {
		if name.IsExported() && !slices.ContainsFunc(comments, func(c *ast.CommentGroup) bool { return c.Text() != "" }) {
			bad = append(bad, tr.at(name, "%s is exported and has no comment", name.Name))
		}
	}
	for _, file := range tr.code {
		if file.isTest() || file.generated() || file.ast.Name.Name == "main" {
			continue
		}
		for _, declaration := range file.ast.Decls {
			switch d := declaration.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil || exportedReceiver(d.Recv) {
					missing(d.Name, d.Doc)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					switch s := spec.(type) {
					case *ast.TypeSpec:
						missing(s.Name, d.Doc, s.Doc)
					case *ast.ValueSpec:
						for _, name := range s.Names {
							missing(name, d.Doc, s.Doc, s.Comment)
						}
					}
				}
			}
		}
	}
	return bad
}

func exportedReceiver(receiver *ast.FieldList) bool {
	kind := receiver.List[0].Type
	if pointer, ok := kind.(*ast.StarExpr); ok {
		kind = pointer.X
	}
	if generic, ok := kind.(*ast.IndexExpr); ok {
		kind = generic.X
	}
	name, ok := kind.(*ast.Ident)
	return ok && name.IsExported()
}

// long finds files that are too long to read at once.
func long(tr *tree) (bad []string) {
	for _, file := range tr.code {
		if file.lines > longest && !file.generated() {
			bad = append(bad, tr.at(file.ast, "%d lines, want at most %d", file.lines, longest))
		}
	}
	return bad
}

// sleeping finds tests that hope instead of looking. Benchmarks may let time
// pass.
func sleeping(tr *tree) (bad []string) {
	for _, file := range tr.code {
		if !file.isTest() && !strings.HasPrefix(file.path, "spec/") {
			continue
		}
		for _, declaration := range file.ast.Decls {
			if f, ok := declaration.(*ast.FuncDecl); ok && strings.HasPrefix(f.Name.Name, "Benchmark") {
				continue
			}
			ast.Inspect(declaration, func(n ast.Node) bool {
				if s, ok := n.(*ast.SelectorExpr); ok && s.Sel.Name == "Sleep" {
					if x, ok := s.X.(*ast.Ident); ok && x.Name == "time" {
						bad = append(bad, tr.at(s, "a test sleeps"))
					}
				}
				return true
			})
		}
	}
	return bad
}

// machine matches paths that only one machine has. It does not match itself.
var machine = regexp.MustCompile(`(^|[^\w.}])/(work|root)/\w`)

// unformatted finds files that gofmt would write differently.
func unformatted(tr *tree) (bad []string) {
	for _, file := range tr.code {
		text := tr.texts[file.path]
		if formatted, err := format.Source([]byte(text)); !file.generated() && (err != nil || string(formatted) != text) {
			bad = append(bad, tr.at(file.ast, "gofmt writes it differently"))
		}
	}
	return bad
}

// machinePaths finds them.
func machinePaths(tr *tree) (bad []string) {
	for _, path := range slices.Sorted(maps.Keys(tr.texts)) {
		n := 0
		for line := range strings.Lines(tr.texts[path]) {
			n++
			if found := machine.FindString(line); found != "" {
				bad = append(bad, path+":"+strconv.Itoa(n)+": the path of a machine: "+strings.TrimSpace(line))
			}
		}
	}
	return bad
}

// sharedNetworks finds parts of 127.0.0.0/8 that two packages' specs give to
// directors: packages are tested at the same time.
func sharedNetworks(tr *tree) (bad []string) {
	network := regexp.MustCompile(`^"127\.\d+\.\d+\.0/24"$`)
	users := map[string]string{}
	for _, file := range tr.code {
		ast.Inspect(file.ast, func(n ast.Node) bool {
			text, ok := n.(*ast.BasicLit)
			if !ok || !strings.HasPrefix(file.folder(), "spec/") || !network.MatchString(text.Value) {
				return true
			}
			if first, taken := users[text.Value]; taken && first != file.folder() {
				bad = append(bad, tr.at(n, "%s uses %s too", first, text.Value))
			} else {
				users[text.Value] = file.folder()
			}
			return true
		})
	}
	return bad
}

// vagueNames finds packages and files named after nothing.
func vagueNames(tr *tree) (bad []string) {
	vague := regexp.MustCompile(`(^|[/_])(utils?|common|types|helpers?|misc)(_test)?(\.go|/|$)`)
	for _, file := range tr.code {
		if vague.MatchString(file.path) || file.ast.Name.Name != "main" && vague.MatchString(file.ast.Name.Name) {
			bad = append(bad, tr.at(file.ast.Name, "%s says nothing", file.path))
		}
	}
	return bad
}
