// Package bosh builds the real bosh CLI for specs: the version that
// spec/boshcli/go.mod names, once per user and machine.
package bosh

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// CLI returns the path of the bosh CLI. The first call on a machine compiles
// it, which takes minutes.
func CLI(t testing.TB) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var build = sync.OnceValues(func() (string, error) {
	module, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("finding our module: %w", err)
	}
	source := filepath.Join(filepath.Dir(strings.TrimSpace(string(module))), "spec", "boshcli")
	requires, err := os.ReadFile(filepath.Join(source, "go.mod"))
	if err != nil {
		return "", err
	}
	version := regexp.MustCompile(`github.com/cloudfoundry/bosh-cli/v7 v(\S+)`).FindSubmatch(requires)
	if version == nil {
		return "", fmt.Errorf("%s/go.mod requires no bosh CLI", source)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	path := filepath.Join(cache, "serviceforge", "bosh-cli-"+string(version[1]), "bosh")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	half := fmt.Sprintf("%s.%d", path, os.Getpid()) // another spec may do the same
	command := exec.Command("go", "build", "-C", source, "-mod=readonly", "-o", half, "github.com/cloudfoundry/bosh-cli/v7")
	command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	if out, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the bosh CLI: %w\n%s", err, out)
	}
	return path, os.Rename(half, path)
})
