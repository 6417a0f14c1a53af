package blobs

import (
	"regexp"
	"slices"

	"github.com/serviceforge/serviceforge/localbosh/bosherr"
	"github.com/serviceforge/serviceforge/localbosh/manifest"
)

// releaseMF is a release.MF, names, versions and digests as strings.
type releaseMF struct {
	name, version, commit string
	uncommitted           bool
	jobs                  []partMF
	packages              []partMF
	compiled              bool // packages are the compiled_packages
}

// partMF is one job or package of a release.MF.
type partMF struct {
	name, version, fingerprint, sha1 string
	dependencies                     []string
	stemcell                         string // "ubuntu-jammy/1.506" of a compiled package
}

// What may become a file name of the store: every name, version and fingerprint of release.MF must be one.
var fileName = regexp.MustCompile(`^[A-Za-z0-9_+][A-Za-z0-9_.+-]{0,199}$`)

// parseReleaseMF reads a release.MF. Errors are 30002, 30010, and the director's validation errors.
func parseReleaseMF(text []byte) (*releaseMF, error) {
	tree, err := manifest.ParseTree(text)
	if err != nil {
		return nil, bosherr.New(bosherr.ReleaseInvalidArchive, "release.MF: %s", err)
	}
	mf := &releaseMF{name: manifest.Text(tree["name"]), version: manifest.Text(tree["version"]), commit: manifest.Text(tree["commit_hash"])}
	mf.uncommitted, _ = tree["uncommitted_changes"].(bool)
	if !fileName.MatchString(mf.name) {
		return nil, bosherr.New(bosherr.ReleaseInvalidArchive, "Release name invalid: %q", mf.name)
	}
	if !fileName.MatchString(mf.version) {
		return nil, bosherr.New(bosherr.ReleaseVersionInvalid, "Release version invalid: %s", mf.version)
	}
	packages := tree["packages"]
	if tree["compiled_packages"] != nil {
		mf.compiled, packages = true, tree["compiled_packages"]
	}
	if mf.jobs, err = parseParts(tree["jobs"], "job"); err != nil {
		return nil, err
	}
	if mf.packages, err = parseParts(packages, "package"); err != nil {
		return nil, err
	}
	return mf, mf.checkDependencies()
}

func parseParts(v any, kind string) ([]partMF, error) {
	if v == nil {
		return nil, nil
	}
	list, ok := v.([]any)
	if !ok {
		return nil, bosherr.New(bosherr.ReleaseInvalidArchive, "release.MF: the %ss are not a list", kind)
	}
	var out []partMF
	for _, e := range list {
		m, ok := e.(map[string]any)
		if !ok {
			return nil, bosherr.New(bosherr.ReleaseInvalidArchive, "release.MF: a %s is not a hash", kind)
		}
		p := partMF{name: manifest.Text(m["name"]), version: manifest.Text(m["version"]), fingerprint: manifest.Text(m["fingerprint"]),
			sha1: manifest.Text(m["sha1"]), stemcell: manifest.Text(m["stemcell"])}
		if p.fingerprint == "" {
			p.fingerprint = p.version // releases of old
		}
		if deps, ok := m["dependencies"].([]any); ok {
			for _, d := range deps {
				p.dependencies = append(p.dependencies, manifest.Text(d))
			}
		}
		if !fileName.MatchString(p.name) || !fileName.MatchString(p.fingerprint) {
			return nil, bosherr.New(bosherr.ReleaseInvalidArchive, "release.MF: %s %q with fingerprint %q has no usable name", kind, p.name, p.fingerprint)
		}
		if slices.ContainsFunc(out, func(o partMF) bool { return o.name == p.name }) {
			return nil, bosherr.New(bosherr.ReleaseInvalidArchive, "release.MF: %s '%s' is listed twice", kind, p.name)
		}
		out = append(out, p)
	}
	return out, nil
}

// checkDependencies refuses packages that depend on what is not there, or on themselves.
func (mf *releaseMF) checkDependencies() error {
	state := map[string]int{} // 1: on the way, 2: done
	var visit func(name, from string) error
	visit = func(name, from string) error {
		p := mf.pkg(name)
		switch {
		case p == nil:
			return bosherr.New(bosherr.ReleaseInvalidPackage, "Package '%s' depends on missing package '%s'", from, name)
		case state[name] == 1:
			return bosherr.New(bosherr.ReleaseInvalidPackage, "Cycle: package '%s' depends on itself", name)
		case state[name] == 2:
			return nil
		}
		state[name] = 1
		for _, d := range p.dependencies {
			if err := visit(d, name); err != nil {
				return err
			}
		}
		state[name] = 2
		return nil
	}
	for _, p := range mf.packages {
		if err := visit(p.name, ""); err != nil {
			return err
		}
	}
	return nil
}

func (mf *releaseMF) pkg(name string) *partMF {
	for i := range mf.packages {
		if mf.packages[i].name == name {
			return &mf.packages[i]
		}
	}
	return nil
}
