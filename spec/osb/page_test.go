package osb_test

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var write = flag.Bool("update", false, "write docs/osb-conformance.md")

const pagePath = "../../docs/osb-conformance.md"

// line is a line of checklist.md.
type line struct {
	number               int
	level, section, text string
}

var lineForm = regexp.MustCompile(`(?m)^(\d+)\. \*\*(MUST|SHOULD|MAY)\*\* \[(.+?)\] (.+)$`)

func checklist(t *testing.T) (lines []line) {
	t.Helper()
	text, err := os.ReadFile("checklist.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range lineForm.FindAllStringSubmatch(string(text), -1) {
		number, err := strconv.Atoi(m[1])
		if err != nil || number != len(lines)+1 {
			t.Fatalf("line %s of the checklist is out of order: %v", m[1], err)
		}
		lines = append(lines, line{number, m[2], m[3], m[4]})
	}
	if len(lines) != 214 {
		t.Fatalf("%d lines in the checklist", len(lines))
	}
	return lines
}

// numbersForm is how a row, or the name of a subtest, begins.
var numbersForm = regexp.MustCompile(`^(\d+(?:,\d+)*)(?: (.+))?$`)

// covered reads which lines the rows of the tables and the subtests of this
// package name: the source is the truth, whatever a run skips.
func covered(t *testing.T) map[int][]string {
	t.Helper()
	found := map[int][]string{}
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	files = append(files, "../../broker/conformance_test.go", // what the program's own plans do not show
		"../authorities/hardening_test.go", "../delegated/delegated_test.go")
	for _, file := range files {
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			var numbers, name string
			switch n := n.(type) {
			case *ast.CompositeLit: // {"22,78", "bound too early", "PUT", …}
				if len(n.Elts) > 2 {
					numbers, name = text(n.Elts[0]), strings.TrimSpace(text(n.Elts[2])+" "+text(n.Elts[1]))
				}
			case *ast.CallExpr: // t.Run("197,209 deleted while it is made", …)
				if f, is := n.Fun.(*ast.SelectorExpr); is && f.Sel.Name == "Run" && len(n.Args) == 2 {
					numbers = text(n.Args[0])
				}
			}
			m := numbersForm.FindStringSubmatch(numbers)
			if m == nil {
				return true
			}
			if name == "" {
				name = m[2]
			}
			for number := range strings.SplitSeq(m[1], ",") {
				at, _ := strconv.Atoi(number)
				found[at] = append(found[at], name)
			}
			return true
		})
	}
	return found
}

// text is the value of a string literal, or the literals of a sum of strings; ""
// for anything else.
func text(e ast.Expr) string {
	if sum, is := e.(*ast.BinaryExpr); is {
		return strings.TrimSpace(text(sum.X) + text(sum.Y))
	}
	literal, is := e.(*ast.BasicLit)
	if !is || literal.Kind != token.STRING {
		return ""
	}
	value, _ := strconv.Unquote(literal.Value)
	return value
}

// TestThePageIsUpToDate makes docs/osb-conformance.md of the checklist, the
// tables and the reasons, and fails where a MUST or a SHOULD has neither.
func TestThePageIsUpToDate(t *testing.T) {
	lines, specs := checklist(t), covered(t)
	var page strings.Builder
	page.WriteString("# OSB 2.17, line by line\n\n" +
		"Made by `go test ./spec/osb -run Page -update` from the [checklist](../spec/osb/checklist.md) and the specs that name its\n" +
		"lines; they drive the program over HTTP. Lines without a spec have a reason.\n\n" +
		"| line | | section | spec, or why there is none |\n|---|---|---|---|\n")
	for _, l := range lines {
		names, reason := specs[l.number], reasons[l.number]
		delete(specs, l.number)
		switch {
		case len(names) > 0 && reason != "":
			t.Errorf("line %d has a spec and a reason for having none", l.number)
		case len(names) == 0 && reason == "" && l.level != "MAY":
			t.Errorf("line %d has neither a spec nor a reason: %s [%s] %s", l.number, l.level, l.section, l.text)
		case len(names) == 0 && reason == "":
			reason = "not used"
		}
		what := "*" + reason + "*"
		if reason == "" {
			slices.Sort(names)
			what = strings.Join(slices.Compact(names), "; ")
		}
		fmt.Fprintf(&page, "| %d | %s | %s | %s |\n", l.number, l.level, l.section, strings.ReplaceAll(what, "|", "\\|"))
	}
	for number := range specs {
		t.Errorf("specs name line %d, which is not in the checklist", number)
	}
	if *write {
		if err := os.WriteFile(pagePath, []byte(page.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	written, err := os.ReadFile(pagePath)
	if err != nil || string(written) != page.String() {
		t.Errorf("docs/osb-conformance.md is not up to date (%v): go test ./spec/osb -run Page -update", err)
	}
}
