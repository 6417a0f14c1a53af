package deploy

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/serviceforge/serviceforge/localbosh/blobs"
	"github.com/serviceforge/serviceforge/localbosh/bosherr"
	"github.com/serviceforge/serviceforge/localbosh/manifest"
	"github.com/serviceforge/serviceforge/localbosh/tasks"
)

// UploadArgs are those of the tasks that create a release or a stemcell: either
// File, in the spool folder, or Location (http, https or file) is set.
type UploadArgs struct {
	File, Location, Digest string
	Rebase, Fix            bool
	// References are blobs.UploadOptions.References.
	References map[string]string
}

// fetch makes sure that the upload is a file; the caller calls done at the end.
func (e *Engine) fetch(ctx context.Context, r *tasks.Run, args UploadArgs, what string) (path string, done func(), err error) {
	if args.Location == "" {
		path = filepath.Join(e.Spool, filepath.Base(args.File))
		return path, func() { _ = os.Remove(path) }, nil
	}
	if local, ok := strings.CutPrefix(args.Location, "file://"); ok {
		return local, func() {}, nil
	}
	stage := r.Stage("Downloading remote "+what, 1)
	err = stage.Do("Downloading remote "+what, func(*tasks.Step) error {
		path, err = e.download(ctx, args.Location)
		if err != nil {
			r.Log().Error("download failed", "location", args.Location, "error", err)
			return bosherr.New(bosherr.ResourceError, "Downloading remote %s failed. Check task debug log for details.", what)
		}
		return nil
	})
	return path, func() { _ = os.Remove(path) }, err
}

func (e *Engine) download(ctx context.Context, location string) (path string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, location, nil)
	if err != nil {
		return "", err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("status %s", res.Status)
	}
	f, err := os.CreateTemp(e.Spool, "download-")
	if err != nil {
		return "", err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = io.Copy(f, res.Body)
	return f.Name(), err
}

func done(*tasks.Step) error { return nil }

// uploadRelease is the task "create release".
func (e *Engine) uploadRelease(ctx context.Context, r *tasks.Run, args UploadArgs) (string, error) {
	path, cleanup, err := e.fetch(ctx, r, args, "release")
	if err != nil {
		return "", err
	}
	defer cleanup()
	before := e.parts()
	var up blobs.Uploaded
	err = r.Stage("Extracting release", 1).Do("Extracting release", func(*tasks.Step) (err error) {
		up, err = e.Blobs.UploadReleaseFile(ctx, path, blobs.UploadOptions{
			Rebase: args.Rebase, Fix: args.Fix, Digest: args.Digest, References: args.References,
		})
		return err
	})
	if err != nil {
		return "", err
	}
	_ = r.Stage("Verifying manifest", 1).Do("Verifying manifest", done)
	_ = r.Stage("Resolving package dependencies", 1).Do("Resolving package dependencies", done)
	release, err := e.Blobs.Release(up.Name, up.Version)
	if err != nil {
		return "", err
	}
	var jobs, pkgs []string
	for _, p := range release.Packages {
		pkgs = append(pkgs, p.Name+"/"+p.Fingerprint)
	}
	for _, j := range release.Jobs {
		jobs = append(jobs, j.Name+"/"+j.Fingerprint)
	}
	tell(r, "package", pkgs, before)
	tell(r, "job", jobs, before)
	_ = r.Stage("Release has been created", 1).Do(up.Name+"/"+up.Version, done)
	return fmt.Sprintf("Created release '%s/%s'", up.Name, up.Version), nil
}

// tell writes which parts of a release are new, in the director's words.
func tell(r *tasks.Run, what string, parts []string, before map[string]bool) {
	var fresh []string
	for _, p := range parts {
		if !before[what+" "+p] {
			fresh = append(fresh, p)
		}
	}
	if old := len(parts) - len(fresh); old > 0 {
		text := fmt.Sprintf("Processing %d existing %s", old, what)
		if old > 1 {
			text += "s"
		}
		_ = r.Stage(text, 1).Do(text, done)
	}
	stage := r.Stage("Creating new "+what+"s", len(fresh))
	for _, p := range fresh {
		_ = stage.Do(p, done)
	}
}

// parts are the jobs and packages of all releases.
func (e *Engine) parts() map[string]bool {
	out := map[string]bool{}
	for _, r := range e.Blobs.Releases() {
		for _, p := range r.Packages {
			out["package "+p.Name+"/"+p.Fingerprint] = true
		}
		for _, j := range r.Jobs {
			out["job "+j.Name+"/"+j.Fingerprint] = true
		}
	}
	return out
}

// uploadStemcell is the task "create stemcell".
func (e *Engine) uploadStemcell(ctx context.Context, r *tasks.Run, args UploadArgs) (string, error) {
	path, cleanup, err := e.fetch(ctx, r, args, "stemcell")
	if err != nil {
		return "", err
	}
	defer cleanup()
	stage := r.Stage("Update stemcell", 5)
	var s manifest.Stemcell
	err = stage.Do("Extracting stemcell archive", func(*tasks.Step) error {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		s, err = e.Blobs.UploadStemcell(ctx, f, args.Fix, args.Digest)
		return err
	})
	if err != nil {
		return "", err
	}
	name := s.Name + "/" + s.Version
	for _, step := range []string{
		"Verifying stemcell manifest", "Checking if this stemcell already exists",
		"Uploading stemcell " + name + " to the cloud", "Save stemcell " + name + " (" + s.CID + ")",
	} {
		_ = stage.Do(step, done)
	}
	return "/stemcells/" + name, nil
}
