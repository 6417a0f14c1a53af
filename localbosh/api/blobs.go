package api

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-chi/chi/v5"

	"github.com/serviceforge/serviceforge/localbosh/bosherr"
	"github.com/serviceforge/serviceforge/localbosh/deploy"
	"github.com/serviceforge/serviceforge/localbosh/manifest"
	"github.com/serviceforge/serviceforge/localbosh/tasks"
)

func (s *server) blobRoutes(r chi.Router) {
	r.Get("/releases", s.listReleases)
	r.Get("/releases/{name}", s.getRelease)
	r.Post("/releases", func(w http.ResponseWriter, r *http.Request) {
		s.upload(w, r, tasks.UpdateRelease, "create release")
	})
	r.Delete("/releases/{name}", s.deleteRelease)
	r.Post("/packages/matches", s.matches(s.Blobs.MatchPackages))
	r.Post("/packages/matches_compiled", s.matches(s.Blobs.MatchCompiledPackages))
	r.Get("/stemcells", s.listStemcells)
	r.Post("/stemcells", func(w http.ResponseWriter, r *http.Request) {
		s.upload(w, r, tasks.UpdateStemcell, "create stemcell")
	})
	r.Post("/stemcell_uploads", consumes("application/json", s.stemcellNeeded))
	r.Delete("/stemcells/{name}/{version}", s.deleteStemcell)
	r.Get("/resources/{id}", s.getResource)
}

func (s *server) listReleases(w http.ResponseWriter, _ *http.Request) {
	type version struct {
		Version            string   `json:"version"`
		CommitHash         string   `json:"commit_hash"`
		UncommittedChanges bool     `json:"uncommitted_changes"`
		CurrentlyDeployed  bool     `json:"currently_deployed"`
		JobNames           []string `json:"job_names"`
	}
	type release struct {
		Name     string    `json:"name"`
		Versions []version `json:"release_versions"`
	}
	out := []release{}
	for _, r := range s.Blobs.Releases() {
		if len(out) == 0 || out[len(out)-1].Name != r.Name {
			out = append(out, release{Name: r.Name})
		}
		v := version{r.Version, r.CommitHash, r.UncommittedChanges, len(s.Engine.ReleaseUsers(r.Name, r.Version)) > 0, []string{}}
		for _, j := range r.Jobs {
			v.JobNames = append(v.JobNames, j.Name)
		}
		last := &out[len(out)-1]
		last.Versions = append(last.Versions, v)
	}
	answer(w, out)
}

// getRelease is GET /releases/NAME: one version with its parts, or, without
// ?version, the parts of all versions together.
func (s *server) getRelease(w http.ResponseWriter, r *http.Request) {
	name := chi.URLParam(r, "name")
	if v := r.URL.Query().Get("version"); v != "" {
		rel, err := s.Blobs.Release(name, v)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		writeJSON(w, http.StatusOK, jsonType, versionParts(&rel.Release))
		return
	}
	jobs, packages, versions := []any{}, []any{}, []string{}
	seen := map[string]bool{}
	for _, rel := range s.Blobs.Releases() {
		if rel.Name != name {
			continue
		}
		versions = append(versions, rel.Version)
		for _, p := range rel.Packages {
			if key := "p" + p.Name + p.Fingerprint; !seen[key] {
				seen[key] = true
				packages = append(packages, map[string]any{"name": p.Name, "sha1": p.SHA1, "version": p.Fingerprint, "dependencies": list(p.Dependencies)})
			}
		}
		for _, j := range rel.Jobs {
			if key := "j" + j.Name + j.Fingerprint; !seen[key] {
				seen[key] = true
				jobs = append(jobs, map[string]any{"name": j.Name, "sha1": j.SHA1, "version": j.Fingerprint, "packages": list(j.Packages)})
			}
		}
	}
	if len(versions) == 0 {
		s.fail(w, r, bosherr.New(bosherr.ReleaseNotFound, "Release '%s' doesn't exist", name))
		return
	}
	writeJSON(w, http.StatusOK, jsonType, map[string]any{"packages": packages, "jobs": jobs, "versions": versions})
}

// list is never nil, so that it is [] in JSON.
func list[T any](in []T) []T {
	if in == nil {
		return []T{}
	}
	return in
}

// versionParts describes one release version. Blobs have no id of their own
// here: the fingerprint is what addresses them.
func versionParts(rel *manifest.Release) map[string]any {
	jobs, packages := []any{}, []any{}
	for _, j := range rel.Jobs {
		consumes, provides := []map[string]any{}, []map[string]any{}
		for _, c := range j.Consumes {
			link := map[string]any{"name": c.Name, "type": c.Type}
			if c.Optional {
				link["optional"] = true
			}
			consumes = append(consumes, link)
		}
		for _, p := range j.Provides {
			link := map[string]any{"name": p.Name, "type": p.Type}
			if len(p.Properties) > 0 {
				link["properties"] = p.Properties
			}
			provides = append(provides, link)
		}
		jobs = append(jobs, map[string]any{
			"name": j.Name, "blobstore_id": j.Fingerprint, "sha1": j.SHA1, "fingerprint": j.Fingerprint,
			"consumes": consumes, "provides": provides,
		})
	}
	for _, p := range rel.Packages {
		compiled := []map[string]any{}
		for _, stemcell := range p.CompiledFor {
			compiled = append(compiled, map[string]any{"stemcell": stemcell, "sha1": p.SHA1, "blobstore_id": p.Fingerprint})
		}
		packages = append(packages, map[string]any{
			"name": p.Name, "blobstore_id": p.Fingerprint, "sha1": p.SHA1, "fingerprint": p.Fingerprint, "compiled_packages": compiled,
		})
	}
	return map[string]any{"jobs": jobs, "packages": packages}
}

// upload spools a tarball, or takes its location, and queues the task for it.
func (s *server) upload(w http.ResponseWriter, r *http.Request, kind tasks.Type, description string) {
	q := r.URL.Query()
	args := deploy.UploadArgs{Rebase: q.Get("rebase") == "true", Fix: q.Get("fix") == "true", Digest: q.Get("sha1")}
	mime, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	switch strings.TrimSpace(mime) {
	case "application/json":
		var in struct{ Location, SHA1 string }
		if err := decode(w, r, &in); err != nil {
			s.fail(w, r, err)
			return
		}
		args.Location, args.Digest = in.Location, in.SHA1
	case "application/x-compressed":
		file, err := s.spool(r.Body)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		args.File = file
	default:
		noEndpoint(w, r)
		return
	}
	s.enqueue(w, r, tasks.Spec{Type: kind, Description: description, Args: args})
}

// spool writes an upload to a file of the spool folder, whose name it returns.
func (s *server) spool(body io.Reader) (name string, err error) {
	f, err := os.CreateTemp(s.Engine.Spool, "upload-")
	if err != nil {
		return "", err
	}
	_, err = io.Copy(f, body)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return "", err
	}
	return filepath.Base(f.Name()), nil
}

func (s *server) deleteRelease(w http.ResponseWriter, r *http.Request) {
	args := deploy.VersionArgs{Name: chi.URLParam(r, "name"), Version: r.URL.Query().Get("version")}
	known := false
	for _, rel := range s.Blobs.Releases() {
		known = known || rel.Name == args.Name
	}
	var err error
	label := args.Name
	if !known {
		err = bosherr.New(bosherr.ReleaseNotFound, "Release '%s' doesn't exist", args.Name)
	} else if args.Version != "" {
		_, err = s.Blobs.Release(args.Name, args.Version)
		label += "/" + args.Version
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.enqueue(w, r, tasks.Spec{Type: tasks.DeleteRelease, Description: "delete release: " + label, Args: args})
}

func (s *server) matches(match func([]byte) ([]string, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		data, err := body(w, r)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		known, err := match(data)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		answer(w, list(known))
	}
}

func (s *server) listStemcells(w http.ResponseWriter, _ *http.Request) {
	type user struct {
		Name string `json:"name"`
	}
	out := []any{}
	for n, c := range s.Blobs.Stemcells() {
		users := []user{}
		for _, name := range s.Engine.StemcellUsers(c.Name, c.Version) {
			users = append(users, user{name})
		}
		out = append(out, map[string]any{
			"name": c.Name, "operating_system": c.OS, "version": c.Version, "cid": c.CID, "cpi": "",
			"deployments": users, "api_version": 3, "id": n + 1,
		})
	}
	answer(w, out)
}

func (s *server) stemcellNeeded(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Stemcell struct{ Name, Version string }
	}
	if err := decode(w, r, &in); err != nil {
		s.fail(w, r, err)
		return
	}
	answer(w, map[string]bool{"needed": s.Blobs.StemcellNeeded(in.Stemcell.Name, in.Stemcell.Version)})
}

func (s *server) deleteStemcell(w http.ResponseWriter, r *http.Request) {
	args := deploy.VersionArgs{Name: chi.URLParam(r, "name"), Version: chi.URLParam(r, "version")}
	s.enqueue(w, r, tasks.Spec{
		Type: tasks.DeleteStemcell, Description: "delete stemcell: " + args.Name + "/" + args.Version, Args: args,
	})
}

func (s *server) getResource(w http.ResponseWriter, r *http.Request) {
	f, err := s.Engine.OpenResource(chi.URLParam(r, "id"))
	if err != nil {
		s.fail(w, r, err)
		return
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || st.IsDir() {
		s.fail(w, r, bosherr.New(bosherr.ResourceNotFound, "Resource '%s' not found in the blobstore", chi.URLParam(r, "id")))
		return
	}
	w.Header().Set("Content-Type", "application/x-gzip")
	http.ServeContent(w, r, "", st.ModTime(), f)
}
