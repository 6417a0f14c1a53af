package spec

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Generated is the folder of a service release as `generate service` writes it.
// Whoever may start brokers may read it.
func Generated(t testing.TB, a Account, name string) string {
	t.Helper()
	dir := filepath.Join(Folder(t), name)
	if out, errs, code := a.Run(t, "generate", "service", name, "--dir", dir); code != 0 {
		t.Fatal(out, errs)
	}
	return dir
}

// Edit replaces texts in a file, given as pairs of the old and the new one. Each
// old one has to be there.
func Edit(t testing.TB, path string, pairs ...string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(string(text), pairs[i]) {
			t.Fatalf("%s does not hold %q", path, pairs[i])
		}
	}
	if err := os.WriteFile(path, []byte(strings.NewReplacer(pairs...).Replace(string(text))), 0o644); err != nil {
		t.Fatal(err)
	}
}
