// Package blobs keeps what is uploaded to the director on disk: releases and stemcells, their parts addressed by
// fingerprint, and packages compiled for this machine.
//
// A Store's folder:
//
//	jobs/NAME-FINGERPRINT/         a job as its archive holds it: job.MF, monit, templates/…
//	packages/FINGERPRINT/source/   a package's source; references.json beside it names the files that are links
//	compiled/KEY/                  a compiled package, brought by a release or made here
//	releases/NAME/VERSION.json     a release version; the file appears when all its parts are there
//	stemcells/NAME-VERSION.json    an uploaded stemcell
//	tmp/                           uploads and compilations under way; emptied by Open
//
// Everything is made in tmp, synced and renamed, so that an interrupted upload or compilation leaves nothing that
// can be seen.
package blobs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/serviceforge/serviceforge/localbosh/bosherr"
	"github.com/serviceforge/serviceforge/localbosh/durable"
	"github.com/serviceforge/serviceforge/localbosh/manifest"
)

// Options says where a Store lives.
type Options struct {
	// Dir is the folder of the store; it is created.
	Dir string
	// StemcellVersion is the version of the built-in stemcells; "1.0" if empty.
	StemcellVersion string
	// Platform names the machine for which packages are compiled; read from os-release and GOARCH if empty.
	Platform string
	Limits   Limits
	Log      *slog.Logger // nil discards
}

// Limits bound what an uploaded archive may unpack to. Zero values mean the defaults.
type Limits struct {
	Bytes   int64 // of one upload, nested archives counted too; 16 GiB
	Entries int   // of one upload; 500,000
}

// Store is the director's blobstore and release database. It is safe for concurrent use by one process.
type Store struct {
	dir      string
	platform string
	limits   Limits
	log      *slog.Logger

	mu        sync.RWMutex // guards what follows, and the moment in which parts become visible
	releases  map[string]map[string]*ReleaseVersion
	stemcells map[string]manifest.Stemcell // by name/version
	builtIn   map[string]bool              // stemcells and releases (as NAME/VERSION) that cannot be deleted

	compiling sync.Mutex
	calls     map[string]*compileCall
}

// Open opens or creates a store, removes what an interrupted upload or compilation left, and registers the
// built-in stemcells and the release bpm.
func Open(o Options) (*Store, error) {
	s := &Store{dir: o.Dir, platform: o.Platform, limits: o.Limits, log: o.Log, releases: map[string]map[string]*ReleaseVersion{},
		stemcells: map[string]manifest.Stemcell{}, builtIn: map[string]bool{}, calls: map[string]*compileCall{}}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.limits.Bytes = cmp.Or(s.limits.Bytes, 16<<30)
	s.limits.Entries = cmp.Or(s.limits.Entries, 500_000)
	s.platform = cmp.Or(s.platform, thisPlatform())
	if err := removeTree(s.path("tmp")); err != nil {
		return nil, fmt.Errorf("open blobs: %w", err)
	}
	for _, d := range []string{"jobs", "packages", "compiled", "releases", "stemcells", "tmp"} {
		if err := os.MkdirAll(s.path(d), 0o700); err != nil {
			return nil, fmt.Errorf("open blobs: %w", err)
		}
	}
	if err := s.load(); err != nil {
		return nil, fmt.Errorf("open blobs: %w", err)
	}
	if err := s.registerBuiltIns(cmp.Or(o.StemcellVersion, "1.0")); err != nil {
		return nil, fmt.Errorf("open blobs: %w", err)
	}
	return s, nil
}

func (s *Store) path(parts ...string) string {
	return filepath.Join(append([]string{s.dir}, parts...)...)
}

// tempDir makes a folder in tmp for one upload or compilation.
func (s *Store) tempDir(kind string) (string, error) {
	return os.MkdirTemp(s.path("tmp"), kind+"-")
}

// thisPlatform is os-release's ID and VERSION_ID and the architecture.
func thisPlatform() string {
	text, _ := os.ReadFile("/etc/os-release")
	var id, version string
	for line := range strings.Lines(string(text)) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch k {
		case "ID":
			id = strings.Trim(v, `"'`)
		case "VERSION_ID":
			version = strings.Trim(v, `"'`)
		}
	}
	return cmp.Or(id, runtime.GOOS) + "-" + version + "-" + runtime.GOARCH
}

// ReleaseVersion is one uploaded version, with what GET /releases tells of it.
type ReleaseVersion struct {
	manifest.Release
	CommitHash         string `json:"commit_hash"`
	UncommittedChanges bool   `json:"uncommitted_changes"`
}

// storedRelease is the form on disk: the jobs' specs are read from the jobs again, since JSON would change the
// types of their defaults.
type storedRelease struct {
	Name               string              `json:"name"`
	Version            string              `json:"version"`
	CommitHash         string              `json:"commit_hash,omitempty"`
	UncommittedChanges bool                `json:"uncommitted_changes,omitempty"`
	Jobs               []storedJob         `json:"jobs"`
	Packages           []*manifest.Package `json:"packages"`
}

type storedJob struct {
	Name        string `json:"name"`
	Fingerprint string `json:"fingerprint"`
	SHA1        string `json:"sha1,omitempty"`
}

// load reads releases and stemcells. A damaged one is left out and logged: it can be uploaded again.
func (s *Store) load() error {
	err := walkJSON(s.path("releases"), func(path string) {
		var on storedRelease
		err := durable.ReadJSON(path, &on)
		var r *ReleaseVersion
		if err == nil {
			r, err = s.revive(&on)
		}
		if err != nil {
			s.log.Error("release left out", "file", path, "error", err)
			return
		}
		s.addRelease(r)
	})
	if err != nil {
		return err
	}
	return walkJSON(s.path("stemcells"), func(path string) {
		var sc manifest.Stemcell
		if err := durable.ReadJSON(path, &sc); err != nil {
			s.log.Error("stemcell left out", "file", path, "error", err)
			return
		}
		s.stemcells[sc.Name+"/"+sc.Version] = sc
	})
}

func walkJSON(dir string, do func(path string)) error {
	return filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && filepath.Ext(p) == ".json" && !strings.HasPrefix(d.Name(), ".") {
			do(p)
		}
		return err
	})
}

func (s *Store) revive(on *storedRelease) (*ReleaseVersion, error) {
	r := &ReleaseVersion{CommitHash: on.CommitHash, UncommittedChanges: on.UncommittedChanges,
		Release: manifest.Release{Name: on.Name, Version: on.Version, Packages: on.Packages}}
	for _, j := range on.Jobs {
		spec, err := readJob(s.jobDir(j.Name, j.Fingerprint), j.Name)
		if err != nil {
			return nil, err
		}
		spec.Fingerprint, spec.SHA1 = j.Fingerprint, j.SHA1
		r.Jobs = append(r.Jobs, spec)
	}
	nativeBPM(&r.Release)
	return r, nil
}

// store writes a release version; the caller holds mu.
func (s *Store) store(r *ReleaseVersion) error {
	on := storedRelease{Name: r.Name, Version: r.Version, CommitHash: r.CommitHash, UncommittedChanges: r.UncommittedChanges, Packages: r.Packages}
	for _, j := range r.Jobs {
		on.Jobs = append(on.Jobs, storedJob{Name: j.Name, Fingerprint: j.Fingerprint, SHA1: j.SHA1})
	}
	if err := os.MkdirAll(s.path("releases", r.Name), 0o700); err != nil {
		return err
	}
	if err := durable.WriteJSON(s.path("releases", r.Name, r.Version+".json"), on, durable.Power); err != nil {
		return err
	}
	s.addRelease(r)
	return durable.SyncDir(s.path("releases"))
}

func (s *Store) addRelease(r *ReleaseVersion) {
	if s.releases[r.Name] == nil {
		s.releases[r.Name] = map[string]*ReleaseVersion{}
	}
	s.releases[r.Name][r.Version] = r
}

// Releases returns all release versions, sorted by name and then by version, oldest first. Do not change them.
func (s *Store) Releases() []*ReleaseVersion {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var out []*ReleaseVersion
	for _, versions := range s.releases {
		out = slices.AppendSeq(out, maps.Values(versions))
	}
	slices.SortFunc(out, func(a, b *ReleaseVersion) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), manifest.CompareVersions(a.Version, b.Version))
	})
	return out
}

// Release returns one release version; errors 30005, 30006.
func (s *Store) Release(name, version string) (*ReleaseVersion, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	versions, ok := s.releases[name]
	if !ok {
		return nil, bosherr.New(bosherr.ReleaseNotFound, "Release '%s' doesn't exist", name)
	}
	r, ok := versions[version]
	if !ok {
		return nil, bosherr.New(bosherr.ReleaseVersionNotFound, "Release version '%s/%s' doesn't exist", name, version)
	}
	return r, nil
}

// Catalog is Releases and Stemcells in the form manifest.Parse and manifest.Resolve take. Do not change it.
func (s *Store) Catalog() manifest.Catalog {
	c := manifest.Catalog{Stemcells: s.Stemcells()}
	for _, r := range s.Releases() {
		c.Releases = append(c.Releases, &r.Release)
	}
	return c
}

// DeleteRelease removes a version, or all of them if version is "". Its parts go with the next Clean. Whether it
// is deployed is for the caller to know. Errors 30005, 30006, and 30007 for what is built in.
func (s *Store) DeleteRelease(ctx context.Context, name, version string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	versions, ok := s.releases[name]
	if !ok {
		return bosherr.New(bosherr.ReleaseNotFound, "Release '%s' doesn't exist", name)
	}
	doomed := []string{version}
	if version == "" {
		doomed = slices.Sorted(maps.Keys(versions))
	} else if versions[version] == nil {
		return bosherr.New(bosherr.ReleaseVersionNotFound, "Release version '%s/%s' doesn't exist", name, version)
	}
	for _, v := range doomed {
		if s.builtIn["release "+name+"/"+v] {
			return bosherr.New(bosherr.ReleaseInUse, "Release '%s/%s' is built into this director", name, v)
		}
	}
	for _, v := range doomed {
		if err := os.Remove(s.path("releases", name, v+".json")); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("delete release: %w", err)
		}
		delete(versions, v)
	}
	if len(versions) == 0 {
		delete(s.releases, name)
	}
	return durable.SyncDir(s.path("releases", name))
}
