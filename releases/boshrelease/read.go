package boshrelease

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/releases/tarball"
)

// maxMF bounds release.MF and stemcell.MF.
const maxMF = 4 << 20

// Content is what the tarball of a BOSH release says that it holds.
type Content struct {
	Name, Version string
	// Parts are the fingerprints of its jobs and packages, by "jobs/NAME" and
	// "packages/NAME".
	Parts map[string]string
	// Compiled says that its packages were compiled for a stemcell.
	Compiled bool
	Manifest []byte // release.MF

	archives map[string]string // fingerprint of a package that is not compiled -> its file
}

// Read reads release.MF of a BOSH release's tarball. Errors: Invalid.
func Read(from io.Reader) (Content, error) {
	var c Content
	text, err := textInTar(from, "release.MF")
	if err != nil {
		return c, serviceforge.Wrap(err, serviceforge.Invalid, "this is no BOSH release")
	}
	var mf struct {
		Name     string    `yaml:"name"`
		Version  string    `yaml:"version"`
		Jobs     []partRef `yaml:"jobs"`
		Packages []partRef `yaml:"packages"`
		Compiled []partRef `yaml:"compiled_packages"`
	}
	if err := yaml.Unmarshal(text, &mf); err != nil {
		return c, serviceforge.Wrap(err, serviceforge.Invalid, "the release.MF of a BOSH release is not valid YAML")
	}
	c = Content{Name: mf.Name, Version: mf.Version, Manifest: text, Compiled: len(mf.Compiled) > 0, Parts: map[string]string{}, archives: map[string]string{}}
	for _, j := range mf.Jobs {
		c.Parts["jobs/"+j.Name] = j.Fingerprint
	}
	for _, p := range mf.Packages {
		c.Parts["packages/"+p.Name] = p.Fingerprint
		c.archives[p.Fingerprint] = "packages/" + p.Name + ".tgz"
	}
	for _, p := range mf.Compiled {
		c.Parts["packages/"+p.Name] = p.Fingerprint
	}
	if c.Name == "" || c.Version == "" || len(c.Parts) == 0 {
		return c, serviceforge.Errorf(serviceforge.Invalid, "the release.MF of a BOSH release needs name, version, and jobs or packages")
	}
	return c, nil
}

// Stemcell is what the tarball of a stemcell says of itself.
type Stemcell struct {
	Name, OS, Version string
}

// ReadStemcell reads stemcell.MF of a stemcell's tarball. Errors: Invalid.
func ReadStemcell(from io.Reader) (Stemcell, error) {
	text, err := textInTar(from, "stemcell.MF")
	if err != nil {
		return Stemcell{}, serviceforge.Wrap(err, serviceforge.Invalid, "this is no stemcell")
	}
	var mf struct {
		Name    string `yaml:"name"`
		Version string `yaml:"version"`
		OS      string `yaml:"operating_system"`
	}
	if err := yaml.Unmarshal(text, &mf); err != nil || mf.OS == "" || mf.Version == "" {
		return Stemcell{}, serviceforge.Wrap(err, serviceforge.Invalid, "the stemcell.MF of a stemcell needs version and operating_system")
	}
	return Stemcell{Name: mf.Name, OS: mf.OS, Version: mf.Version}, nil
}

var errFound = errors.New("found")

// textInTar returns one file of a tarball.
func textInTar(from io.Reader, name string) (text []byte, err error) {
	err = tarball.Each(from, func(found string, in io.Reader) error {
		if found != name {
			return nil
		}
		var failed error
		if text, failed = io.ReadAll(io.LimitReader(in, maxMF)); failed != nil {
			return failed
		}
		return errFound
	})
	switch {
	case errors.Is(err, errFound):
		return text, nil
	case err == nil:
		err = errors.New("it has no " + name)
	}
	return nil, err
}

// Sparse copies the tarball of a BOSH release without the archives of packages
// whose fingerprints a director knows.
func (c Content) Sparse(ctx context.Context, from io.Reader, to io.Writer, known []string) error {
	var leave []string
	for _, fingerprint := range known {
		leave = append(leave, c.archives[fingerprint])
	}
	if err := copyTar(ctx, from, to, leave); err != nil {
		return serviceforge.Wrap(err, serviceforge.Internal, "the BOSH release %s/%s cannot be packed", c.Name, c.Version)
	}
	return nil
}

func copyTar(ctx context.Context, from io.Reader, to io.Writer, leave []string) error {
	unzip, err := gzip.NewReader(tarball.Interrupted(ctx, from))
	if err != nil {
		return err
	}
	in, zip := tar.NewReader(unzip), gzip.NewWriter(to)
	out := tar.NewWriter(zip)
	for {
		header, err := in.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if slices.Contains(leave, strings.TrimPrefix(header.Name, "./")) {
			continue
		}
		if err := out.WriteHeader(header); err != nil {
			return err
		}
		if _, err := io.Copy(out, in); err != nil {
			return err
		}
	}
	return errors.Join(out.Close(), zip.Close())
}
