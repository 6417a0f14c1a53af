package blobs_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/serviceforge/serviceforge/localbosh/blobs"
	"github.com/serviceforge/serviceforge/localbosh/bosherr"
)

// entry is one entry of a test archive; Type 0 is a file.
type entry struct {
	Name, Body, Link string
	Type             byte
	Mode             int64
}

var when = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// tgz packs entries as they are, hostile or not.
func tgz(t testing.TB, entries ...entry) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, e := range entries {
		h := &tar.Header{Name: e.Name, Typeflag: e.Type, Linkname: e.Link, Mode: 0o644, ModTime: when}
		if e.Mode != 0 {
			h.Mode = e.Mode
		}
		if e.Type == 0 || e.Type == tar.TypeReg {
			h.Typeflag, h.Size = tar.TypeReg, int64(len(e.Body))
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := w.Write([]byte(e.Body)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// job is a job's archive.
func job(t testing.TB, name, more string, extra ...entry) string {
	return tgz(t, append([]entry{{Name: "./job.MF", Body: "---\nname: " + name + "\n" + more}, {Name: "./monit", Body: "check " + name}}, extra...)...)
}

// release is a release's archive; parts are files like jobs/a.tgz.
func release(t testing.TB, mf string, parts map[string]string) string {
	entries := []entry{{Name: "release.MF", Body: mf}}
	for _, name := range sorted(parts) {
		entries = append(entries, entry{Name: name, Body: parts[name]})
	}
	return tgz(t, entries...)
}

func sorted(m map[string]string) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

const simpleMF = `---
name: simple
version: "1.0"
commit_hash: abc
uncommitted_changes: false
jobs:
- {name: web, version: j1, fingerprint: j1}
packages:
- {name: server, version: p1, fingerprint: p1, dependencies: [lib]}
- {name: lib, version: p2, fingerprint: p2, dependencies: []}
`

func simpleParts(t testing.TB) map[string]string {
	return map[string]string{
		"jobs/web.tgz":        job(t, "web", "templates: {run.erb: bin/run}\npackages: [server]\n", entry{Name: "./templates/run.erb", Body: "<%= 1 %>"}),
		"packages/server.tgz": tgz(t, entry{Name: "packaging", Body: "echo"}, entry{Name: "src/main.c", Body: "main"}),
		"packages/lib.tgz":    tgz(t, entry{Name: "packaging", Body: "echo lib"}),
	}
}

func mustOpen(t testing.TB, dir string) *blobs.Store {
	t.Helper()
	s, err := blobs.Open(blobs.Options{Dir: dir, Limits: blobs.Limits{Bytes: 8 << 20, Entries: 1000}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func upload(s *blobs.Store, tgz string, o blobs.UploadOptions) (blobs.Uploaded, error) {
	return s.UploadRelease(context.Background(), strings.NewReader(tgz), o)
}

func mustUpload(t testing.TB, s *blobs.Store, tgz string, o blobs.UploadOptions) blobs.Uploaded {
	t.Helper()
	u, err := upload(s, tgz, o)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func wantError(t testing.TB, err error, code int, text string) {
	t.Helper()
	e := bosherr.Of(err)
	if e == nil {
		t.Fatalf("no error, want %d %q", code, text)
	}
	if e.Code != code || !strings.HasPrefix(e.Description, text) {
		t.Errorf("got %d %q\nwant %d %q", e.Code, err, code, text)
	}
}

// listing is every file below dir but the folders, for telling that nothing was left behind.
func listing(t testing.TB, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.Walk(dir, func(p string, st os.FileInfo, err error) error {
		if err == nil && !st.IsDir() {
			rel, _ := filepath.Rel(dir, p)
			out = append(out, fmt.Sprintf("%s %d", rel, st.Size()))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
