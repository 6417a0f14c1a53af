package house_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// us is our module.
const us = "github.com/serviceforge/serviceforge"

// tree is the text of a repository.
type tree struct {
	root  string
	files *token.FileSet
	code  []source
	texts map[string]string // by path; without testdata and what is not text
}

// source is a file of Go.
type source struct {
	path  string // slashes, from the root
	lines int
	ast   *ast.File
}

// folder is the package's path in the module, "" for the root.
func (s source) folder() string {
	if dir := filepath.ToSlash(filepath.Dir(s.path)); dir != "." {
		return dir
	}
	return ""
}

func (s source) isTest() bool    { return strings.HasSuffix(s.path, "_test.go") }
func (s source) generated() bool { return ast.IsGenerated(s.ast) }

// module is the root of the repository these specs are in.
func module(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Dir(strings.TrimSpace(string(out)))
}

// read reads a repository: what git knows or would add, or where there is no
// git, every file.
func read(t *testing.T, root string) *tree {
	t.Helper()
	tr := &tree{root: root, files: token.NewFileSet(), texts: map[string]string{}}
	for _, path := range list(t, root) {
		if slices.Contains(strings.Split(path, "/"), "testdata") {
			continue
		}
		content, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			continue // deleted, and git does not know yet
		}
		if strings.ContainsRune(string(content[:min(len(content), 8000)]), 0) {
			continue
		}
		tr.texts[path] = string(content)
		if strings.HasSuffix(path, ".go") {
			file, err := parser.ParseFile(tr.files, path, content, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			tr.code = append(tr.code, source{path, strings.Count(string(content), "\n"), file})
		}
	}
	return tr
}

func list(t *testing.T, root string) []string {
	t.Helper()
	git := exec.Command("git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	if out, err := git.Output(); err == nil {
		return strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	}
	var paths []string
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && entry.Name() == ".git" {
			return filepath.SkipDir
		}
		if err == nil && entry.Type().IsRegular() {
			name, _ := filepath.Rel(root, path)
			paths = append(paths, filepath.ToSlash(name))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// at says where a node is.
func (tr *tree) at(n ast.Node, format string, args ...any) string {
	p := tr.files.Position(n.Pos())
	return fmt.Sprintf("%s:%d: %s", p.Filename, p.Line, fmt.Sprintf(format, args...))
}
