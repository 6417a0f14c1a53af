package blobs

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"hash"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/serviceforge/serviceforge/localbosh/bosherr"
	"github.com/serviceforge/serviceforge/localbosh/durable"
	"github.com/serviceforge/serviceforge/localbosh/manifest"
)

func newHash(algorithm string) hash.Hash {
	switch algorithm {
	case "sha1":
		return sha1.New()
	case "sha256":
		return sha256.New()
	case "sha512":
		return sha512.New()
	}
	return nil
}

// packageMeta stands beside a package's source.
type packageMeta struct {
	// Generation rises when an upload with fix replaces the package, so that it is compiled anew.
	Generation int `json:"generation,omitempty"`
	// References are the files of source that are links to files of the machine.
	References []string `json:"references,omitempty"`
}

func (s *Store) sourceDir(fingerprint string) string {
	return s.path("packages", fingerprint, "source")
}
func (s *Store) metaFile(fingerprint string) string {
	return s.path("packages", fingerprint, "package.json")
}

func (s *Store) packageMeta(fingerprint string) packageMeta {
	var m packageMeta
	_ = durable.ReadJSON(s.metaFile(fingerprint), &m) // there is none for a package never replaced and without links
	return m
}

// commit moves the parts into the store and shows the release.
func (u *upload) commit() (Uploaded, error) {
	s := u.s
	s.mu.Lock()
	defer s.mu.Unlock()
	name, version := u.mf.name, u.mf.version
	existing := s.releases[name][version]
	if u.o.Rebase && existing != nil {
		version, existing = s.rebased(name, version), nil
	}
	builtIn := "release " + name + "/" + version
	if existing != nil && !s.builtIn[builtIn] {
		if err := u.compare(existing); err != nil {
			return Uploaded{}, err
		}
	}
	r := &ReleaseVersion{CommitHash: u.mf.commit, UncommittedChanges: u.mf.uncommitted, Release: manifest.Release{Name: name, Version: version}}
	for _, m := range u.mf.packages {
		p, err := u.placePackage(m, existing)
		if err != nil {
			return Uploaded{}, err
		}
		r.Packages = append(r.Packages, p)
	}
	if err := u.placeCompiled(r); err != nil {
		return Uploaded{}, err
	}
	for _, m := range u.mf.jobs {
		j, err := u.placeJob(m)
		if err != nil {
			return Uploaded{}, err
		}
		r.Jobs = append(r.Jobs, j)
	}
	nativeBPM(&r.Release)
	for _, d := range []string{"jobs", "packages", "compiled"} {
		if err := durable.SyncDir(s.path(d)); err != nil {
			return Uploaded{}, fmt.Errorf("upload release: %w", err)
		}
	}
	if err := s.store(r); err != nil {
		return Uploaded{}, fmt.Errorf("upload release: %w", err)
	}
	delete(s.builtIn, builtIn)
	return Uploaded{Name: name, Version: version}, nil
}

// compare refuses another release under the name and version of an uploaded one.
func (u *upload) compare(existing *ReleaseVersion) error {
	if existing.CommitHash != u.mf.commit || existing.UncommittedChanges != u.mf.uncommitted {
		return bosherr.New(bosherr.ReleaseVersionCommitHashMismatch, "release '%s/%s' has already been uploaded with commit_hash as '%s' and uncommitted_changes as '%t'",
			existing.Name, existing.Version, existing.CommitHash, existing.UncommittedChanges)
	}
	for _, m := range u.mf.packages {
		if p := existing.Package(m.name); p != nil && p.Fingerprint != m.fingerprint {
			return bosherr.New(bosherr.ReleaseInvalidPackage, "package '%s' had different fingerprint in previously uploaded release '%s/%s'", m.name, existing.Name, existing.Version)
		}
	}
	for _, m := range u.mf.jobs {
		if j := existing.Job(m.name); j != nil && j.Fingerprint != m.fingerprint {
			return bosherr.New(bosherr.ReleaseExistingJobFingerprint, "job '%s' had different fingerprint in previously uploaded release '%s/%s'", m.name, existing.Name, existing.Version)
		}
	}
	return nil
}

// placePackage makes a package's source visible, if the upload brought it, and returns the package's record.
func (u *upload) placePackage(m partMF, existing *ReleaseVersion) (*manifest.Package, error) {
	p := &manifest.Package{Name: m.name, Fingerprint: m.fingerprint, SHA1: m.sha1, Dependencies: m.dependencies}
	if existing != nil {
		if old := existing.Package(m.name); old != nil {
			p.CompiledFor = old.CompiledFor
			if u.mf.compiled {
				p.SHA1 = old.SHA1
			}
		}
	}
	dst := u.s.sourceDir(m.fingerprint)
	have := exists(dst)
	if brought := u.parts["packages/"+m.name]; !u.mf.compiled && (!have || u.o.Fix) {
		if brought == nil {
			return nil, bosherr.New(bosherr.PackageInvalidArchive, "Extracting package '%s/%s' archive failed. Check task debug log for details.", m.name, m.version)
		}
		if err := u.placeSource(m, brought, dst); err != nil {
			return nil, fmt.Errorf("package '%s': %w", m.name, err)
		}
		have = true
	}
	p.Source = have
	if u.mf.compiled && m.stemcell != "" && !slices.Contains(p.CompiledFor, m.stemcell) {
		p.CompiledFor = append(slices.Clone(p.CompiledFor), m.stemcell)
	}
	return p, nil
}

func (u *upload) placeSource(m partMF, brought *part, dst string) error {
	meta := u.s.packageMeta(m.fingerprint)
	if exists(dst) {
		meta.Generation++
	}
	meta.References = nil
	for name := range u.o.References {
		if pkg, rel, _ := strings.Cut(name, "/"); pkg == m.name {
			meta.References = append(meta.References, filepath.Clean(rel))
		}
	}
	if err := os.MkdirAll(filepath.Dir(dst), 0o700); err != nil {
		return err
	}
	if meta.Generation > 0 || meta.References != nil {
		slices.Sort(meta.References)
		if err := durable.WriteJSON(u.s.metaFile(m.fingerprint), meta, durable.Power); err != nil {
			return err
		}
	}
	if err := replaceDir(brought.dir, dst); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(dst))
}

// placeCompiled makes the compiled packages of a compiled release visible.
func (u *upload) placeCompiled(r *ReleaseVersion) error {
	if !u.mf.compiled {
		return nil
	}
	for _, m := range u.mf.packages {
		p := r.Package(m.name)
		brought := u.parts["compiled_packages/"+m.name]
		key := u.s.compiledKey(&r.Release, p, "stemcell "+osOf(m.stemcell))
		if exists(u.s.path("compiled", key)) && !(u.o.Fix && brought != nil) {
			continue
		}
		if brought == nil {
			return bosherr.New(bosherr.PackageInvalidArchive, "Extracting compiled package '%s/%s' archive failed. Check task debug log for details.", m.name, m.version)
		}
		if err := replaceDir(brought.dir, u.s.path("compiled", key)); err != nil {
			return fmt.Errorf("compiled package '%s': %w", m.name, err)
		}
	}
	return nil
}

// placeJob makes a job visible, if the upload brought it and the store does not have it, and returns its spec.
func (u *upload) placeJob(m partMF) (*manifest.JobSpec, error) {
	dst, brought := u.s.jobDir(m.name, m.fingerprint), u.parts["jobs/"+m.name]
	var spec *manifest.JobSpec
	var err error
	switch {
	case brought != nil && (u.o.Fix || !exists(dst)):
		if err := replaceDir(brought.dir, dst); err != nil {
			return nil, fmt.Errorf("job '%s': %w", m.name, err)
		}
		spec = brought.spec
	case !exists(dst):
		return nil, bosherr.New(bosherr.JobInvalidArchive, "Extracting job '%s/%s' archive failed. Check task debug log for details.", m.name, m.version)
	default:
		if spec, err = readJob(dst, m.name); err != nil {
			return nil, err
		}
	}
	for _, name := range spec.Packages {
		if u.mf.pkg(name) == nil {
			return nil, bosherr.New(bosherr.JobMissingPackage, "Job '%s' is referencing a missing package '%s'", m.name, name)
		}
	}
	spec.Fingerprint, spec.SHA1 = m.fingerprint, m.sha1
	return spec, nil
}

// rebased is the next free development version after version: 1.0.0 → 1.0.0+dev.1 → 1.0.0+dev.2.
func (s *Store) rebased(name, version string) string {
	base, _, _ := strings.Cut(version, "+")
	last := 0
	for v := range s.releases[name] {
		if n, ok := strings.CutPrefix(v, base+"+dev."); ok {
			if i, err := strconv.Atoi(n); err == nil {
				last = max(last, i)
			}
		}
	}
	return base + "+dev." + strconv.Itoa(last+1)
}
