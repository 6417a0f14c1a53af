package boshrelease

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/releases/tarball"
)

// pkg lists a package's files: packaging and what its spec names, found in src/
// or in the payload.
func (b *boshBuild) pkg(name string) ([]entry, []string, error) {
	spec := struct {
		Name         string   `yaml:"name"`
		Files        []string `yaml:"files"`
		Dependencies []string `yaml:"dependencies"`
	}{Dependencies: []string{}}
	dir := "packages/" + name + "/"
	if _, err := b.spec(dir+"spec", name, &spec, &spec.Name); err != nil {
		return nil, nil, err
	}
	text, err := fs.ReadFile(b.source.Files, dir+"packaging")
	if err != nil {
		return nil, nil, serviceforge.Wrap(err, serviceforge.Invalid, "BOSH release %s: package %s has no packaging", b.source.Name, name)
	}
	entries := []entry{inline("packaging", text)}
	for _, pattern := range spec.Files {
		paths, err := b.matching(name, pattern)
		if err != nil {
			return nil, nil, err
		}
		for _, path := range paths {
			e, err := b.packageFile(name, path)
			if err != nil {
				return nil, nil, err
			}
			entries = append(entries, e)
		}
	}
	return entries, spec.Dependencies, nil
}

// matching lists the files of a package that a line of its spec names, by path
// or by a pattern for the files of one folder.
func (b *boshBuild) matching(name, pattern string) ([]string, error) {
	if !fs.ValidPath(pattern) || strings.Contains(pattern, "**") {
		return nil, serviceforge.Errorf(serviceforge.Invalid, "BOSH release %s: package %s: %q must be the path of one file, or a pattern such as %s/*", b.source.Name, name, pattern, name)
	}
	if !strings.ContainsAny(pattern, "*?[") {
		return []string{pattern}, nil
	}
	var paths []string
	for _, folder := range sourceFolders {
		found, err := fs.Glob(b.source.Files, folder+pattern)
		if err != nil {
			return nil, serviceforge.Errorf(serviceforge.Invalid, "BOSH release %s: package %s: %q is no pattern", b.source.Name, name, pattern)
		}
		for _, path := range found {
			if path = strings.TrimPrefix(path, folder); !slices.Contains(paths, path) {
				paths = append(paths, path)
			}
		}
	}
	if len(paths) == 0 {
		return nil, serviceforge.Errorf(serviceforge.Invalid, "BOSH release %s: package %s: no file is called %s", b.source.Name, name, pattern)
	}
	return paths, nil
}

// sourceFolders are where the files of packages are, as in BOSH: the first that
// has one wins.
var sourceFolders = []string{"src/", "blobs/"}

func (b *boshBuild) packageFile(name, path string) (entry, error) {
	payload, ok := b.source.Payload[name+"/"+path]
	if !ok {
		var text []byte
		var err error
		for _, folder := range sourceFolders {
			if text, err = fs.ReadFile(b.source.Files, folder+path); !errors.Is(err, fs.ErrNotExist) {
				break
			}
		}
		if err != nil {
			return entry{}, serviceforge.Wrap(err, serviceforge.Invalid, "BOSH release %s: package %s has no file %s", b.source.Name, name, path)
		}
		return inline(path, text), nil
	}
	if b.used == nil {
		b.used = make(map[string]bool)
	}
	b.used[name+"/"+path] = true
	e := entry{path: path, mode: payload.Mode.Perm(), disk: payload.Path, digest: payload.SHA256}
	if e.mode == 0 {
		e.mode = 0o755
	}
	if e.digest == "" || !b.sparse {
		digest, err := fileDigest(payload.Path)
		if err != nil {
			return entry{}, serviceforge.Wrap(err, serviceforge.Internal, "the file for %s/%s cannot be read", name, path)
		}
		if e.digest != "" && e.digest != digest {
			return entry{}, serviceforge.Errorf(serviceforge.Invalid, "the file for %s/%s has not the digest given", name, path)
		}
		e.digest = digest
	}
	return e, nil
}

// packEntries writes the entries as a tarball; a sparse one leaves out what lies on disk.
func packEntries(ctx context.Context, w io.Writer, entries []entry, sparse bool) error {
	zip := gzip.NewWriter(w) // no name and no time in its header
	out := tar.NewWriter(zip)
	for _, e := range entries {
		if e.disk != "" && sparse {
			continue
		}
		if err := e.write(ctx, out); err != nil {
			return serviceforge.Wrap(err, serviceforge.Internal, "%s cannot be packed", e.path)
		}
	}
	if err := out.Close(); err != nil {
		return serviceforge.Wrap(err, serviceforge.Internal, "an archive cannot be written")
	}
	if err := zip.Close(); err != nil {
		return serviceforge.Wrap(err, serviceforge.Internal, "an archive cannot be written")
	}
	return nil
}

func (e entry) write(ctx context.Context, out *tar.Writer) error {
	if e.disk == "" {
		return tarball.File(ctx, out, e.path, e.mode, int64(len(e.text)), bytes.NewReader(e.text))
	}
	f, err := os.Open(e.disk)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return tarball.File(ctx, out, e.path, e.mode, info.Size(), f)
}

func fileDigest(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
