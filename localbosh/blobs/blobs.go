// Package blobs keeps what is uploaded to the director on disk: releases and stemcells, their parts addressed by
// fingerprint, and packages compiled for this machine.
package blobs

import (
	"context"
	"errors"
	"io"
	"log/slog"

	"github.com/serviceforge/serviceforge/localbosh/manifest"
)

var errStub = errors.New("blobs: being written")

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
	Bytes   int64 // of all files of one archive; 8 GiB
	Entries int   // of one archive; 200,000
}

// Store is the director's blobstore and release database. It is safe for concurrent use by one process.
type Store struct{}

// Open opens or creates a store, removes what an interrupted upload or compilation left, and registers the
// built-in stemcells and the release bpm.
func Open(o Options) (*Store, error) { return nil, errStub }

// UploadOptions are those of POST /releases.
type UploadOptions struct {
	// Rebase gives an existing version a new number instead of an error.
	Rebase bool
	// Fix replaces the parts the director already has.
	Fix bool
	// Digest is the expected "sha256:…", "sha512:…" or SHA-1 of the tarball; "" is not checked.
	Digest string
	// References maps "package/path/of/file" to a file of this machine which becomes that file of the package's
	// source by a hard link (a copy where links are impossible), so that a big binary is neither packed nor
	// copied. The tarball's package holds everything else; the fingerprint in release.MF must cover the
	// referenced bytes, since nothing else tells two of them apart.
	References map[string]string
}

// Uploaded is what an upload ended in.
type Uploaded struct{ Name, Version string }

// UploadRelease reads a release tarball to its end, checks it and makes it visible at once, or not at all. Parts
// that the store has may be left out of it (sparse uploads).
func (s *Store) UploadRelease(ctx context.Context, tgz io.Reader, o UploadOptions) (Uploaded, error) {
	return Uploaded{}, errStub
}

// UploadReleaseFile is UploadRelease of a file, which is read in place.
func (s *Store) UploadReleaseFile(ctx context.Context, path string, o UploadOptions) (Uploaded, error) {
	return Uploaded{}, errStub
}

// ReleaseVersion is one uploaded version, with what GET /releases tells of it.
type ReleaseVersion struct {
	manifest.Release
	CommitHash         string `json:"commit_hash"`
	UncommittedChanges bool   `json:"uncommitted_changes"`
}

// Releases returns all release versions, sorted by name and then by version, oldest first. Do not change them.
func (s *Store) Releases() []*ReleaseVersion { return nil }

// Release returns one release version; errors 30005, 30006.
func (s *Store) Release(name, version string) (*ReleaseVersion, error) { return nil, errStub }

// Catalog is Releases and Stemcells in the form manifest.Parse and manifest.Resolve take.
func (s *Store) Catalog() manifest.Catalog { return manifest.Catalog{} }

// DeleteRelease removes a version, or all of them if version is "". Whether it is deployed is for the caller to
// know.
func (s *Store) DeleteRelease(ctx context.Context, name, version string) error { return errStub }

// MatchPackages answers POST /packages/matches: the fingerprints of the packages of a release.MF which the store
// has as source.
func (s *Store) MatchPackages(releaseMF []byte) ([]string, error) { return nil, errStub }

// MatchCompiledPackages answers POST /packages/matches_compiled.
func (s *Store) MatchCompiledPackages(releaseMF []byte) ([]string, error) { return nil, errStub }

// Template is one template of a job, or its monit file.
type Template struct {
	Source, Dest string
	Body         []byte
}

// JobTemplates returns a job's templates in the order of its spec, followed by its monit file ("monit", "monit").
func (s *Store) JobTemplates(job *manifest.JobSpec) ([]Template, error) { return nil, errStub }

// Compilation is one package to compile.
type Compilation struct {
	Name, Fingerprint string
	// Source is the unpacked source with the packaging script, to be copied or used as it is: it is the
	// compilation's own and removed afterwards.
	Source string
	// Target is the empty folder that becomes /var/vcap/packages/NAME.
	Target string
	// Dependencies maps package names to their compiled folders, transitive ones included.
	Dependencies map[string]string
}

// CompileFunc runs a package's packaging script; an error leaves nothing behind.
type CompileFunc func(ctx context.Context, c Compilation) error

// Compiled returns the folder of a package compiled for this machine, if there is one.
func (s *Store) Compiled(release *manifest.Release, pkg *manifest.Package, stemcell manifest.Stemcell) (dir string, ok bool) {
	return "", false
}

// Compile returns the folder of the compiled package; it is made by compile if need be, after the packages it
// depends on. Concurrent callers of the same package wait for one compilation. The folder is never changed
// afterwards. A package that came compiled for the stemcell's OS is used as it came.
func (s *Store) Compile(ctx context.Context, release *manifest.Release, pkg *manifest.Package, stemcell manifest.Stemcell, compile CompileFunc) (dir string, err error) {
	return "", errStub
}

// Stemcells returns the stemcells, built-in ones included.
func (s *Store) Stemcells() []manifest.Stemcell { return nil }

// StemcellNeeded answers POST /stemcell_uploads.
func (s *Store) StemcellNeeded(name, version string) bool { return true }

// UploadStemcell registers a light stemcell tarball: stemcell.MF is read, the image is ignored. Errors 50000,
// 50002 (known already and not fix).
func (s *Store) UploadStemcell(ctx context.Context, tgz io.Reader, fix bool, digest string) (manifest.Stemcell, error) {
	return manifest.Stemcell{}, errStub
}

// DeleteStemcell removes an uploaded stemcell; error 50003. Whether it is in use is for the caller to know.
func (s *Store) DeleteStemcell(ctx context.Context, name, version string) error { return errStub }

// Clean removes blobs and compiled packages that no release refers to, and returns what it removed.
func (s *Store) Clean(ctx context.Context) ([]string, error) { return nil, errStub }
