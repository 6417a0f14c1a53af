package authoring_test

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/releases"
	"github.com/serviceforge/serviceforge/releases/authoring"
	"github.com/serviceforge/serviceforge/releases/tarball"
)

// compile builds a tiny Go program; more is added to the arguments of go build.
func compile(t *testing.T, env []string, more ...string) (string, error) {
	t.Helper()
	dir := t.TempDir()
	source, program := filepath.Join(dir, "main.go"), filepath.Join(dir, "program")
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() {}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", append(append([]string{"build", "-o", program}, more...), source)...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Logf("%s", out)
	}
	return program, err
}

// contents unpacks a tarball; names are cleaned of "./".
func contents(t *testing.T, tgz []byte) map[string][]byte {
	t.Helper()
	out := make(map[string][]byte)
	if err := tarball.Each(bytes.NewReader(tgz), func(name string, in io.Reader) (err error) {
		out[name], err = io.ReadAll(in)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestPackage(t *testing.T) {
	program, err := compile(t, []string{"CGO_ENABLED=0"})
	if err != nil {
		t.Fatal(err)
	}
	var first, second bytes.Buffer
	for _, out := range []*bytes.Buffer{&first, &second} {
		if err := authoring.Package(t.Context(), releases.Etcd(), program, out); err != nil {
			t.Fatal(serviceforge.DetailOf(err))
		}
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("two packages differ")
	}
	files := contents(t, first.Bytes())
	for _, name := range []string{"service.yml", "README.md", "templates/jobs.yml", "bosh/releases/etcd-service-1.0.0.tgz"} {
		if files[name] == nil {
			t.Errorf("no %s", name)
		}
	}
	for name := range files {
		if strings.HasPrefix(name, "bosh/") && !strings.HasPrefix(name, "bosh/releases/") {
			t.Errorf("%s is source", name)
		}
	}
	want, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	got := contents(t, contents(t, files["bosh/releases/etcd-service-1.0.0.tgz"])["packages/etcd.tgz"])["etcd"]
	if !bytes.Equal(got, want) {
		t.Error("the package does not hold the program")
	}
}

func TestPackageRefusesUnfitPrograms(t *testing.T) {
	text := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(text, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ program, want string }{
		"a script":           {text, "is not a Linux executable"},
		"nothing":            {"/nonexistent", "is not a Linux executable"},
		"dynamically linked": {shell, "dynamically linked"},
	} {
		refused(t, name, test.program, test.want)
	}
	raced, err := compile(t, []string{"CGO_ENABLED=1"}, "-race", "-ldflags=-linkmode=external -extldflags=-static")
	if err != nil {
		if os.Getenv("SERVICEFORGE_REQUIRE") == "all" {
			t.Fatal(err)
		}
		t.Skip("SKIP: -race needs gcc and a static libc")
	}
	refused(t, "race", raced, "-race")
}

func refused(t *testing.T, name, program, want string) {
	t.Helper()
	err := authoring.Package(t.Context(), releases.Etcd(), program, io.Discard)
	if serviceforge.CodeOf(err) != serviceforge.Invalid || !strings.Contains(err.Error(), want) ||
		!strings.Contains(err.Error(), "CGO_ENABLED=0 go build -o serviceforge ./cmd/serviceforge") {
		t.Errorf("%s: got %v", name, err)
	}
}
