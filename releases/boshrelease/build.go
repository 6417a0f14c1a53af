// Package boshrelease builds and reads the tarballs of BOSH releases, and reads
// those of stemcells.
package boshrelease

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/releases/tarball"
)

// Source is the source folder of a BOSH release (jobs/*, packages/*, and
// src/* and blobs/* for the files that packages name) and what is not in it.
type Source struct {
	Name, Version string
	Files         fs.FS
	// Payload gives files of packages that are not in the folder, by
	// "<package>/<path in the package>".
	Payload map[string]Payload
	// Unreleased adds WorkInProgress and a digest to the version.
	Unreleased bool
}

// WorkInProgress is between the version of a BOSH release and a digest of its
// content, where it is not released yet: so a change of it is another version.
const WorkInProgress = "+dev."

// Payload is one big file of a package, e.g. the program.
type Payload struct {
	Path string // file on this machine; not read by a sparse build that is given SHA256
	// SHA256 is its content's digest in hex; empty = computed from Path.
	SHA256 string
	Mode   fs.FileMode // permission bits; 0 = 0755
}

// References maps the payload to the files of this machine, as localbosh's
// EnsureRelease takes them beside a sparse build.
func (s Source) References() map[string]string {
	out := make(map[string]string, len(s.Payload))
	for name, p := range s.Payload {
		out[name] = p.Path
	}
	return out
}

// Build writes the release tarball: release.MF, jobs/*.tgz, packages/*.tgz.
// Equal sources give equal bytes. A sparse build leaves the payload files out;
// fingerprints are those of the full build. Errors: Invalid (the source is
// wrong), Internal (a file cannot be read or written).
func Build(ctx context.Context, w io.Writer, s Source, sparse bool) error {
	b := &boshBuild{source: s, sparse: sparse}
	defer b.close()
	mf := releaseMF{Name: s.Name, Version: s.Version, Commit: "unknown"}
	for _, kind := range []string{"packages", "jobs"} {
		names, err := s.folders(kind)
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := b.part(ctx, kind, name); err != nil {
				return err
			}
		}
	}
	if len(b.parts) == 0 {
		return serviceforge.Errorf(serviceforge.Invalid, "BOSH release %s has no jobs and no packages", s.Name)
	}
	for name := range s.Payload {
		if !b.used[name] {
			return serviceforge.Errorf(serviceforge.Invalid, "BOSH release %s: no package has a file %s", s.Name, name)
		}
	}
	for _, p := range b.parts {
		if p.kind == "jobs" {
			mf.Jobs = append(mf.Jobs, p.ref)
		} else {
			mf.Packages = append(mf.Packages, p.ref)
		}
	}
	if s.Unreleased {
		mf.Version += WorkInProgress + mf.digest()
	}
	return b.write(ctx, w, mf)
}

// releaseMF is release.MF as bosh-cli's release/manifest reads it.
type releaseMF struct {
	Name        string    `yaml:"name"`
	Version     string    `yaml:"version"`
	Commit      string    `yaml:"commit_hash"`
	Uncommitted bool      `yaml:"uncommitted_changes"`
	Jobs        []partRef `yaml:"jobs"`
	Packages    []partRef `yaml:"packages"`
}

// digest is of all fingerprints, as short as people can take it.
func (mf *releaseMF) digest() string {
	h := sha256.New()
	for _, p := range slices.Concat(mf.Jobs, mf.Packages) {
		fmt.Fprintf(h, "%q %q\n", p.Name, p.Fingerprint)
	}
	return hex.EncodeToString(h.Sum(nil))[:12]
}

type partRef struct {
	Name         string   `yaml:"name"`
	Version      string   `yaml:"version"` // the fingerprint
	Fingerprint  string   `yaml:"fingerprint"`
	SHA1         string   `yaml:"sha1"` // "sha256:…" of the archive
	Packages     []string `yaml:"packages,omitempty"`
	Dependencies []string `yaml:"dependencies"`
}

// boshPart is one job or package: its archive, kept in a temporary file when
// it has a payload.
type boshPart struct {
	kind string
	ref  partRef
	text []byte
	file *os.File
}

type boshBuild struct {
	source Source
	sparse bool
	parts  []boshPart
	used   map[string]bool
}

func (b *boshBuild) close() {
	for _, p := range b.parts {
		if p.file != nil {
			_ = p.file.Close()
			_ = os.Remove(p.file.Name())
		}
	}
}

// entry is one file of a job's or package's archive.
type entry struct {
	path   string
	mode   fs.FileMode
	digest string
	text   []byte
	disk   string // path on this machine, instead of text
}

// part reads one job or package and packs it.
func (b *boshBuild) part(ctx context.Context, kind, name string) error {
	var entries []entry
	ref := partRef{Name: name, Dependencies: []string{}}
	var err error
	if kind == "jobs" {
		entries, ref.Packages, err = b.job(name)
	} else {
		entries, ref.Dependencies, err = b.pkg(name)
	}
	if err != nil {
		return err
	}
	slices.SortFunc(entries, func(x, y entry) int { return strings.Compare(x.path, y.path) })
	ref.Fingerprint = fingerprint(kind, entries, ref.Dependencies)
	ref.Version = ref.Fingerprint
	p := boshPart{kind: kind}
	var out io.Writer
	var buf bytes.Buffer
	if out = &buf; len(b.source.Payload) > 0 && !b.sparse {
		if p.file, err = os.CreateTemp("", "serviceforge-build-"); err != nil {
			return serviceforge.Wrap(err, serviceforge.Internal, "no temporary file for the build")
		}
		out = p.file
	}
	b.parts = append(b.parts, p) // before the archive is written, so that the file is removed
	digest := sha256.New()
	if err := packEntries(ctx, io.MultiWriter(out, digest), entries, b.sparse); err != nil {
		return err
	}
	ref.SHA1 = "sha256:" + hex.EncodeToString(digest.Sum(nil))
	last := &b.parts[len(b.parts)-1]
	last.ref, last.text = ref, buf.Bytes()
	return nil
}

// job lists a job's files: job.MF (its spec), monit and the templates its spec
// names.
func (b *boshBuild) job(name string) ([]entry, []string, error) {
	var spec struct {
		Name      string            `yaml:"name"`
		Templates map[string]string `yaml:"templates"`
		Packages  []string          `yaml:"packages"`
	}
	dir := "jobs/" + name + "/"
	text, err := b.spec(dir+"spec", name, &spec, &spec.Name)
	if err != nil {
		return nil, nil, err
	}
	entries := []entry{inline("job.MF", text)}
	wanted := []string{"monit"}
	for source := range spec.Templates {
		wanted = append(wanted, "templates/"+source)
	}
	for _, path := range wanted {
		text, err := fs.ReadFile(b.source.Files, dir+path)
		if err != nil {
			return nil, nil, serviceforge.Wrap(err, serviceforge.Invalid, "BOSH release %s: job %s has no %s", b.source.Name, name, path)
		}
		entries = append(entries, inline(path, text))
	}
	return entries, spec.Packages, nil
}

// spec reads a spec file and checks its name.
func (b *boshBuild) spec(path, name string, into any, given *string) ([]byte, error) {
	text, err := fs.ReadFile(b.source.Files, path)
	if err != nil {
		return nil, serviceforge.Wrap(err, serviceforge.Invalid, "BOSH release %s has no %s", b.source.Name, path)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		return nil, serviceforge.Wrap(err, serviceforge.Invalid, "BOSH release %s: %s is not valid YAML: %s", b.source.Name, path, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if *given != name {
		return nil, serviceforge.Errorf(serviceforge.Invalid, "BOSH release %s: %s must say name: %s", b.source.Name, path, name)
	}
	return text, nil
}

// inline is a small file. Embedded files have no modes of their own; as in
// BOSH, what needs to be executable is so by its place in a job.
func inline(path string, text []byte) entry {
	sum := sha256.Sum256(text)
	return entry{path: path, mode: 0o644, text: text, digest: hex.EncodeToString(sum[:])}
}

// fingerprint is computed from paths, modes and content digests alone, so that
// nobody has to read a payload whose digest is known. It is ours, not the one
// that `bosh create-release` would compute; directors compare, never recompute.
func fingerprint(kind string, entries []entry, dependencies []string) string {
	h := sha256.New()
	fmt.Fprintf(h, "serviceforge 1 %s\n", kind)
	for _, e := range entries {
		fmt.Fprintf(h, "%q %o %s\n", e.path, e.mode, e.digest)
	}
	for _, d := range slices.Sorted(slices.Values(dependencies)) {
		fmt.Fprintf(h, "needs %q\n", d)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// write puts the finished parts into the release tarball.
func (b *boshBuild) write(ctx context.Context, w io.Writer, mf releaseMF) error {
	text, err := yaml.Marshal(mf)
	if err != nil {
		return serviceforge.Wrap(err, serviceforge.Internal, "release.MF cannot be written")
	}
	zip := gzip.NewWriter(w)
	out := tar.NewWriter(zip)
	failed := func(err error) error {
		return serviceforge.Wrap(err, serviceforge.Internal, "the BOSH release cannot be written")
	}
	if err := tarball.File(ctx, out, "release.MF", 0o644, int64(len(text)), bytes.NewReader(text)); err != nil {
		return failed(err)
	}
	for _, p := range b.parts {
		if err := p.write(ctx, out); err != nil {
			return failed(err)
		}
	}
	if err := out.Close(); err != nil {
		return failed(err)
	}
	if err := zip.Close(); err != nil {
		return failed(err)
	}
	return nil
}

func (p boshPart) write(ctx context.Context, out *tar.Writer) error {
	name := p.kind + "/" + p.ref.Name + ".tgz"
	if p.file == nil {
		return tarball.File(ctx, out, name, 0o644, int64(len(p.text)), bytes.NewReader(p.text))
	}
	size, err := p.file.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if _, err := p.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return tarball.File(ctx, out, name, 0o644, size, p.file)
}

func (s Source) folders(kind string) ([]string, error) {
	entries, err := fs.ReadDir(s.Files, kind)
	if err != nil {
		return nil, serviceforge.Wrap(err, serviceforge.Invalid, "BOSH release %s has no folder %s", s.Name, kind)
	}
	var out []string
	for _, e := range entries {
		if e.IsDir() {
			out = append(out, e.Name())
		}
	}
	return out, nil
}
