// Package authoring is what authors of service releases work with: it generates,
// compares, converts and packs them.
package authoring

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"debug/elf"
	"encoding/hex"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/releases"
	"github.com/serviceforge/serviceforge/releases/archive"
	"github.com/serviceforge/serviceforge/releases/boshrelease"
	"github.com/serviceforge/serviceforge/releases/tarball"
)

// buildCommand makes a program that runs on every stemcell.
const buildCommand = "CGO_ENABLED=0 go build -o serviceforge ./cmd/serviceforge"

// PayloadOf names the files of our own BOSH releases that are the program
// itself.
func PayloadOf(program, sha256 string) map[string]boshrelease.Payload {
	return map[string]boshrelease.Payload{"etcd/etcd": {Path: program, SHA256: sha256}}
}

// BOSHSourceOf returns the source of a BOSH release that the service release in
// files carries as a folder, with program (of that digest, or "" if unknown) as
// its payload. version replaces the one of service.yml unless it is empty.
// Errors: Invalid, NotFound.
func BOSHSourceOf(files fs.FS, b releases.BOSHRelease, program, sha256, version string) (boshrelease.Source, error) {
	if b.Source == "" {
		return boshrelease.Source{}, serviceforge.Errorf(serviceforge.NotFound, "BOSH release %s has no source here", b.Name)
	}
	folder, err := fs.Sub(files, b.Source)
	if err != nil {
		return boshrelease.Source{}, serviceforge.Wrap(err, serviceforge.Invalid, "%s is not a folder", b.Source)
	}
	if version == "" {
		version = b.Version
	}
	payload := PayloadOf(program, sha256)
	for file := range payload {
		if _, err := fs.Stat(folder, "packages/"+path.Dir(file)+"/spec"); err != nil {
			delete(payload, file) // another's release, which has no such package
		}
	}
	return boshrelease.Source{Name: b.Name, Version: version, Files: folder, Payload: payload}, nil
}

// Buildable says what keeps the BOSH releases whose source is in files from
// being built; in a packed service release there is none. Errors: Invalid.
func Buildable(ctx context.Context, files fs.FS, r *releases.Release) error {
	for _, b := range r.BOSHReleases() {
		if _, err := fs.Stat(files, b.File); b.Source == "" || err == nil {
			continue // it is built
		}
		source, err := BOSHSourceOf(files, b, "", "not read", "")
		if err == nil {
			err = boshrelease.Build(ctx, io.Discard, source, true)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Package writes the service release in files as a tarball that can be
// installed on a real broker: it builds the BOSH releases whose source is
// there, with program as payload. It refuses a program that could not run on a
// stemcell (dynamically linked, or built with -race) with the command that
// builds a fit one. Equal inputs give equal bytes. Errors: Invalid, Internal.
func Package(ctx context.Context, files fs.FS, program string, w io.Writer) error {
	return packRelease(ctx, files, program, false, w)
}

// PackageUnreleased is Package for work in progress: the BOSH releases that are
// built get versions of their own for each content (WorkInProgress).
func PackageUnreleased(ctx context.Context, files fs.FS, program string, w io.Writer) error {
	return packRelease(ctx, files, program, true, w)
}

func packRelease(ctx context.Context, files fs.FS, program string, unreleased bool, w io.Writer) error {
	r, err := releases.Load(files)
	if err != nil {
		return err
	}
	holdsProgram := func(b releases.BOSHRelease) bool {
		source, err := BOSHSourceOf(files, b, program, "", "")
		return err == nil && b.File != "" && len(source.Payload) > 0
	}
	if slices.ContainsFunc(r.BOSHReleases(), holdsProgram) {
		if err := checkProgram(program); err != nil {
			return err
		}
	}
	zip := gzip.NewWriter(w)
	out := &summed{Writer: tar.NewWriter(zip), digests: map[string]string{}}
	if err := packText(ctx, out, files, r); err != nil {
		return err
	}
	for _, b := range r.BOSHReleases() {
		if b.Source == "" || b.File == "" {
			continue
		}
		if err := packBOSH(ctx, out, files, b, program, unreleased); err != nil {
			return err
		}
	}
	text := archive.SumsOf(out.digests)
	if err := tarball.File(ctx, out.Writer, archive.Sums, 0o644, int64(len(text)), strings.NewReader(text)); err != nil {
		return serviceforge.Wrap(err, serviceforge.Internal, "the service release cannot be written")
	}
	if err := out.Close(); err != nil {
		return serviceforge.Wrap(err, serviceforge.Internal, "the service release cannot be written")
	}
	if err := zip.Close(); err != nil {
		return serviceforge.Wrap(err, serviceforge.Internal, "the service release cannot be written")
	}
	return nil
}

// summed is a tarball whose files are summed up on the way.
type summed struct {
	*tar.Writer
	digests map[string]string
}

func (s *summed) file(ctx context.Context, name string, mode fs.FileMode, size int64, from io.Reader) error {
	h := sha256.New()
	err := tarball.File(ctx, s.Writer, name, mode, size, io.TeeReader(from, h))
	s.digests[name] = hex.EncodeToString(h.Sum(nil))
	return err
}

// packText packs every file but the sources of BOSH releases.
func packText(ctx context.Context, out *summed, files fs.FS, r *releases.Release) error {
	var sources []string
	for _, b := range r.BOSHReleases() {
		sources = append(sources, b.Source)
	}
	return fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return serviceforge.Wrap(err, serviceforge.Internal, "%s cannot be read", path)
		case d.IsDir() && path != "." && slices.Contains(sources, path):
			return fs.SkipDir
		case d.IsDir():
			return nil
		}
		if path == archive.Sums || slices.ContainsFunc(r.BOSHReleases(), func(b releases.BOSHRelease) bool { return b.Source != "" && b.File == path }) {
			return nil // made anew
		}
		if strings.HasPrefix(path, "bosh/") {
			return packLarge(ctx, out, files, path)
		}
		text, err := archive.ReadFile(files, path)
		if err != nil {
			return err
		}
		if err := out.file(ctx, path, 0o644, int64(len(text)), bytes.NewReader([]byte(text))); err != nil {
			return serviceforge.Wrap(err, serviceforge.Internal, "%s cannot be packed", path)
		}
		return nil
	})
}

// packLarge packs a BOSH release that is there as a tarball.
func packLarge(ctx context.Context, out *summed, files fs.FS, path string) error {
	f, err := files.Open(path)
	if err != nil {
		return serviceforge.Wrap(err, serviceforge.Invalid, "%s cannot be read", path)
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		return serviceforge.Errorf(serviceforge.Invalid, "%s is no file", path)
	}
	if err == nil {
		err = out.file(ctx, path, 0o644, info.Size(), f)
	}
	if err != nil {
		return serviceforge.Wrap(err, serviceforge.Internal, "%s cannot be packed", path)
	}
	return nil
}

// packBOSH builds one BOSH release and packs its tarball.
func packBOSH(ctx context.Context, out *summed, files fs.FS, b releases.BOSHRelease, program string, unreleased bool) error {
	source, err := BOSHSourceOf(files, b, program, "", "")
	source.Unreleased = unreleased
	if err != nil {
		return err
	}
	temporary, err := os.CreateTemp("", "serviceforge-package-")
	if err != nil {
		return serviceforge.Wrap(err, serviceforge.Internal, "no temporary file for the build")
	}
	defer os.Remove(temporary.Name())
	defer temporary.Close()
	if err := boshrelease.Build(ctx, temporary, source, false); err != nil {
		return err
	}
	size, err := temporary.Seek(0, io.SeekCurrent)
	if err == nil {
		_, err = temporary.Seek(0, io.SeekStart)
	}
	if err == nil {
		err = out.file(ctx, b.File, 0o644, size, temporary)
	}
	if err != nil {
		return serviceforge.Wrap(err, serviceforge.Internal, "%s cannot be packed", b.File)
	}
	return nil
}

// checkProgram says whether the program can run on a stemcell: a static Linux
// executable without the race detector.
func checkProgram(program string) error {
	f, err := elf.Open(program)
	if err != nil {
		return serviceforge.Wrap(err, serviceforge.Invalid, "%s is not a Linux executable; build one with: %s", program, buildCommand)
	}
	defer f.Close()
	for _, segment := range f.Progs {
		if segment.Type == elf.PT_INTERP {
			return serviceforge.Errorf(serviceforge.Invalid, "%s is dynamically linked and would not run on a stemcell; build a static one with: %s", program, buildCommand)
		}
	}
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return serviceforge.Wrap(err, serviceforge.Invalid, "%s is not a Go program; build one with: %s", program, buildCommand)
	}
	for _, setting := range info.Settings {
		if setting.Key == "-race" && setting.Value == "true" {
			return serviceforge.Errorf(serviceforge.Invalid, "%s was built with -race and would not run on a stemcell; build a fit one with: %s", program, buildCommand)
		}
	}
	return nil
}
