package install

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator/director"
)

const (
	// hold is how long a director may hold its answer while a task goes on. Real
	// ones answer at once: between looks is a pause that grows to pause.
	hold       = 5 * time.Second
	firstPause = 50 * time.Millisecond
	pause      = 2 * time.Second
)

// supply gives a pool's director what it needs, and returns what it was given.
// What another pool of the same director got meanwhile is not sent again.
func (in *Installer) supply(ctx context.Context, p *parcel, n need, tell func(Step)) (uploaded []string, err error) {
	if !n.uploads() {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, in.Patience)
	defer cancel()
	n, lacks, err := in.needOf(ctx, p, n.pool)
	if err != nil {
		return nil, err
	}
	if len(lacks) > 0 {
		return nil, serviceforge.Errorf(serviceforge.Unavailable, "pool %s: %s", n.pool.Name, lacks[0])
	}
	for _, s := range n.stemcells {
		what := fmt.Sprintf("stemcell %s/%s to pool %s", s.OS, s.Version, n.pool.Name)
		task, err := n.director.UploadStemcell(ctx, counted(s.tarball, what, tell))
		if err == nil {
			err = n.await(ctx, task, what, func() (bool, error) {
				there, err := n.director.Stemcells(ctx)
				return slices.Contains(there[s.OS], s.Version), err
			})
		}
		if err != nil {
			return uploaded, failed(what, err)
		}
		uploaded = append(uploaded, what)
	}
	for _, c := range n.send {
		what := fmt.Sprintf("%s/%s to pool %s", c.Name, c.Version, n.pool.Name)
		if err := in.send(ctx, n, c, what, tell); err != nil {
			return uploaded, failed(what, err)
		}
		uploaded = append(uploaded, what)
	}
	for _, b := range n.fetch {
		what := fmt.Sprintf("%s/%s to pool %s", b.Name, b.Version, n.pool.Name)
		tell(Step{Says: "having the director fetch " + what})
		task, err := n.director.FetchRelease(ctx, b.URL, b.SHA256)
		if err == nil {
			err = n.await(ctx, task, what, n.hasRelease(ctx, b.Name, b.Version))
		}
		if err != nil {
			return uploaded, failed(what+" from "+redacted(b.URL), err)
		}
		uploaded = append(uploaded, what)
	}
	return uploaded, nil
}

// redacted is a URL without its password.
func redacted(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "its url"
	}
	return u.Redacted()
}

func failed(what string, err error) error {
	return serviceforge.Wrap(err, serviceforge.Unavailable, "the upload of %s failed: %s; the catalog was not changed: install again", what, serviceforge.MessageOf(err))
}

// send uploads a BOSH release without the packages that the director knows.
func (in *Installer) send(ctx context.Context, n need, c carried, what string, tell func(Step)) error {
	tarball := c.tarball
	if !c.Compiled {
		known, err := n.director.Matches(ctx, c.Manifest)
		if err != nil {
			return err
		}
		if len(known) > 0 {
			sparse, remove, err := in.sparse(ctx, c, known)
			if err != nil {
				return err
			}
			defer remove()
			tarball = sparse
		}
	}
	task, err := n.director.UploadRelease(ctx, counted(tarball, what, tell))
	if err != nil {
		return err
	}
	return n.await(ctx, task, what, n.hasRelease(ctx, c.Name, c.Version))
}

// sparse writes the tarball without known packages into a temporary file.
func (in *Installer) sparse(ctx context.Context, c carried, known []string) (tarball director.Tarball, remove func(), err error) {
	failed := func(err error) (director.Tarball, func(), error) {
		return director.Tarball{}, nil, serviceforge.Wrap(err, serviceforge.Internal, "no temporary file for the upload of %s", c.Name)
	}
	from, err := c.tarball.Open()
	if err != nil {
		return failed(err)
	}
	defer func() { _ = from.Close() }()
	file, err := os.CreateTemp(in.Scratch, ".sparse-*.tgz")
	if err != nil {
		return failed(err)
	}
	name := file.Name()
	err = c.Sparse(ctx, from, file, known)
	if closing := file.Close(); err == nil {
		err = closing
	}
	info, stat := os.Stat(name)
	if err == nil {
		err = stat
	}
	if err != nil {
		_ = os.Remove(name)
		return failed(err)
	}
	return director.Tarball{Size: info.Size(), Open: func() (io.ReadCloser, error) { return os.Open(name) }}, func() { _ = os.Remove(name) }, nil
}

func (n *need) hasRelease(ctx context.Context, name, version string) func() (bool, error) {
	return func() (bool, error) {
		there, err := n.director.Releases(ctx)
		return slices.Contains(there[name], version), err
	}
}

// await waits until the director has what it was given. Its task may be hidden
// from us; a director that does not answer for a moment is asked again.
func (n *need) await(ctx context.Context, task int, what string, there func() (bool, error)) error {
	for wait := firstPause; ; wait = min(2*wait, pause) {
		t, err := n.director.Task(ctx, task, hold)
		visible := err == nil
		switch {
		case visible && !t.Finished():
		case visible && t.State != director.TaskDone:
			return serviceforge.Errorf(serviceforge.Unprocessable, "the director says: %s", t.Result)
		default:
			has, err := there()
			if err == nil && has {
				return nil
			}
			if err == nil && visible {
				return serviceforge.Errorf(serviceforge.Unprocessable, "task %d is done, but the director does not list %s", task, what)
			}
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return serviceforge.Wrap(ctx.Err(), serviceforge.Unavailable, "the director has not finished in time")
		case <-timer.C:
		}
	}
}

// counted tells how far an upload is.
func counted(t director.Tarball, what string, tell func(Step)) director.Tarball {
	return director.Tarball{Size: t.Size, Open: func() (io.ReadCloser, error) {
		in, err := t.Open()
		if err != nil {
			return nil, err
		}
		tell(Step{Says: "uploading " + what})
		return &meter{ReadCloser: in, size: max(t.Size, 1), tell: func(percent int) { tell(Step{Says: "uploading " + what, Percent: percent}) }}, nil
	}}
}

// meter tells each tenth of what is read through it.
type meter struct {
	io.ReadCloser
	read, size int64
	told       int
	tell       func(percent int)
}

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.ReadCloser.Read(p)
	m.read += int64(n)
	if percent := int(100 * m.read / m.size); percent >= m.told+10 {
		m.told = percent
		m.tell(percent)
	}
	return n, err
}
