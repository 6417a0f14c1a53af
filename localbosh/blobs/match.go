package blobs

import (
	"slices"

	"github.com/serviceforge/serviceforge/localbosh/manifest"
)

// MatchPackages answers POST /packages/matches: the fingerprints of the packages of a release.MF which the store
// has as source. The list is never nil.
func (s *Store) MatchPackages(releaseMFText []byte) ([]string, error) {
	mf, err := parseMatchRequest(releaseMFText)
	if err != nil {
		return nil, err
	}
	out := []string{}
	for _, p := range mf.packages {
		if exists(s.sourceDir(p.fingerprint)) && !slices.Contains(out, p.fingerprint) {
			out = append(out, p.fingerprint)
		}
	}
	return out, nil
}

// MatchCompiledPackages answers POST /packages/matches_compiled: those the store has compiled for the stemcell's
// operating system. The list is never nil.
func (s *Store) MatchCompiledPackages(releaseMFText []byte) ([]string, error) {
	mf, err := parseMatchRequest(releaseMFText)
	if err != nil {
		return nil, err
	}
	r := mf.release()
	out := []string{}
	for _, m := range mf.packages {
		if exists(s.path("compiled", s.compiledKey(r, r.Package(m.name), "stemcell "+osOf(m.stemcell)))) && !slices.Contains(out, m.fingerprint) {
			out = append(out, m.fingerprint)
		}
	}
	return out, nil
}

// parseMatchRequest reads a release.MF of which only the packages matter.
func parseMatchRequest(text []byte) (*releaseMF, error) {
	tree, err := manifest.ParseTree(text)
	if err != nil {
		return nil, err
	}
	packages := tree["packages"]
	if tree["compiled_packages"] != nil {
		packages = tree["compiled_packages"]
	}
	mf := &releaseMF{}
	if mf.packages, err = parseParts(packages, "package"); err != nil {
		return nil, err
	}
	return mf, mf.checkDependencies()
}

// release is the packages in the form that keys are made from.
func (mf *releaseMF) release() *manifest.Release {
	r := &manifest.Release{Name: mf.name, Version: mf.version}
	for _, m := range mf.packages {
		r.Packages = append(r.Packages, &manifest.Package{Name: m.name, Fingerprint: m.fingerprint, Dependencies: m.dependencies})
	}
	return r
}
