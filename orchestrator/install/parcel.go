package install

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator/director"
	"github.com/serviceforge/serviceforge/releases"
	"github.com/serviceforge/serviceforge/releases/archive"
	"github.com/serviceforge/serviceforge/releases/boshrelease"
	"github.com/serviceforge/serviceforge/store"
)

// stemcellFolder is where a service release carries stemcells.
const stemcellFolder = "bosh/stemcells"

// parcel is a service release that is to be installed, with what it carries.
type parcel struct {
	files     fs.FS
	release   *releases.Release
	texts     archive.Texts
	digest    string             // of texts and of what the carried BOSH releases hold
	bosh      map[string]carried // by the BOSH release's name
	stemcells []stemcell
}

// carried is a BOSH release whose tarball is in the parcel.
type carried struct {
	boshrelease.Content
	tarball director.Tarball
}

type stemcell struct {
	boshrelease.Stemcell
	tarball director.Tarball
}

// open reads all that a release carries. Errors: Invalid, Unprocessable.
func (in *Installer) open(files fs.FS) (*parcel, error) {
	p := &parcel{files: files, bosh: map[string]carried{}}
	var err error
	if p.release, p.texts, err = releases.ReadTexts(files); err != nil {
		return nil, err
	}
	if err := p.release.Runnable(); err != nil {
		return nil, err
	}
	for _, b := range p.release.BOSHReleases() {
		if err := p.carry(b); err != nil {
			return nil, serviceforge.Wrap(err, serviceforge.Invalid, "BOSH release %s: %s", b.Name, serviceforge.MessageOf(err))
		}
	}
	if err := p.carryStemcells(); err != nil {
		return nil, err
	}
	p.digest = p.contentDigest()
	return p, nil
}

// carry reads the tarball of a BOSH release, if there is one. Its version is
// that of service.yml, or made of it for work in progress.
func (p *parcel) carry(b releases.BOSHRelease) error {
	if b.File == "" {
		return nil
	}
	if _, err := fs.Stat(p.files, b.File); err != nil && b.URL != "" {
		return nil // the director fetches it
	}
	tarball, err := tarballOf(p.files, b.File)
	if err != nil {
		return err
	}
	in, err := tarball.Open()
	if err != nil {
		return serviceforge.Wrap(err, serviceforge.Invalid, "%s cannot be read", b.File)
	}
	defer func() { _ = in.Close() }()
	content, err := boshrelease.Read(in)
	if err != nil {
		return serviceforge.Wrap(err, serviceforge.Invalid, "%s: %s", b.File, serviceforge.MessageOf(err))
	}
	if content.Name != b.Name || content.Version != b.Version && !strings.HasPrefix(content.Version, b.Version+boshrelease.WorkInProgress) {
		return serviceforge.Errorf(serviceforge.Invalid, "%s holds %s/%s, not %s/%s", b.File, content.Name, content.Version, b.Name, b.Version)
	}
	p.bosh[b.Name] = carried{content, tarball}
	return nil
}

func (p *parcel) carryStemcells() error {
	entries, err := fs.ReadDir(p.files, stemcellFolder)
	if err != nil {
		return nil // there is no such folder
	}
	for _, e := range entries {
		name := path.Join(stemcellFolder, e.Name())
		tarball, err := tarballOf(p.files, name)
		if err != nil {
			return err
		}
		in, err := tarball.Open()
		if err != nil {
			return serviceforge.Wrap(err, serviceforge.Invalid, "%s cannot be read", name)
		}
		s, err := boshrelease.ReadStemcell(in)
		_ = in.Close()
		if err != nil {
			return serviceforge.Wrap(err, serviceforge.Invalid, "%s: %s", name, serviceforge.MessageOf(err))
		}
		p.stemcells = append(p.stemcells, stemcell{s, tarball})
	}
	return nil
}

func tarballOf(files fs.FS, name string) (director.Tarball, error) {
	info, err := fs.Stat(files, name)
	if err != nil || !info.Mode().IsRegular() {
		return director.Tarball{}, serviceforge.Wrap(err, serviceforge.Invalid, "%s is not in the service release", name)
	}
	return director.Tarball{Size: info.Size(), Open: func() (io.ReadCloser, error) { return files.Open(name) }}, nil
}

func (p *parcel) contentDigest() string {
	h := sha256.New()
	fmt.Fprintln(h, p.texts.Digest())
	for _, name := range slices.Sorted(maps.Keys(p.bosh)) {
		b := p.bosh[name]
		fmt.Fprintf(h, "%q %q\n", b.Name, b.Version)
		for _, part := range slices.Sorted(maps.Keys(b.Parts)) {
			fmt.Fprintf(h, "%q %q\n", part, b.Parts[part])
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// kept is what the record keeps of the BOSH releases.
func (p *parcel) kept() (all []store.BOSHRelease) {
	for _, name := range slices.Sorted(maps.Keys(p.bosh)) {
		b := p.bosh[name]
		all = append(all, store.BOSHRelease{Name: b.Name, Version: b.Version, Parts: b.Parts})
	}
	return all
}
