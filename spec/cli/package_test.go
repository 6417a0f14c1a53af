package cli_test

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge/spec"
	"github.com/serviceforge/serviceforge/spec/bosh"
	"github.com/serviceforge/serviceforge/spec/unraced"
)

// TestPackage packs the etcd release twice and shows the result to the real
// bosh CLI.
func TestPackage(t *testing.T) {
	self, dir := spec.Self(t), t.TempDir()
	var sums [2]string
	for i := range sums {
		file := filepath.Join(dir, fmt.Sprintf("%d.tgz", i))
		out, errs, code := self.Run(t, "package", "-o", file)
		result{"package", out, errs, code}.succeeds(t, "wrote "+file)
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		sums[i] = fmt.Sprintf("%x", sha256.Sum256(content))
	}
	if sums[0] != sums[1] {
		t.Errorf("packed twice, with SHA-256 %s and %s", sums[0], sums[1])
	}
	files := unpack(t, filepath.Join(dir, "0.tgz"), dir)
	if _, found := files["service.yml"]; !found {
		t.Errorf("there is no service.yml in the package: %v", files)
	}
	inspected := 0
	for name, file := range files {
		if path.Ext(name) != ".tgz" {
			continue
		}
		inspect := exec.Command(bosh.CLI(t), "--tty", "--no-color", "inspect-local-release", file)
		inspect.Env = append(os.Environ(), "HOME="+dir)
		out, err := inspect.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "Succeeded") {
			t.Errorf("bosh inspect-local-release %s: %v\n%s", name, err, out)
		}
		if strings.Contains(name, "etcd-service") {
			for _, part := range []string{"etcd-service", "etcd/", "2 jobs", "1 packages"} {
				if !strings.Contains(string(out), part) {
					t.Errorf("%s has no %q:\n%s", name, part, out)
				}
			}
			inspected++
		}
	}
	if inspected != 1 {
		t.Errorf("no BOSH release etcd-service in the package: %v", files)
	}
}

// unpack writes the files of a .tgz below dir and returns their paths by name.
func unpack(t *testing.T, archive, dir string) map[string]string {
	t.Helper()
	file, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	zip, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for in := tar.NewReader(zip); ; {
		header, err := in.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		name := path.Clean(header.Name)
		files[name] = filepath.Join(dir, fmt.Sprintf("%d-%s", len(files), path.Base(name)))
		content, err := io.ReadAll(in)
		if err == nil {
			err = os.WriteFile(files[name], content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestPackageRefusesAProgramForThisMachineOnly builds the program as go install
// does where there is a C compiler, or for the race detector where the spec
// itself is built so: nothing has to be compiled a third time.
func TestPackageRefusesAProgramForThisMachineOnly(t *testing.T) {
	if _, err := exec.LookPath("gcc"); err != nil {
		spec.Skip(t, "needs gcc to build a dynamically linked program")
	}
	dir := t.TempDir()
	program := filepath.Join(dir, "serviceforge")
	build := exec.Command("go", "build", fmt.Sprintf("-race=%v", unraced.On), "-o", program, "github.com/serviceforge/serviceforge/cmd/serviceforge")
	build.Env = append(os.Environ(), "CGO_ENABLED=1")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	command := exec.Command(program, "package", "-o", filepath.Join(dir, "package.tgz"))
	var out, errs strings.Builder
	command.Stdout, command.Stderr = &out, &errs
	_ = command.Run()
	result{"package", out.String(), errs.String(), command.ProcessState.ExitCode()}.refused(t,
		"CGO_ENABLED=0 go build -o serviceforge ./cmd/serviceforge")
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		t.Errorf("something is left: %v, %v", left, err)
	}
}
