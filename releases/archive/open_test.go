package archive_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/releases"
	"github.com/serviceforge/serviceforge/releases/archive"
	"github.com/serviceforge/serviceforge/releases/authoring"
)

type tarEntry struct {
	name string
	text string
	kind byte
	link string
}

func packed(t testing.TB, entries ...tarEntry) []byte {
	t.Helper()
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	w := tar.NewWriter(zip)
	for _, e := range entries {
		if e.kind == 0 {
			e.kind = tar.TypeReg
		}
		h := &tar.Header{Name: e.name, Typeflag: e.kind, Linkname: e.link, Mode: 0o644, Size: int64(len(e.text))}
		if e.kind != tar.TypeReg {
			h.Size = 0
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if e.kind == tar.TypeReg {
			if _, err := w.Write([]byte(e.text)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, end := range []func() error{w.Close, zip.Close} {
		if err := end(); err != nil {
			t.Fatal(err)
		}
	}
	return out.Bytes()
}

func unpack(t testing.TB, tgz []byte) (*archive.Opened, string, error) {
	t.Helper()
	scratch := t.TempDir()
	o, err := archive.Unpack(t.Context(), bytes.NewReader(tgz), scratch)
	return o, scratch, err
}

// nothingLeft fails if anything stayed behind.
func nothingLeft(t testing.TB, scratch string) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(scratch, "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestUnpackRefuses(t *testing.T) {
	yml := tarEntry{name: "service.yml", text: "format: 1\n"}
	good := packed(t, yml)
	for name, test := range map[string]struct {
		tgz  []byte
		want string
	}{
		"nothing":                  {nil, "not gzip"},
		"no archive":               {[]byte("name: x"), "not gzip"},
		"cut off":                  {good[:len(good)/2], "cut off or damaged"},
		"cut off at the end":       {good[:len(good)-4], "cut off or damaged"},
		"damaged":                  {append(bytes.Clone(good[:len(good)-6]), "xxxxxx"...), "cut off or damaged"},
		"something behind":         {append(bytes.Clone(good), "x"...), "behind the end"},
		"two archives":             {append(bytes.Clone(good), good...), "behind the end"},
		"path out":                 {packed(t, tarEntry{name: "../x", text: "x"}), "not a path inside"},
		"path out, hidden":         {packed(t, tarEntry{name: "a/../../x", text: "x"}), "not a path inside"},
		"absolute":                 {packed(t, tarEntry{name: "/etc/x", text: "x"}), "not a path inside"},
		"link":                     {packed(t, tarEntry{name: "templates", kind: tar.TypeSymlink, link: "/etc"}), "neither file nor folder"},
		"hard link":                {packed(t, yml, tarEntry{name: "a", kind: tar.TypeLink, link: "service.yml"}), "neither file nor folder"},
		"device":                   {packed(t, tarEntry{name: "a", kind: tar.TypeChar}), "neither file nor folder"},
		"pipe":                     {packed(t, tarEntry{name: "a", kind: tar.TypeFifo}), "neither file nor folder"},
		"twice":                    {packed(t, yml, yml), "service.yml twice"},
		"twice, written otherwise": {packed(t, yml, tarEntry{name: "./service.yml", text: "x"}), "service.yml twice"},
		"a file as a folder":       {packed(t, tarEntry{name: "a", text: "x"}, tarEntry{name: "a/b", text: "x"}), "should be"},
		"large":                    {packed(t, tarEntry{name: "a", text: strings.Repeat("x", 300<<10)}), "too large"},
		"wrong checksum": {packed(t, yml, tarEntry{name: "SHA256SUMS", text: strings.Repeat("0", 64) + "  service.yml\n"}),
			"service.yml is not what SHA256SUMS says"},
		"no checksum for a file": {packed(t, yml, tarEntry{name: "SHA256SUMS"}), "service.yml is not what SHA256SUMS says"},
	} {
		o, scratch, err := unpack(t, test.tgz)
		if serviceforge.CodeOf(err) != serviceforge.Invalid || !strings.Contains(err.Error(), test.want) || o != nil {
			t.Errorf("%s: got %v, want %s", name, err, test.want)
		}
		nothingLeft(t, scratch)
	}
}

func TestUnpackBombs(t *testing.T) {
	var many, much []tarEntry
	for i := range 2_001 {
		many = append(many, tarEntry{name: "a/" + strings.Repeat("x", i%50) + string(rune('a'+i%26)) + strings.Repeat("y", i/50), text: ""})
	}
	for i := range 70 {
		much = append(much, tarEntry{name: "a" + strings.Repeat("x", i), text: strings.Repeat("\x00", 256<<10)})
	}
	for want, entries := range map[string][]tarEntry{"more than 2000 files": many, "16 MiB together": much} {
		_, scratch, err := unpack(t, packed(t, entries...))
		if serviceforge.CodeOf(err) != serviceforge.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", want, err)
		}
		nothingLeft(t, scratch)
	}
}

func TestOpenReadsFoldersAndArchives(t *testing.T) {
	dir := t.TempDir()
	files, err := authoring.Generate("small")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var packed bytes.Buffer
	if err := authoring.Package(t.Context(), os.DirFS(dir), "/nonexistent", &packed); err != nil {
		t.Fatal(serviceforge.DetailOf(err))
	}
	file := filepath.Join(t.TempDir(), "small.tgz")
	if err := os.WriteFile(file, packed.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{dir, file} {
		scratch := t.TempDir()
		o, err := archive.Open(t.Context(), name, scratch)
		if err != nil {
			t.Fatal(serviceforge.DetailOf(err))
		}
		r, err := releases.Load(o)
		if err != nil {
			t.Fatal(serviceforge.DetailOf(err))
		}
		if r.Name() != "small" {
			t.Errorf("got %s", r.Ref())
		}
		if err := o.Close(); err != nil {
			t.Error(err)
		}
		nothingLeft(t, scratch)
	}
	// A folder's link out of it is not followed.
	if err := os.Symlink("/etc/hostname", filepath.Join(dir, "templates", "out.yml")); err != nil {
		t.Fatal(err)
	}
	o, err := archive.Open(t.Context(), dir, "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = o.Close() }()
	if _, err := fs.ReadFile(o, "templates/out.yml"); err == nil {
		t.Error("a link out of the folder was followed")
	}
	if _, err := archive.Open(t.Context(), filepath.Join(dir, "nothing"), ""); serviceforge.CodeOf(err) != serviceforge.NotFound {
		t.Errorf("got %v", err)
	}
}

func FuzzUnpack(f *testing.F) {
	good := packed(f, tarEntry{name: "service.yml", text: "format: 1\n"}, tarEntry{name: "templates/t.yml", text: "a: 1"})
	f.Add(good)
	f.Add(good[:len(good)-9])
	f.Add(packed(f, tarEntry{name: "../x", text: "x"}))
	f.Add(packed(f, tarEntry{name: "a", kind: tar.TypeSymlink, link: "/"}, tarEntry{name: "a/b", text: "x"}))
	f.Add([]byte{0x1f, 0x8b})
	f.Fuzz(func(t *testing.T, tgz []byte) {
		scratch := t.TempDir()
		o, err := archive.Unpack(context.Background(), bytes.NewReader(tgz), scratch)
		if err == nil {
			if _, err := releases.Load(o); err != nil && serviceforge.CodeOf(err) != serviceforge.Invalid {
				t.Error(err)
			}
			err = o.Close()
		}
		if err != nil && serviceforge.CodeOf(err) != serviceforge.Invalid {
			t.Error(err)
		}
		nothingLeft(t, scratch)
	})
}
