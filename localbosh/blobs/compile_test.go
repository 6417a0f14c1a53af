package blobs_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/serviceforge/serviceforge/localbosh/blobs"
	"github.com/serviceforge/serviceforge/localbosh/bosherr"
	"github.com/serviceforge/serviceforge/localbosh/manifest"
)

var jammy = manifest.Stemcell{Name: "local", OS: "ubuntu-jammy", Version: "1.0"}

// pack is a CompileFunc that copies the source's files to the target and notes the order.
func pack(order *[]string, mu *sync.Mutex) blobs.CompileFunc {
	return func(ctx context.Context, c blobs.Compilation) error {
		mu.Lock()
		defer mu.Unlock()
		*order = append(*order, c.Name)
		for d, dir := range c.Dependencies {
			if _, err := os.Stat(filepath.Join(dir, "made")); err != nil {
				return errors.New(d + " is not there")
			}
		}
		if err := os.Remove(filepath.Join(c.Source, "packaging")); err != nil { // the source is ours to spoil
			return err
		}
		return os.WriteFile(filepath.Join(c.Target, "made"), []byte(c.Name), 0o644)
	}
}

func TestCompileOnceInOrder(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	mustUpload(t, s, release(t, simpleMF, simpleParts(t)), blobs.UploadOptions{})
	r := &s.Releases()[1].Release
	var order []string
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			got, err := s.Compile(t.Context(), r, r.Package("server"), jammy, pack(&order, &mu))
			if err != nil {
				t.Error(err)
			}
			if b, err := os.ReadFile(filepath.Join(got, "made")); string(b) != "server" {
				t.Errorf("%q, %v", b, err)
			}
		})
	}
	wg.Wait()
	if strings.Join(order, " ") != "lib server" {
		t.Errorf("compiled %q", order)
	}
	if _, err := os.Stat(filepath.Join(dir, "packages/p1/source/packaging")); err != nil {
		t.Errorf("the store's source was changed: %v", err)
	}
	if _, ok := mustOpen(t, dir).Compiled(r, r.Package("server"), jammy); !ok {
		t.Error("not found after a restart")
	}
	// A changed dependency makes another key.
	changed := strings.NewReplacer(`"1.0"`, `"1.1"`, "fingerprint: p2", "fingerprint: p3").Replace(simpleMF)
	mustUpload(t, s, release(t, changed, simpleParts(t)), blobs.UploadOptions{})
	r2, _ := s.Release("simple", "1.1")
	if _, ok := s.Compiled(&r2.Release, r2.Package("server"), jammy); ok {
		t.Error("compiled against the old dependency, but found for the new one")
	}
	// So does an upload with fix.
	mustUpload(t, s, release(t, simpleMF, simpleParts(t)), blobs.UploadOptions{Fix: true})
	if _, ok := s.Compiled(r, r.Package("server"), jammy); ok {
		t.Error("fix did not ask for a new compilation")
	}
}

func TestCompileFailureLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	mustUpload(t, s, release(t, simpleMF, simpleParts(t)), blobs.UploadOptions{})
	r := &s.Releases()[1].Release
	boom := errors.New("exit 1")
	_, err := s.Compile(t.Context(), r, r.Package("lib"), jammy, func(ctx context.Context, c blobs.Compilation) error {
		_ = os.WriteFile(filepath.Join(c.Target, "half"), nil, 0o644)
		return boom
	})
	if !errors.Is(err, boom) {
		t.Errorf("got %v", err)
	}
	if left := append(listing(t, filepath.Join(dir, "tmp")), listing(t, filepath.Join(dir, "compiled"))...); len(left) != 0 {
		t.Errorf("left behind %q", left)
	}
}

// A waiter does not fail because the one who compiles was cancelled.
func TestCompileOutlivesACancelledCaller(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	mustUpload(t, s, release(t, simpleMF, simpleParts(t)), blobs.UploadOptions{})
	r := &s.Releases()[1].Release
	ctx, cancel := context.WithCancel(t.Context())
	started, first := make(chan struct{}), make(chan error, 1)
	go func() {
		_, err := s.Compile(ctx, r, r.Package("lib"), jammy, func(ctx context.Context, c blobs.Compilation) error {
			close(started)
			<-ctx.Done()
			return ctx.Err()
		})
		first <- err
	}()
	<-started
	var runs atomic.Int32
	second := make(chan error, 1)
	go func() {
		_, err := s.Compile(t.Context(), r, r.Package("lib"), jammy, func(ctx context.Context, c blobs.Compilation) error {
			runs.Add(1)
			return nil
		})
		second <- err
	}()
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled caller: %v", err)
	}
	if err := <-second; err != nil || runs.Load() != 1 {
		t.Errorf("waiter: %v after %d runs", err, runs.Load())
	}
}

const compiledMF = `---
name: ready
version: "1"
jobs: [{name: web, fingerprint: j1}]
compiled_packages:
- {name: server, fingerprint: c1, stemcell: ubuntu-jammy/1.506, dependencies: [lib]}
- {name: lib, fingerprint: c2, stemcell: ubuntu-jammy/1.506}
`

func TestCompiledRelease(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	parts := map[string]string{"jobs/web.tgz": job(t, "web", "packages: [server]\n"),
		"compiled_packages/server.tgz": tgz(t, entry{Name: "bin/server", Body: "elf"}), "compiled_packages/lib.tgz": tgz(t, entry{Name: "lib.so"})}
	if got, err := s.MatchCompiledPackages([]byte(compiledMF)); err != nil || len(got) != 0 {
		t.Errorf("%v, %v", got, err)
	}
	mustUpload(t, s, release(t, compiledMF, parts), blobs.UploadOptions{})
	if got, err := s.MatchCompiledPackages([]byte(compiledMF)); err != nil || strings.Join(got, " ") != "c1 c2" {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := s.MatchPackages([]byte(compiledMF)); err != nil || len(got) != 0 {
		t.Errorf("no source was uploaded: %v, %v", got, err)
	}
	r, _ := s.Release("ready", "1")
	never := func(context.Context, blobs.Compilation) error { return errors.New("compiled") }
	dir, err := s.Compile(t.Context(), &r.Release, r.Package("server"), jammy, never)
	if b, _ := os.ReadFile(filepath.Join(dir, "bin/server")); err != nil || string(b) != "elf" {
		t.Errorf("%q, %v", b, err)
	}
	noble := manifest.Stemcell{OS: "ubuntu-noble", Version: "1.0"}
	_, err = s.Compile(t.Context(), &r.Release, r.Package("server"), noble, never)
	wantError(t, err, bosherr.PackageMissingSourceCode, "Can't use release 'ready/1'. It references packages without source code and are not compiled against stemcell 'ubuntu-noble/1.0'")
	// Nothing of it is garbage.
	if removed, err := s.Clean(t.Context()); err != nil || len(removed) != 0 {
		t.Errorf("%q, %v", removed, err)
	}
}

// A referenced binary exists once: in the machine's file, in the source, and in what was compiled from it.
func TestReferences(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	if err := os.WriteFile(program, make([]byte, 2<<20), 0o755); err != nil {
		t.Fatal(err)
	}
	s := mustOpen(t, filepath.Join(dir, "store"))
	o := blobs.UploadOptions{References: map[string]string{"server/bin/etcd": program}}
	mf := strings.Replace(simpleMF, "fingerprint: p1", "fingerprint: p1, sha1: 'sha256:of-the-packed-one'", 1)
	mustUpload(t, s, release(t, mf, simpleParts(t)), o)
	r := &s.Releases()[1].Release
	target, err := s.Compile(t.Context(), r, r.Package("server"), jammy, func(ctx context.Context, c blobs.Compilation) error {
		if c.Name == "lib" {
			return nil
		}
		b, err := os.ReadFile(filepath.Join(c.Source, "bin/etcd")) // as cp across mounts does
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(c.Target, "etcd"), b, 0o755)
	})
	if err != nil {
		t.Fatal(err)
	}
	want, _ := os.Stat(program)
	for _, p := range []string{filepath.Join(dir, "store/packages/p1/source/bin/etcd"), filepath.Join(target, "etcd")} {
		if st, err := os.Stat(p); err != nil || !os.SameFile(st, want) {
			t.Errorf("%s is not a link to the program: %v", p, err)
		}
	}
	_, err = upload(s, release(t, v2(simpleMF, "p1", "p7"), simpleParts(t)), blobs.UploadOptions{References: map[string]string{"server/../../x": program}})
	if err == nil {
		t.Error("a reference left its package")
	}
}

// What a killed director left in the middle is gone after Open and was never visible.
func TestInterruptedUpload(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	archive := release(t, simpleMF, simpleParts(t))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.UploadRelease(ctx, strings.NewReader(archive), blobs.UploadOptions{}); err == nil {
		t.Error("a cancelled upload succeeded")
	}
	half := filepath.Join(dir, "tmp/upload-1/packages/server")
	if err := os.MkdirAll(half, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(half, "packaging"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "releases/simple"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "releases/simple/.1.0.json.123"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "releases/simple/2.0.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, dir)
	if n := len(s.Releases()); n != 1 {
		t.Errorf("%d releases, want bpm alone", n)
	}
	if left := listing(t, filepath.Join(dir, "tmp")); len(left) != 0 {
		t.Errorf("left behind %q", left)
	}
	mustUpload(t, s, archive, blobs.UploadOptions{})
}
