package blobs_test

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge/localbosh/blobs"
	"github.com/serviceforge/serviceforge/localbosh/manifest"
)

func TestUploadOfTheRecordedRelease(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	path := "testdata/tiny-service-1.0.0.tgz"
	for range 2 { // the same again is fine
		u, err := s.UploadReleaseFile(t.Context(), path, blobs.UploadOptions{})
		if err != nil || u != (blobs.Uploaded{Name: "tiny-service", Version: "1.0.0"}) {
			t.Fatalf("%+v, %v", u, err)
		}
	}
	for _, s := range []*blobs.Store{s, mustOpen(t, dir)} { // now, and after a restart
		r, err := s.Release("tiny-service", "1.0.0")
		if err != nil {
			t.Fatal(err)
		}
		if r.CommitHash != "479779c" || len(r.Jobs) != 3 || len(r.Packages) != 1 || !r.Packages[0].Source {
			t.Errorf("%+v", r)
		}
		j := r.Job("standalone")
		if j == nil || j.Properties["port"].Default != 6379 || j.Provides[0].Type != "tiny" || j.SHA1 != "sha256:349a978af1572ad313a98c185fdfa963ea13f6ce25ad1503fddc1b3efc0a31f6" {
			t.Errorf("%+v", j)
		}
		templates, err := s.JobTemplates(j)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, tpl := range templates {
			names = append(names, tpl.Source+" "+tpl.Dest)
		}
		want := []string{"config.json.erb config/config.json", "drain.erb bin/drain", "post-deploy.erb bin/post-deploy", "pre-start.erb bin/pre-start", "monit monit"}
		if !slices.Equal(names, want) || !strings.Contains(string(templates[0].Body), "<%") {
			t.Errorf("%q", names)
		}
	}
	_, err := s.Release("tiny-service", "9.9")
	wantError(t, err, 30006, "Release version 'tiny-service/9.9' doesn't exist")
	_, err = s.Release("nope", "1")
	wantError(t, err, 30005, "Release 'nope' doesn't exist")
}

func TestSparseUploadAndMatches(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	if got, err := s.MatchPackages([]byte(simpleMF)); err != nil || got == nil || len(got) != 0 {
		t.Fatalf("%v, %v", got, err)
	}
	parts := simpleParts(t)
	mustUpload(t, s, release(t, simpleMF, parts), blobs.UploadOptions{})
	if got, err := s.MatchPackages([]byte(simpleMF)); err != nil || !slices.Equal(got, []string{"p1", "p2"}) {
		t.Fatalf("%v, %v", got, err)
	}
	delete(parts, "packages/server.tgz")
	delete(parts, "packages/lib.tgz")
	second := strings.Replace(simpleMF, `"1.0"`, `"1.1"`, 1)
	mustUpload(t, s, release(t, second, parts), blobs.UploadOptions{})
	if r, err := s.Release("simple", "1.1"); err != nil || !r.Package("server").Source {
		t.Fatalf("%+v, %v", r, err)
	}
	_, err := upload(s, release(t, strings.Replace(second, "fingerprint: p2", "fingerprint: p3", 1), parts), blobs.UploadOptions{})
	wantError(t, err, 30012, "package 'lib' had different fingerprint in previously uploaded release 'simple/1.1'")
	_, err = upload(s, release(t, strings.NewReplacer(`"1.0"`, `"2.0"`, "fingerprint: p2", "fingerprint: p3").Replace(simpleMF), parts), blobs.UploadOptions{})
	wantError(t, err, 60000, "Extracting package 'lib/p2' archive failed.")
}

func TestUploadRefusals(t *testing.T) {
	good := simpleParts(t)
	with := func(name, body string) map[string]string {
		parts := simpleParts(t)
		if parts[name] = body; body == "" {
			delete(parts, name)
		}
		return parts
	}
	web := "jobs/web.tgz"
	for _, tc := range []struct {
		name, mf string
		parts    map[string]string
		code     int
		text     string
	}{
		{"other job", strings.Replace(simpleMF, "fingerprint: j1", "fingerprint: j2", 1), good, 30013, "job 'web' had different fingerprint in previously uploaded release 'simple/1.0'"},
		{"other commit", strings.Replace(simpleMF, "abc", "def", 1), good, 30014, "release 'simple/1.0' has already been uploaded with commit_hash as 'abc' and uncommitted_changes as 'false'"},
		{"bad version", strings.Replace(simpleMF, `"1.0"`, `"../1"`, 1), good, 30010, "Release version invalid: ../1"},
		{"bad name", strings.Replace(simpleMF, "name: simple", "name: ../simple", 1), good, 30002, "Extracting release archive failed."},
		{"bad fingerprint", strings.Replace(simpleMF, "fingerprint: p1", "fingerprint: ../../p", 1), good, 30002, "Extracting release archive failed."},
		{"cycle", strings.Replace(simpleMF, "dependencies: []", "dependencies: [server]", 1), good, 30012, "Cycle"},
		{"missing dependency", strings.Replace(simpleMF, "[lib]", "[nope]", 1), good, 30012, "Package 'server' depends on missing package 'nope'"},
		{"wrong sha1", v2(simpleMF, "fingerprint: j1", "fingerprint: j3, sha1: 'sha256:00'"), good, 30015, "Expected stream to have digest 'sha256:00' but was"},
		{"no job", v2(simpleMF, "fingerprint: j1", "fingerprint: j3"), with(web, ""), 80000, "Extracting job 'web/j1' archive failed."},
		{"no job.MF", v2(simpleMF, "fingerprint: j1", "fingerprint: j3"), with(web, tgz(t, entry{Name: "monit"})), 80001, "Missing job manifest for 'web'"},
		{"no monit", v2(simpleMF, "", ""), with(web, tgz(t, entry{Name: "job.MF", Body: "name: web"})), 80004, "Job 'web' is missing monit file"},
		{"no template", v2(simpleMF, "", ""), with(web, job(t, "web", "templates: {a: b}\n")), 80002, "Missing template file 'a' for job 'web'"},
		{"other name", v2(simpleMF, "", ""), with(web, job(t, "wib", "")), 80007, "Inconsistent name for job 'web'"},
		{"template leaves", v2(simpleMF, "", ""), with(web, job(t, "web", "templates: {a: ../b}\n", entry{Name: "templates/a"})), 80000, "Template 'a' of job 'web'"},
		{"no package", v2(simpleMF, "fingerprint: j1", "fingerprint: j3"), with(web, job(t, "web", "packages: [nope]\n")), 80003, "Job 'web' is referencing a missing package 'nope'"},
		{"link without type", v2(simpleMF, "", ""), with(web, job(t, "web", "provides: [{name: a}]\n")), 80013, "Each provides item in the provides section"},
		{"properties", v2(simpleMF, "", ""), with(web, job(t, "web", "properties: [a]\n")), 80008, "Job 'web' has invalid properties spec format"},
		{"no release.MF", "", nil, 30003, "Release manifest not found"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			s := mustOpen(t, dir)
			mustUpload(t, s, release(t, simpleMF, good), blobs.UploadOptions{})
			before := listing(t, filepath.Join(dir, "releases"))
			archive := release(t, tc.mf, tc.parts)
			if tc.mf == "" {
				archive = tgz(t, entry{Name: "LICENSE"})
			}
			_, err := upload(s, archive, blobs.UploadOptions{})
			wantError(t, err, tc.code, tc.text)
			if after := listing(t, filepath.Join(dir, "releases")); !slices.Equal(before, after) {
				t.Errorf("releases changed: %q", after)
			}
			if left := listing(t, filepath.Join(dir, "tmp")); len(left) != 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

// v2 is mf as version 2.0, with one replacement.
func v2(mf, from, to string) string {
	return strings.Replace(strings.Replace(mf, `"1.0"`, `"2.0"`, 1), from, to, 1)
}

func TestHostileArchives(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside")
	bomb := strings.Repeat("0", 9<<20)
	many := make([]entry, 1100)
	for i := range many {
		many[i] = entry{Name: "f" + strings.Repeat("x", i%7)}
	}
	for name, evil := range map[string]string{
		"dots":              tgz(t, entry{Name: "../../" + filepath.Base(outside), Body: "x"}),
		"absolute":          tgz(t, entry{Name: outside, Body: "x"}),
		"dots inside":       tgz(t, entry{Name: "a/../../../b", Body: "x"}),
		"link out":          tgz(t, entry{Name: "a", Type: tar.TypeSymlink, Link: "../../../etc"}),
		"absolute link":     tgz(t, entry{Name: "a", Type: tar.TypeSymlink, Link: "/etc/passwd"}),
		"sneaky link":       tgz(t, entry{Name: "a", Type: tar.TypeSymlink, Link: "/var/vcap/../../etc"}),
		"write through":     tgz(t, entry{Name: "a", Type: tar.TypeSymlink, Link: "/var/vcap/data"}, entry{Name: "a/b", Body: "x"}),
		"hard link out":     tgz(t, entry{Name: "a", Type: tar.TypeLink, Link: "../../release.MF"}),
		"hard link to link": tgz(t, entry{Name: "a", Type: tar.TypeSymlink, Link: "b"}, entry{Name: "c", Type: tar.TypeLink, Link: "a"}),
		"device":            tgz(t, entry{Name: "a", Type: tar.TypeChar}),
		"fifo":              tgz(t, entry{Name: "a", Type: tar.TypeFifo}),
		"too big":           tgz(t, entry{Name: "a", Body: bomb}),
		"too many":          tgz(t, many...),
		"not an archive":    "hello, world",
		"cut":               tgz(t, entry{Name: "a", Body: bomb[:1<<20]})[:200],
		"file as folder":    tgz(t, entry{Name: "a", Body: "x"}, entry{Name: "a/b", Body: "x"}),
		"empty":             "",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := mustOpen(t, dir)
			before := listing(t, dir)
			parts := simpleParts(t)
			parts["packages/server.tgz"] = evil
			_, err := upload(s, release(t, simpleMF, parts), blobs.UploadOptions{})
			wantError(t, err, 30002, "Extracting release archive failed. Check task debug log for details.")
			if _, err = upload(s, evil, blobs.UploadOptions{}); err == nil {
				t.Error("accepted as a release")
			}
			if after := listing(t, dir); !slices.Equal(before, after) {
				t.Errorf("left behind: %q", after)
			}
			if _, err := os.Lstat(outside); err == nil {
				t.Error("wrote outside")
			}
		})
	}
}

func TestHarmlessArchives(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	parts := simpleParts(t)
	parts["packages/server.tgz"] = tgz(t,
		entry{Name: "./", Type: tar.TypeDir, Mode: 0o755},
		entry{Name: "./packaging", Body: "first"}, entry{Name: "./packaging", Body: "echo"},
		entry{Name: "./d", Type: tar.TypeDir, Mode: 0o555}, entry{Name: "./d/tool", Body: "tool", Mode: 0o4755},
		entry{Name: "./l", Type: tar.TypeSymlink, Link: "d/tool"}, entry{Name: "./v", Type: tar.TypeSymlink, Link: "/var/vcap/packages/lib"},
		entry{Name: "./h", Type: tar.TypeLink, Link: "./d/tool"})
	parts["LICENSE"] = "free"
	mustUpload(t, s, release(t, simpleMF, parts), blobs.UploadOptions{})
	src := filepath.Join(dir, "packages/p1/source")
	if b, _ := os.ReadFile(filepath.Join(src, "packaging")); string(b) != "echo" {
		t.Errorf("packaging: %q", b)
	}
	st, err := os.Stat(filepath.Join(src, "l"))
	if err != nil || st.Mode() != 0o755 || !st.ModTime().Equal(when) {
		t.Errorf("tool: %v, %v, %v", st.Mode(), st.ModTime(), err)
	}
	if b, err := os.ReadFile(filepath.Join(src, "h")); err != nil || string(b) != "tool" {
		t.Errorf("hard link: %q, %v", b, err)
	}
}

func TestDigest(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	tiny, err := os.ReadFile("testdata/tiny-service-1.0.0.tgz")
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.UploadRelease(t.Context(), bytes.NewReader(tiny), blobs.UploadOptions{Digest: "sha256:00"})
	wantError(t, err, 30015, "Expected stream to have digest '00' but was '")
	if len(s.Catalog().Releases) != 1 {
		t.Error("visible in spite of its digest")
	}
}

func TestRebaseFixDeleteClean(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	mustUpload(t, s, release(t, simpleMF, simpleParts(t)), blobs.UploadOptions{})
	parts := simpleParts(t)
	parts["jobs/web.tgz"] = job(t, "web", "description: fixed\n")
	if u := mustUpload(t, s, release(t, strings.Replace(simpleMF, "fingerprint: j1", "fingerprint: j9", 1), parts), blobs.UploadOptions{Rebase: true}); u.Version != "1.0+dev.1" {
		t.Errorf("rebased to %q", u.Version)
	}
	mustUpload(t, s, release(t, simpleMF, parts), blobs.UploadOptions{Fix: true})
	if r, _ := s.Release("simple", "1.0"); r.Job("web").Description != "fixed" {
		t.Error("fix did not replace the job")
	}
	if err := s.DeleteRelease(t.Context(), "simple", "1.0+dev.1"); err != nil {
		t.Fatal(err)
	}
	if removed, err := s.Clean(t.Context()); err != nil || !slices.Equal(removed, []string{"jobs/web-j9"}) {
		t.Errorf("%q, %v", removed, err)
	}
	if err := s.DeleteRelease(t.Context(), "simple", ""); err != nil {
		t.Fatal(err)
	}
	wantError(t, s.DeleteRelease(t.Context(), "simple", "1.0"), 30005, "Release 'simple' doesn't exist")
	if removed, err := s.Clean(t.Context()); err != nil || !slices.Equal(removed, []string{"jobs/web-j1", "packages/p1", "packages/p2"}) {
		t.Errorf("%q, %v", removed, err)
	}
	if again := mustOpen(t, dir); len(again.Releases()) != 1 {
		t.Errorf("deleted releases came back: %d", len(again.Releases()))
	}
}

func TestBuiltIns(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	c := s.Catalog()
	r, ferr := manifest.FindRelease(c.Releases, "bpm", "1.4.0")
	if ferr != nil || r.Job("bpm") == nil {
		t.Fatal(ferr)
	}
	if tpl, err := s.JobTemplates(r.Job("bpm")); err != nil || len(tpl) != 1 || len(tpl[0].Body) != 0 {
		t.Errorf("%+v, %v", tpl, err)
	}
	for _, os := range []string{"ubuntu-jammy", "ubuntu-noble"} {
		if sc, err := manifest.FindStemcell(c.Stemcells, manifest.StemcellRef{OS: os, Version: "latest"}); err != nil || sc.Version != "1.0" {
			t.Errorf("%s: %+v, %v", os, sc, err)
		}
	}
	wantError(t, s.DeleteRelease(t.Context(), "bpm", "1.4.0"), 30007, "Release 'bpm/1.4.0' is built into this director")
	wantError(t, s.DeleteStemcell(t.Context(), "bosh-local-ubuntu-jammy-go_agent", "1.0"), 50004, "Stemcell")
	// A real bpm release takes the place of the built-in one, but its job stays empty: bpm runs natively.
	real := "name: bpm\nversion: 1.4.0\njobs: [{name: bpm, fingerprint: b1}]\npackages: [{name: runc, fingerprint: r1}]\n"
	mustUpload(t, s, release(t, real, map[string]string{"packages/runc.tgz": tgz(t, entry{Name: "packaging"}),
		"jobs/bpm.tgz": job(t, "bpm", "templates: {a: bin/bpm}\npackages: [runc]\n", entry{Name: "templates/a"})}), blobs.UploadOptions{})
	for _, s := range []*blobs.Store{s, mustOpen(t, dir)} {
		r, err := s.Release("bpm", "1.4.0")
		if err != nil || r.Jobs[0].Fingerprint != "b1" || r.Jobs[0].Templates != nil || r.Jobs[0].Packages != nil {
			t.Errorf("%+v, %v", r.Jobs[0], err)
		}
	}
}

func TestStemcells(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	f, err := os.ReadFile("testdata/bosh-stemcell-1.506-dummy.tgz")
	if err != nil {
		t.Fatal(err)
	}
	name := "bosh-dummy-ubuntu-jammy-go_agent"
	if !s.StemcellNeeded(name, "1.506") {
		t.Error("known before the upload")
	}
	sc, err := s.UploadStemcell(t.Context(), bytes.NewReader(f), false, "")
	if err != nil || sc.Name != name || sc.OS != "ubuntu-jammy" || sc.Version != "1.506" {
		t.Fatalf("%+v, %v", sc, err)
	}
	if again := mustOpen(t, dir); again.StemcellNeeded(name, "1.506") {
		t.Error("forgotten by a restart")
	}
	if err := s.DeleteStemcell(t.Context(), name, "1.506"); err != nil {
		t.Error(err)
	}
	wantError(t, s.DeleteStemcell(t.Context(), "nope", "1"), 50003, "Stemcell 'nope/1' doesn't exist")
	_, err = s.UploadStemcell(t.Context(), strings.NewReader(tgz(t, entry{Name: "image"})), false, "")
	wantError(t, err, 50000, "stemcell.MF: Manifest should not be empty")
}
