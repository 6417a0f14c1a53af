package blobs

import (
	"context"
	"fmt"
	"os"
)

// Clean removes jobs, package sources and compiled packages that belong to no release, and returns their paths
// below the store. A package that was replaced with fix loses its old compiled folder, so clean only when no VM
// still runs on it. Uploads and compilations under way are not touched.
func (s *Store) Clean(ctx context.Context) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	keep := map[string]bool{}
	for _, versions := range s.releases {
		for _, r := range versions {
			s.reachable(r, keep)
		}
	}
	var removed []string
	for _, kind := range []string{"jobs", "packages", "compiled"} {
		entries, err := os.ReadDir(s.path(kind))
		if err != nil {
			return removed, fmt.Errorf("clean blobs: %w", err)
		}
		for _, e := range entries {
			name := kind + "/" + e.Name()
			if keep[name] {
				continue
			}
			if err := ctx.Err(); err != nil {
				return removed, err
			}
			if err := s.discard(kind, e.Name()); err != nil {
				return removed, fmt.Errorf("clean blobs: %w", err)
			}
			removed = append(removed, name)
		}
	}
	return removed, nil
}

// discard moves a folder out of sight and removes it, so that half a folder is never seen.
func (s *Store) discard(kind, name string) error {
	tmp, err := s.tempDir("discard")
	if err != nil {
		return err
	}
	if err := os.Rename(s.path(kind, name), tmp+"/it"); err != nil {
		return err
	}
	return removeTree(tmp)
}

// reachable marks the parts of a release.
func (s *Store) reachable(r *ReleaseVersion, keep map[string]bool) {
	for _, j := range r.Jobs {
		keep["jobs/"+j.Name+"-"+j.Fingerprint] = true
	}
	for _, p := range r.Packages {
		keep["packages/"+p.Fingerprint] = true
		keep["compiled/"+s.compiledKey(&r.Release, p, "host "+s.platform)] = true
		for _, on := range p.CompiledFor {
			keep["compiled/"+s.compiledKey(&r.Release, p, "stemcell "+osOf(on))] = true
		}
	}
}
