package blobs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/serviceforge/serviceforge/localbosh/bosherr"
	"github.com/serviceforge/serviceforge/localbosh/durable"
	"github.com/serviceforge/serviceforge/localbosh/manifest"
)

// Stemcells returns the stemcells, built-in ones included, sorted by name and version.
func (s *Store) Stemcells() []manifest.Stemcell {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]manifest.Stemcell, 0, len(s.stemcells))
	for _, sc := range s.stemcells {
		out = append(out, sc)
	}
	slices.SortFunc(out, func(a, b manifest.Stemcell) int {
		if a.Name != b.Name {
			if a.Name < b.Name {
				return -1
			}
			return 1
		}
		return manifest.CompareVersions(a.Version, b.Version)
	})
	return out
}

// StemcellNeeded answers POST /stemcell_uploads.
func (s *Store) StemcellNeeded(name, version string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, have := s.stemcells[name+"/"+version]
	return !have
}

// UploadStemcell registers a stemcell tarball: stemcell.MF is read, the image is ignored, since the machine
// itself is every stemcell. A known one stays as it is unless fix is set, which changes nothing either. Errors
// 50000, 50007 (digest).
func (s *Store) UploadStemcell(ctx context.Context, tgz io.Reader, fix bool, digest string) (manifest.Stemcell, error) {
	sc, err := s.readStemcell(ctx, tgz, digest)
	if err != nil {
		return sc, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id := sc.Name + "/" + sc.Version
	if have, ok := s.stemcells[id]; ok && (!fix || s.builtIn["stemcell "+id]) {
		return have, nil
	}
	if err := durable.WriteJSON(s.path("stemcells", sc.Name+"-"+sc.Version+".json"), sc, durable.Power); err != nil {
		return sc, fmt.Errorf("upload stemcell: %w", err)
	}
	s.stemcells[id] = sc
	return sc, nil
}

func (s *Store) readStemcell(ctx context.Context, tgz io.Reader, want string) (manifest.Stemcell, error) {
	d, err := newDigest(want)
	if err != nil {
		return manifest.Stemcell{}, err
	}
	invalid := func(err error) (manifest.Stemcell, error) {
		return manifest.Stemcell{}, fmt.Errorf("%w: %w", bosherr.New(bosherr.StemcellInvalidArchive, "Extracting stemcell archive failed. Check task debug log for details."), err)
	}
	b := &budget{s.limits.Bytes, s.limits.Entries}
	tgz = io.TeeReader(tgz, d)
	t, err := openTar(ctx, tgz, b)
	if err != nil {
		return invalid(err)
	}
	var text []byte
	for {
		_, name, err := next(t, b)
		if err == io.EOF {
			break
		}
		if err == nil && name == "stemcell.MF" {
			text, err = io.ReadAll(io.LimitReader(t, maxTemplate))
		}
		if err != nil {
			return invalid(err)
		}
	}
	if _, err := io.Copy(io.Discard, &limited{ctx, tgz, b}); err != nil {
		return invalid(err)
	}
	if err := d.check(bosherr.StemcellSha1DoesNotMatch); err != nil {
		return manifest.Stemcell{}, err
	}
	return parseStemcellMF(text)
}

func parseStemcellMF(text []byte) (manifest.Stemcell, error) {
	tree, err := manifest.ParseTree(text)
	if err != nil {
		return manifest.Stemcell{}, bosherr.New(bosherr.StemcellInvalidArchive, "stemcell.MF: %s", err)
	}
	sc := manifest.Stemcell{Name: manifest.Text(tree["name"]), OS: manifest.Text(tree["operating_system"]), Version: manifest.Text(tree["version"])}
	if sc.OS == "" {
		sc.OS = sc.Name
	}
	for _, key := range []string{"name", "version"} {
		if v, ok := tree[key]; !ok {
			return sc, bosherr.New(bosherr.ValidationMissingField, "Required property '%s' was not specified in object (stemcell.MF)", key)
		} else if !fileName.MatchString(manifest.Text(v)) {
			return sc, bosherr.New(bosherr.StemcellInvalidArchive, "stemcell.MF: %s %q is not usable", key, manifest.Text(v))
		}
	}
	sc.CID = "local:" + sc.Name + "/" + sc.Version
	return sc, nil
}

// DeleteStemcell removes an uploaded stemcell; errors 50003, and 50004 for a built-in one. Whether it is in use
// is for the caller to know.
func (s *Store) DeleteStemcell(ctx context.Context, name, version string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := name + "/" + version
	if _, ok := s.stemcells[id]; !ok {
		return bosherr.New(bosherr.StemcellNotFound, "Stemcell '%s' doesn't exist", id)
	}
	if s.builtIn["stemcell "+id] {
		return bosherr.New(bosherr.StemcellInUse, "Stemcell '%s' is built into this director", id)
	}
	if err := os.Remove(s.path("stemcells", name+"-"+version+".json")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete stemcell: %w", err)
	}
	delete(s.stemcells, id)
	return durable.SyncDir(s.path("stemcells"))
}
