package blobs

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/serviceforge/serviceforge/localbosh/bosherr"
	"github.com/serviceforge/serviceforge/localbosh/manifest"
)

// UploadOptions are those of POST /releases.
type UploadOptions struct {
	// Rebase gives an existing version a new number instead of an error.
	Rebase bool
	// Fix replaces the parts the director already has.
	Fix bool
	// Digest is the expected "sha256:…", "sha512:…" or SHA-1 of the tarball; "" is not checked.
	Digest string
	// References maps "package/path/of/file" to a file of this machine which becomes that file of the package's
	// source by a hard link (a copy where links are impossible), so that a big binary is neither packed nor
	// copied. The tarball's package holds everything else, or is left out if there is nothing else. Its sha1 in
	// release.MF is not checked, and the fingerprint there must cover the referenced bytes: nothing else tells
	// two of them apart. A compiled copy of the file becomes a link to it as well.
	References map[string]string
}

// Uploaded is what an upload ended in.
type Uploaded struct{ Name, Version string }

// UploadReleaseFile is UploadRelease of a file, which is read in place.
func (s *Store) UploadReleaseFile(ctx context.Context, path string, o UploadOptions) (Uploaded, error) {
	f, err := os.Open(path)
	if err != nil {
		return Uploaded{}, fmt.Errorf("upload release: %w", err)
	}
	defer f.Close()
	return s.UploadRelease(ctx, f, o)
}

// UploadRelease reads a release tarball to its end, checks it and makes it visible at once, or not at all. Parts
// that the store has may be left out of it (sparse uploads). Errors are the director's (300xx, 600xx, 800xx);
// bosherr.Of gives its words, the error's own text also the cause.
func (s *Store) UploadRelease(ctx context.Context, tgz io.Reader, o UploadOptions) (Uploaded, error) {
	dir, err := s.tempDir("upload")
	if err != nil {
		return Uploaded{}, fmt.Errorf("upload release: %w", err)
	}
	defer func() {
		if err := removeTree(dir); err != nil {
			s.log.Warn("upload left files behind", "dir", dir, "error", err)
		}
	}()
	u := &upload{s: s, o: o, dir: dir, budget: &budget{s.limits.Bytes, s.limits.Entries}, parts: map[string]*part{}}
	if err := u.read(ctx, tgz); err != nil {
		return Uploaded{}, err
	}
	if err := u.verify(); err != nil {
		return Uploaded{}, err
	}
	if err := syncTree(dir); err != nil {
		return Uploaded{}, fmt.Errorf("upload release: %w", err)
	}
	return u.commit()
}

// upload is one tarball on its way into the store.
type upload struct {
	s      *Store
	o      UploadOptions
	dir    string
	budget *budget
	mf     *releaseMF
	parts  map[string]*part // by "jobs/NAME", "packages/NAME", "compiled_packages/NAME"
}

// part is an unpacked nested archive.
type part struct {
	dir          string
	sha1, sha256 string
	spec         *manifest.JobSpec // of a job
}

func invalidRelease(err error) error {
	return fmt.Errorf("%w: %w", bosherr.New(bosherr.ReleaseInvalidArchive, "Extracting release archive failed. Check task debug log for details."), err)
}

// read unpacks the tarball's parts into the upload's folder, without ever holding one in memory.
func (u *upload) read(ctx context.Context, tgz io.Reader) error {
	digest, err := newDigest(u.o.Digest)
	if err != nil {
		return err
	}
	tgz = io.TeeReader(tgz, digest)
	t, err := openTar(ctx, tgz, u.budget)
	if err != nil {
		return invalidRelease(err)
	}
	for {
		h, name, err := next(t, u.budget)
		if err == io.EOF {
			break
		}
		if err == nil && h.FileInfo().Mode().IsRegular() {
			err = u.readEntry(ctx, name, t)
		}
		if bosherr.Is(err, bosherr.ReleaseVersionInvalid) || bosherr.Is(err, bosherr.ReleaseInvalidPackage) {
			return err
		}
		if err != nil {
			return invalidRelease(err)
		}
	}
	if _, err := io.Copy(io.Discard, &limited{ctx, tgz, u.budget}); err != nil {
		return invalidRelease(err)
	}
	if err := digest.check(bosherr.ReleaseSha1DoesNotMatch); err != nil {
		return err
	}
	if u.mf == nil {
		return bosherr.New(bosherr.ReleaseManifestNotFound, "Release manifest not found")
	}
	return nil
}

func (u *upload) readEntry(ctx context.Context, name string, r io.Reader) error {
	if name == "release.MF" {
		text, err := io.ReadAll(io.LimitReader(r, maxTemplate))
		if err == nil {
			u.mf, err = parseReleaseMF(text)
		}
		return err
	}
	kind, file := path.Split(name)
	base, ok := strings.CutSuffix(file, ".tgz")
	kind = strings.TrimSuffix(kind, "/")
	if !ok || kind != "jobs" && kind != "packages" && kind != "compiled_packages" || !fileName.MatchString(base) {
		return nil // LICENSE, NOTICE, …
	}
	if u.known(kind, base) {
		return nil
	}
	p := &part{dir: filepath.Join(u.dir, kind, base)}
	if err := removeTree(p.dir); err != nil {
		return err
	}
	one, two := sha1.New(), sha256.New()
	r = io.TeeReader(r, io.MultiWriter(one, two))
	if err := extract(ctx, r, p.dir, u.budget); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	p.sha1, p.sha256 = hexSum(one), hexSum(two)
	u.parts[kind+"/"+base] = p
	return nil
}

func hexSum(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }

// known says, once release.MF was read, whether a package need not be unpacked since the store has it.
func (u *upload) known(kind, name string) bool {
	if u.mf == nil || u.o.Fix || kind != "packages" {
		return false
	}
	p := u.mf.pkg(name)
	return p != nil && !u.mf.compiled && exists(u.s.sourceDir(p.fingerprint))
}

// verify checks the parts against release.MF before anything is shown.
func (u *upload) verify() error {
	for _, j := range u.mf.jobs {
		p := u.parts["jobs/"+j.name]
		if p == nil {
			continue
		}
		if err := p.check(j); err != nil {
			return err
		}
		var err error
		if p.spec, err = readJob(p.dir, j.name); err != nil {
			return err
		}
	}
	kind := "packages/"
	if u.mf.compiled {
		kind = "compiled_packages/"
	}
	for _, m := range u.mf.packages {
		referenced, err := u.addReferences(m, kind)
		if err != nil {
			return err
		}
		if p := u.parts[kind+m.name]; p != nil && !referenced {
			if err := p.check(m); err != nil {
				return err
			}
		}
	}
	return nil
}

// check compares the bytes of a part with release.MF. The real director leaves that to the agents; the words are
// theirs.
func (p *part) check(m partMF) error {
	for _, want := range strings.Split(m.sha1, ";") {
		have := p.sha1
		if algorithm, rest, ok := strings.Cut(want, ":"); ok {
			if algorithm != "sha256" && algorithm != "sha1" {
				continue
			}
			if want = rest; algorithm == "sha256" {
				have = p.sha256
			}
		}
		if want != "" && have != want {
			return bosherr.New(bosherr.ReleaseSha1DoesNotMatch, "Expected stream to have digest '%s' but was '%s'", m.sha1, have)
		}
	}
	return nil
}

// addReferences links the referenced files of a package into its unpacked source.
func (u *upload) addReferences(m partMF, kind string) (any bool, err error) {
	for name, file := range u.o.References {
		pkg, rel, _ := strings.Cut(name, "/")
		if pkg != m.name || kind != "packages/" {
			continue
		}
		if !filepath.IsLocal(rel) {
			return false, fmt.Errorf("reference %q is not a path in a package", name)
		}
		p := u.parts[kind+m.name]
		if p == nil {
			p = &part{dir: filepath.Join(u.dir, "packages", m.name)}
			u.parts[kind+m.name] = p
		}
		to := filepath.Join(p.dir, rel)
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return false, fmt.Errorf("reference %q: %w", name, err)
		}
		if real, err := filepath.EvalSymlinks(filepath.Dir(to)); err != nil || real != filepath.Dir(to) {
			if base, berr := filepath.EvalSymlinks(p.dir); err != nil || berr != nil || !strings.HasPrefix(real+"/", base+"/") {
				return false, fmt.Errorf("reference %q leaves the package", name)
			}
		}
		if err := linkOrCopy(file, to); err != nil {
			return false, fmt.Errorf("reference %q: %w", name, err)
		}
		any = true
	}
	return any, nil
}

// digest checks what is read against an expected digest.
type digest struct {
	hash.Hash
	want string
}

// newDigest reads "sha256:…", "sha512:…" or a SHA-1, several separated by semicolons, of which the first counts.
func newDigest(want string) (*digest, error) {
	want, _, _ = strings.Cut(want, ";")
	algorithm, rest, ok := strings.Cut(want, ":")
	if !ok {
		algorithm, rest = "sha1", want
	}
	h := newHash(algorithm)
	if h == nil {
		return nil, bosherr.New(bosherr.ReleaseSha1DoesNotMatch, "Computing digest from stream: unknown algorithm '%s'", algorithm)
	}
	return &digest{h, rest}, nil
}

func (d *digest) check(code int) error {
	if have := hexSum(d.Hash); d.want != "" && have != d.want {
		return bosherr.New(code, "Expected stream to have digest '%s' but was '%s'", d.want, have)
	}
	return nil
}
