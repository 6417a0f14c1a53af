package boshrelease_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"gopkg.in/yaml.v3"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/releases"
	"github.com/serviceforge/serviceforge/releases/authoring"
	"github.com/serviceforge/serviceforge/releases/boshrelease"
	"github.com/serviceforge/serviceforge/releases/tarball"
)

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

type part struct {
	Name, Fingerprint, SHA1 string
	Packages                []string
}

type releaseMF struct {
	Name, Version  string
	Jobs, Packages []part
}

func manifestOf(t *testing.T, tgz []byte) releaseMF {
	t.Helper()
	var mf releaseMF
	if err := yaml.Unmarshal(contents(t, tgz)["release.MF"], &mf); err != nil {
		t.Fatal(err)
	}
	return mf
}

// program writes a stand-in for the program and returns its path and digest.
func program(t *testing.T, text string) (string, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(text))
	return path, hex.EncodeToString(sum[:])
}

func build(t *testing.T, s boshrelease.Source, sparse bool) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := boshrelease.Build(t.Context(), &out, s, sparse); err != nil {
		t.Fatal(serviceforge.DetailOf(err))
	}
	return out.Bytes()
}

func etcdSource(t *testing.T, path, digest string) boshrelease.Source {
	t.Helper()
	r, err := releases.Load(releases.Etcd())
	if err != nil {
		t.Fatal(serviceforge.DetailOf(err))
	}
	for _, b := range r.BOSHReleases() {
		if b.Source != "" {
			s, err := authoring.BOSHSourceOf(releases.Etcd(), b, path, digest, "")
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
	}
	t.Fatal("no BOSH release has a source")
	return boshrelease.Source{}
}

func TestBuildBOSH(t *testing.T) {
	path, digest := program(t, "the program")
	full := build(t, etcdSource(t, path, ""), false)
	if !bytes.Equal(full, build(t, etcdSource(t, path, digest), false)) {
		t.Error("two builds differ")
	}
	files, mf := contents(t, full), manifestOf(t, full)
	if mf.Name != "etcd-service" || mf.Version != "1.0.0" || len(mf.Jobs) != 2 || len(mf.Packages) != 1 || mf.Jobs[0].Packages[0] != "etcd" {
		t.Fatalf("got %+v", mf)
	}
	for kind, p := range map[string]part{"jobs": mf.Jobs[0], "packages": mf.Packages[0]} {
		archive := files[kind+"/"+p.Name+".tgz"]
		sum := sha256.Sum256(archive)
		if p.SHA1 != "sha256:"+hex.EncodeToString(sum[:]) || len(p.Fingerprint) != 64 {
			t.Errorf("%s: digest %s, fingerprint %s", kind, p.SHA1, p.Fingerprint)
		}
	}
	job, pkg := contents(t, files["jobs/etcd.tgz"]), contents(t, files["packages/etcd.tgz"])
	if job["job.MF"] == nil || job["monit"] == nil || job["templates/bpm.yml.erb"] == nil {
		t.Errorf("job has %d files", len(job))
	}
	if string(pkg["etcd"]) != "the program" || pkg["packaging"] == nil {
		t.Errorf("package has %d files", len(pkg))
	}
}

func TestSparseBuildHasTheSameFingerprints(t *testing.T) {
	path, digest := program(t, "the program")
	full := manifestOf(t, build(t, etcdSource(t, path, ""), false))
	s := etcdSource(t, "/nonexistent", digest) // not read
	sparse := build(t, s, true)
	mf := manifestOf(t, sparse)
	if mf.Packages[0].Fingerprint != full.Packages[0].Fingerprint || mf.Jobs[0].Fingerprint != full.Jobs[0].Fingerprint {
		t.Errorf("got %+v, want %+v", mf, full)
	}
	if pkg := contents(t, contents(t, sparse)["packages/etcd.tgz"]); pkg["packaging"] == nil || pkg["etcd"] != nil {
		t.Errorf("the package has %d files", len(pkg))
	}
	if r := s.References(); r["etcd/etcd"] != "/nonexistent" {
		t.Errorf("got %v", r)
	}
	other, _ := program(t, "another program")
	if manifestOf(t, build(t, etcdSource(t, other, ""), true)).Packages[0].Fingerprint == full.Packages[0].Fingerprint {
		t.Error("another program has the same fingerprint")
	}
}

// What a folder holds, source or blob, goes into the package; a source wins.
func TestPackagesTakeAFolder(t *testing.T) {
	files := fstest.MapFS{
		"jobs":                     {Mode: fs.ModeDir},
		"packages/redis/spec":      {Data: []byte("name: redis\nfiles: ['redis/*']\n")},
		"packages/redis/packaging": {},
		"src/redis/README.md":      {Data: []byte("source")},
		"blobs/redis/README.md":    {Data: []byte("blob")},
		"blobs/redis/redis.tar.gz": {Data: []byte("server")},
	}
	tgz := build(t, boshrelease.Source{Name: "r", Version: "1", Files: files}, false)
	pkg := contents(t, contents(t, tgz)["packages/redis.tgz"])
	if len(pkg) != 3 || string(pkg["redis/README.md"]) != "source" || string(pkg["redis/redis.tar.gz"]) != "server" {
		t.Errorf("got %q", pkg)
	}
}

func TestBuildRefuses(t *testing.T) {
	path, digest := program(t, "x")
	ok := func() fstest.MapFS {
		return fstest.MapFS{
			"jobs/j/spec":          {Data: []byte("name: j\ntemplates: {t: t}\n")},
			"jobs/j/monit":         {},
			"jobs/j/templates/t":   {},
			"packages/p/spec":      {Data: []byte("name: p\nfiles: [a]\n")},
			"packages/p/packaging": {},
			"src/a":                {},
		}
	}
	for name, test := range map[string]struct {
		want   string
		change func(files fstest.MapFS, s *boshrelease.Source)
	}{
		"no monit":     {"has no monit", func(f fstest.MapFS, _ *boshrelease.Source) { delete(f, "jobs/j/monit") }},
		"no template":  {"has no templates/t", func(f fstest.MapFS, _ *boshrelease.Source) { delete(f, "jobs/j/templates/t") }},
		"no packaging": {"has no packaging", func(f fstest.MapFS, _ *boshrelease.Source) { delete(f, "packages/p/packaging") }},
		"no file":      {"has no file a", func(f fstest.MapFS, _ *boshrelease.Source) { delete(f, "src/a") }},
		"glob": {"must be the path of one file", func(f fstest.MapFS, _ *boshrelease.Source) {
			f["packages/p/spec"].Data = []byte("name: p\nfiles: ['**/*']")
		}},
		"empty glob": {"no file is called z*", func(f fstest.MapFS, _ *boshrelease.Source) {
			f["packages/p/spec"].Data = []byte("name: p\nfiles: ['z*']")
		}},
		"out of it": {"must be the path of one file", func(f fstest.MapFS, _ *boshrelease.Source) {
			f["packages/p/spec"].Data = []byte("name: p\nfiles: [../a]")
		}},
		"other name": {"must say name: j", func(f fstest.MapFS, _ *boshrelease.Source) { f["jobs/j/spec"].Data = []byte("name: k") }},
		"no YAML":    {"not valid YAML", func(f fstest.MapFS, _ *boshrelease.Source) { f["jobs/j/spec"].Data = []byte("{") }},
		"stray payload": {"no package has a file p/b", func(_ fstest.MapFS, s *boshrelease.Source) {
			s.Payload = map[string]boshrelease.Payload{"p/b": {Path: path}}
		}},
		"other digest": {"has not the digest given", func(_ fstest.MapFS, s *boshrelease.Source) {
			s.Payload = map[string]boshrelease.Payload{"p/a": {Path: path, SHA256: strings.Repeat("0", len(digest))}}
		}},
	} {
		s := boshrelease.Source{Name: "r", Version: "1", Files: ok()}
		test.change(s.Files.(fstest.MapFS), &s)
		err := boshrelease.Build(t.Context(), io.Discard, s, false)
		if serviceforge.CodeOf(err) != serviceforge.Invalid || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %s", name, err, test.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := boshrelease.Build(ctx, io.Discard, boshrelease.Source{Name: "r", Version: "1", Files: ok()}, false)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: got %v", err)
	}
}
