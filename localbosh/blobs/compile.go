package blobs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/serviceforge/serviceforge/localbosh/bosherr"
	"github.com/serviceforge/serviceforge/localbosh/durable"
	"github.com/serviceforge/serviceforge/localbosh/manifest"
)

// Compilation is one package to compile.
type Compilation struct {
	Name, Fingerprint string
	// Source is a copy of the source with the packaging script. It is the compilation's own and removed
	// afterwards; only referenced files in it (UploadOptions.References) are links to files that others use.
	Source string
	// Target is an empty folder, which becomes /var/vcap/packages/NAME.
	Target string
	// Dependencies maps package names to their compiled folders, transitive ones included.
	Dependencies map[string]string
}

// CompileFunc runs a package's packaging script; an error leaves nothing behind.
type CompileFunc func(ctx context.Context, c Compilation) error

// compileCall is a compilation under way, for those who wait for the same key.
type compileCall struct {
	done chan struct{}
	err  error
}

// dependencies lists what a package needs, transitively, each after what it needs itself; without the package.
func dependencies(r *manifest.Release, pkg *manifest.Package) []*manifest.Package {
	var out []*manifest.Package
	seen := map[string]bool{pkg.Name: true}
	var add func(p *manifest.Package)
	add = func(p *manifest.Package) {
		for _, name := range p.Dependencies {
			if d := r.Package(name); d != nil && !seen[name] {
				seen[name] = true
				add(d)
				out = append(out, d)
			}
		}
	}
	add(pkg)
	return out
}

// compiledKey names the folder of a compiled package: what it is made of, and for what.
func (s *Store) compiledKey(r *manifest.Release, pkg *manifest.Package, platform string) string {
	h := sha256.New()
	for _, p := range append(dependencies(r, pkg), pkg) {
		fmt.Fprintf(h, "%q %q %d\n", p.Name, p.Fingerprint, s.packageMeta(p.Fingerprint).Generation)
	}
	fmt.Fprintf(h, "%q", platform)
	return hex.EncodeToString(h.Sum(nil))
}

// Compiled returns the folder of a package that is compiled for the stemcell's operating system (brought by a
// release) or for this machine, if there is one.
func (s *Store) Compiled(release *manifest.Release, pkg *manifest.Package, stemcell manifest.Stemcell) (dir string, ok bool) {
	for _, platform := range []string{"stemcell " + stemcell.OS, "host " + s.platform} {
		if dir := s.path("compiled", s.compiledKey(release, pkg, platform)); exists(dir) {
			return dir, true
		}
	}
	return "", false
}

// Compile returns the folder of the compiled package; it is made by compile if need be, after the packages it
// depends on. Concurrent callers of the same package wait for one compilation. The folder is never changed
// afterwards. A package that came compiled for the stemcell's OS is used as it came. Error 60001 if there is
// neither; errors of compile come back as they are.
func (s *Store) Compile(ctx context.Context, release *manifest.Release, pkg *manifest.Package, stemcell manifest.Stemcell, compile CompileFunc) (dir string, err error) {
	deps := map[string]string{}
	for _, d := range dependencies(release, pkg) {
		if deps[d.Name], err = s.Compile(ctx, release, d, stemcell, compile); err != nil {
			return "", err
		}
	}
	key := s.compiledKey(release, pkg, "host "+s.platform)
	for {
		if dir, ok := s.Compiled(release, pkg, stemcell); ok {
			return dir, nil
		}
		if !exists(s.sourceDir(pkg.Fingerprint)) {
			return "", bosherr.New(bosherr.PackageMissingSourceCode, "Can't use release '%s/%s'. It references packages without source code and are not compiled against stemcell '%s/%s':\n - '%s/%s'",
				release.Name, release.Version, stemcell.OS, stemcell.Version, pkg.Name, pkg.Fingerprint)
		}
		call, mine := s.join(key)
		if mine {
			call.err = s.compile(ctx, key, pkg, deps, compile)
			s.leave(key, call)
			if call.err != nil {
				return "", call.err
			}
			continue
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-call.done:
		}
		// A compilation that ended with its caller's context is nothing to us: try ourselves.
		if call.err != nil && !errors.Is(call.err, context.Canceled) && !errors.Is(call.err, context.DeadlineExceeded) {
			return "", call.err
		}
	}
}

func (s *Store) join(key string) (call *compileCall, mine bool) {
	s.compiling.Lock()
	defer s.compiling.Unlock()
	if call = s.calls[key]; call != nil {
		return call, false
	}
	call = &compileCall{done: make(chan struct{})}
	s.calls[key] = call
	return call, true
}

func (s *Store) leave(key string, call *compileCall) {
	s.compiling.Lock()
	delete(s.calls, key)
	s.compiling.Unlock()
	close(call.done)
}

// compile runs one compilation in a folder of its own and moves the result to its place.
func (s *Store) compile(ctx context.Context, key string, pkg *manifest.Package, deps map[string]string, compile CompileFunc) (err error) {
	if exists(s.path("compiled", key)) {
		return nil // made between our look and our turn
	}
	dir, err := s.tempDir("compile")
	if err != nil {
		return fmt.Errorf("compile package '%s': %w", pkg.Name, err)
	}
	defer func() {
		if err := removeTree(dir); err != nil {
			s.log.Warn("compilation left files behind", "dir", dir, "error", err)
		}
	}()
	c := Compilation{Name: pkg.Name, Fingerprint: pkg.Fingerprint, Source: filepath.Join(dir, "source"), Target: filepath.Join(dir, "target"), Dependencies: deps}
	meta := s.packageMeta(pkg.Fingerprint)
	linked, originals := map[string]bool{}, []string(nil)
	for _, rel := range meta.References {
		linked[rel] = true
		originals = append(originals, filepath.Join(s.sourceDir(pkg.Fingerprint), rel))
	}
	if err := copyTree(s.sourceDir(pkg.Fingerprint), c.Source, linked); err != nil {
		return fmt.Errorf("compile package '%s': %w", pkg.Name, err)
	}
	if err := os.Mkdir(c.Target, 0o755); err != nil {
		return fmt.Errorf("compile package '%s': %w", pkg.Name, err)
	}
	if err := compile(ctx, c); err != nil {
		return err
	}
	if err := share(c.Target, originals); err != nil {
		return fmt.Errorf("compile package '%s': %w", pkg.Name, err)
	}
	if err := syncTree(c.Target); err != nil {
		return fmt.Errorf("compile package '%s': %w", pkg.Name, err)
	}
	if err := os.Rename(c.Target, s.path("compiled", key)); err != nil {
		return fmt.Errorf("compile package '%s': %w", pkg.Name, err)
	}
	return durable.SyncDir(s.path("compiled"))
}

// osOf is the operating system of "ubuntu-jammy/1.506".
func osOf(stemcell string) string {
	os, _, _ := strings.Cut(stemcell, "/")
	return os
}
