package blobs_test

import (
	"os"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge/localbosh/blobs"
	"github.com/serviceforge/serviceforge/localbosh/bosherr"
)

// Whatever release.MF and job.MF say, an upload ends in a release or in one of the director's errors, and leaves
// nothing half done.
func FuzzRelease(f *testing.F) {
	f.Add([]byte(simpleMF), []byte("name: web\ntemplates: {run.erb: bin/run}\npackages: [server]\n"))
	f.Add([]byte(compiledMF), []byte("name: web\nprovides: [{name: a, type: b}]\n"))
	f.Add([]byte("name: ../x\nversion: 1\njobs: [{name: web, fingerprint: ..}]"), []byte("name: web\ntemplates: {../../x: y}"))
	s := mustOpen(f, f.TempDir())
	f.Fuzz(func(t *testing.T, releaseMF, jobMF []byte) {
		if _, err := s.MatchPackages(releaseMF); err != nil && bosherr.Of(err).Code == 100 {
			t.Errorf("match: %v", err)
		}
		if _, err := s.MatchCompiledPackages(releaseMF); err != nil && bosherr.Of(err).Code == 100 {
			t.Errorf("match compiled: %v", err)
		}
		web := tgz(t, entry{Name: "job.MF", Body: string(jobMF)}, entry{Name: "monit"}, entry{Name: "templates/run.erb"})
		empty := tgz(t, entry{Name: "packaging"})
		u, err := upload(s, release(t, string(releaseMF), map[string]string{"jobs/web.tgz": web, "packages/server.tgz": empty, "packages/lib.tgz": empty,
			"compiled_packages/server.tgz": empty, "compiled_packages/lib.tgz": empty}), blobs.UploadOptions{})
		if err != nil {
			if bosherr.Of(err).Code == 100 {
				t.Errorf("upload: %v", err)
			}
			return
		}
		r, err := s.Release(u.Name, u.Version)
		if err != nil {
			t.Fatal(err)
		}
		for _, j := range r.Jobs {
			if _, err := s.JobTemplates(j); err != nil {
				t.Error(err)
			}
		}
		if r.Name != "bpm" {
			if err := s.DeleteRelease(t.Context(), u.Name, u.Version); err != nil {
				t.Error(err)
			}
		}
		if _, err := s.Clean(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func FuzzArchive(f *testing.F) {
	tiny, err := os.ReadFile("testdata/tiny-service-1.0.0.tgz")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(tiny))
	f.Add(release(f, simpleMF, simpleParts(f)))
	dir := f.TempDir()
	s := mustOpen(f, dir)
	f.Fuzz(func(t *testing.T, archive string) {
		_, _ = s.UploadRelease(t.Context(), strings.NewReader(archive), blobs.UploadOptions{})
		if left := listing(t, dir+"/tmp"); len(left) != 0 {
			t.Errorf("left behind %q", left)
		}
	})
}
