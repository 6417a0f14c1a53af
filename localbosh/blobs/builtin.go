package blobs

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"

	"github.com/serviceforge/serviceforge/localbosh/durable"
	"github.com/serviceforge/serviceforge/localbosh/manifest"
)

// BPMVersion is the version of the built-in release bpm.
const BPMVersion = "1.4.0"

// Operating systems for which there is a built-in stemcell: the machine itself.
var builtInOS = [...]string{"ubuntu-jammy", "ubuntu-noble"}

const bpmJobMF = "---\nname: bpm\ntemplates: {}\npackages: []\nproperties: {}\n"

// registerBuiltIns adds the stemcells and the release bpm that need no upload.
func (s *Store) registerBuiltIns(stemcellVersion string) error {
	for _, os := range builtInOS {
		sc := manifest.Stemcell{Name: "bosh-local-" + os + "-go_agent", OS: os, Version: stemcellVersion, CID: "local:" + os}
		s.stemcells[sc.Name+"/"+sc.Version] = sc
		s.builtIn["stemcell "+sc.Name+"/"+sc.Version] = true
	}
	if s.releases["bpm"][BPMVersion] != nil {
		return nil // uploaded, or registered before
	}
	digest := sha256.Sum256([]byte(bpmJobMF))
	fingerprint := hex.EncodeToString(digest[:])
	if err := s.writeBPM(s.jobDir("bpm", fingerprint)); err != nil {
		return err
	}
	s.addRelease(&ReleaseVersion{Release: manifest.Release{Name: "bpm", Version: BPMVersion,
		Jobs: []*manifest.JobSpec{{Name: "bpm", Fingerprint: fingerprint, SHA1: "sha256:" + fingerprint}}}})
	s.builtIn["release bpm/"+BPMVersion] = true
	return nil
}

func (s *Store) writeBPM(dir string) error {
	if exists(filepath.Join(dir, "monit")) {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := durable.WriteFile(filepath.Join(dir, "job.MF"), []byte(bpmJobMF), durable.Process); err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(dir, "monit"), nil, durable.Process)
}

// nativeBPM takes templates and packages from the job bpm of an uploaded release bpm: the director's VMs run bpm
// themselves, and nothing of it has to be compiled.
func nativeBPM(r *manifest.Release) {
	if r.Name != "bpm" {
		return
	}
	if j := r.Job("bpm"); j != nil {
		j.Templates, j.Packages = nil, nil
	}
}

// BuiltIn says whether a release or stemcell came with the director, so that it cannot be deleted.
func (s *Store) BuiltIn(name, version string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	id := name + "/" + version
	return s.builtIn["release "+id] || s.builtIn["stemcell "+id]
}
