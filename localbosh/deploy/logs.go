package deploy

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/serviceforge/serviceforge/localbosh/bosherr"
	"github.com/serviceforge/serviceforge/localbosh/tasks"
	"github.com/serviceforge/serviceforge/localbosh/vm"
)

// LogsArgs name instances; "*" or "" is all.
type LogsArgs struct{ Deployment, Group, Instance string }

// keepResources is how long what tasks leave for download is kept.
const keepResources = 24 * time.Hour

// fetchLogs is the task "fetch logs"; its result is the id of a resource.
func (e *Engine) fetchLogs(ctx context.Context, r *tasks.Run, args LogsArgs) (string, error) {
	d, err := e.State.Get(args.Deployment)
	if err != nil {
		return "", err
	}
	type packed struct{ name, id string }
	var all []packed
	for _, i := range d.Instances {
		c := StateChange{Group: starToEmpty(args.Group), Instance: starToEmpty(args.Instance)}
		if !c.covers(i) || i.VM == nil {
			continue
		}
		v, err := e.handle(ctx, i.VM.CID)
		if err != nil {
			return "", err
		}
		blob, err := e.packLogs(ctx, r, v, i.Label())
		if err != nil {
			return "", err
		}
		all = append(all, packed{i.Group + "." + i.ID + ".tgz", blob.BlobstoreID})
	}
	switch len(all) {
	case 0:
		return "", bosherr.New(bosherr.InstanceNotFound, "No instance of deployment '%s' has logs", args.Deployment)
	case 1:
		return all[0].id, nil
	}
	blob, err := e.resource(func(w io.Writer) error {
		gz := gzip.NewWriter(w)
		tw := tar.NewWriter(gz)
		for _, p := range all {
			data, err := os.ReadFile(filepath.Join(e.Resources, p.id))
			if err != nil {
				return err
			}
			if err := tw.WriteHeader(&tar.Header{Name: p.name, Mode: 0o600, Size: int64(len(data)), ModTime: now()}); err != nil {
				return err
			}
			if _, err := tw.Write(data); err != nil {
				return err
			}
		}
		return errors.Join(tw.Close(), gz.Close())
	})
	return blob.BlobstoreID, err
}

func starToEmpty(s string) string {
	if s == "*" {
		return ""
	}
	return s
}

// packLogs makes a resource of a VM's logs.
func (e *Engine) packLogs(ctx context.Context, r *tasks.Run, v *vm.VM, label string) (blob logsBlob, err error) {
	stage := r.Stage("Fetching logs for "+label, 1)
	err = stage.Do("Finding and packing log files", func(*tasks.Step) error {
		blob, err = e.resource(func(w io.Writer) error { return v.Logs(ctx, w) })
		return err
	})
	return blob, err
}

// resource stores something for download and forgets what is old.
func (e *Engine) resource(write func(io.Writer) error) (logsBlob, error) {
	e.forgetResources()
	id := newUUID()
	f, err := os.OpenFile(filepath.Join(e.Resources, id), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return logsBlob{}, err
	}
	sum := sha1.New()
	err = write(io.MultiWriter(f, sum))
	if err = errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(f.Name())
		return logsBlob{}, fmt.Errorf("resource: %w", err)
	}
	return logsBlob{id, hex.EncodeToString(sum.Sum(nil))}, nil
}

func (e *Engine) forgetResources() {
	entries, err := os.ReadDir(e.Resources)
	if err != nil {
		return
	}
	for _, entry := range entries {
		if st, err := entry.Info(); err == nil && time.Since(st.ModTime()) > keepResources {
			_ = os.Remove(filepath.Join(e.Resources, entry.Name()))
		}
	}
}

// OpenResource opens what a task left for download; error 100002.
func (e *Engine) OpenResource(id string) (*os.File, error) {
	f, err := os.Open(filepath.Join(e.Resources, filepath.Base(id)))
	if err != nil {
		return nil, bosherr.New(bosherr.ResourceNotFound, "Resource '%s' not found in the blobstore", id)
	}
	return f, nil
}
