package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator/install"
	"github.com/serviceforge/serviceforge/releases/archive"
)

// uploadTime is how long the body of an upload may take.
const uploadTime = time.Hour

// packedType is of a packed service release.
const packedType = "application/gzip"

// InstallStep is what an install is at.
type InstallStep struct {
	Says    string `json:"says"`
	Percent int    `json:"percent,omitempty"` // of an upload to a director
}

// Installed is what an install did.
type Installed struct {
	Release  string   `json:"release"`
	Already  bool     `json:"already,omitempty"` // it was installed, and nothing was missing
	Uploaded []string `json:"uploaded,omitempty"`
	Without  []string `json:"without,omitempty"` // pools that do not offer it, with the reasons
	Warnings []string `json:"warnings,omitempty"`
}

// Release is one version of a service release.
type Release struct {
	Name      string      `json:"name"`
	Version   string      `json:"version"`
	State     string      `json:"state"` // on offer, retired, installing, removing, replaced, unreadable
	Instances int         `json:"instances"`
	Pools     []Readiness `json:"pools,omitempty"`
	Digest    string      `json:"digest,omitempty"`
	Actor     string      `json:"actor,omitempty"` // who installed it
	At        time.Time   `json:"installed_at,omitzero"`
}

// Readiness says whether a pool can carry a version.
type Readiness struct {
	Pool  string `json:"pool"`
	Ready bool   `json:"ready"`
}

// Synced is what was done for a pool.
type Synced struct {
	Ready    []string `json:"ready"`             // versions that the pool can carry
	Lacking  []string `json:"lacking,omitempty"` // those that it cannot, with the reasons
	Uploaded []string `json:"uploaded,omitempty"`
}

// installs refuses where nothing is installed. Errors: Unprocessable.
func (a *API) installs() error {
	if a.install == nil {
		return serviceforge.Errorf(serviceforge.Unprocessable, "this broker installs no service releases")
	}
	return nil
}

func (a *API) listReleases(q *request) (any, error) {
	if err := a.installs(); err != nil {
		return nil, err
	}
	all, err := a.install.List(q.Context())
	told := make([]Release, 0, len(all))
	for _, v := range all {
		r := Release{Name: v.Name, Version: v.Version, State: string(v.State), Instances: v.Instances, Digest: v.Digest, Actor: v.Actor, At: v.At}
		for _, p := range v.Pools {
			r.Pools = append(r.Pools, Readiness(p))
		}
		told = append(told, r)
	}
	return told, err
}

// uninstallRelease takes a name, or NAME/VERSION, escaped.
func (a *API) uninstallRelease(q *request) (any, error) {
	if err := a.installs(); err != nil {
		return nil, err
	}
	ref, err := q.name("release")
	if err != nil {
		return nil, err
	}
	return struct{}{}, a.install.Uninstall(q.Context(), q.caller.Actor, ref)
}

// syncPool takes a packed service release as the body, or nothing.
func (a *API) syncPool(q *request) (any, error) {
	if err := a.installs(); err != nil {
		return nil, err
	}
	pool, err := q.name("pool")
	if err != nil {
		return nil, err
	}
	var opened *archive.Opened
	if q.ContentLength != 0 {
		if opened, err = q.unpack(a.install.Scratch); err != nil {
			return nil, err
		}
	}
	return streamed(func(tell func(any)) (any, error) {
		var files fs.FS
		if opened != nil {
			defer func() { _ = opened.Close() }()
			files = opened
		}
		done, err := a.install.Sync(q.Context(), pool, files, func(s install.Step) { tell(InstallStep(s)) })
		return Synced(done), err
	}), nil
}

// installRelease takes a packed service release as the body, and answers with a
// stream. What is wrong with the archive alone is told by the status.
func (a *API) installRelease(q *request) (any, error) {
	if err := a.installs(); err != nil {
		return nil, err
	}
	opened, err := q.unpack(a.install.Scratch)
	if err != nil {
		return nil, err
	}
	return streamed(func(tell func(any)) (any, error) {
		defer func() { _ = opened.Close() }()
		done, err := a.install.Install(q.Context(), q.caller.Actor, opened, func(s install.Step) { tell(InstallStep(s)) })
		return Installed(done), err
	}), nil
}

// unpack reads a packed service release from the body, to its end: who sends it
// should get to read why it is refused.
func (q *request) unpack(scratch string) (*archive.Opened, error) {
	_ = http.NewResponseController(q.writer).SetReadDeadline(time.Now().Add(uploadTime)) // else it is the server's
	opened, err := archive.Unpack(q.Context(), q.Body, scratch)
	if err == nil {
		return opened, nil
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(q.Body, archive.MaxPacked))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = serviceforge.Wrap(err, serviceforge.TimedOut, "the service release did not arrive in time")
	}
	return nil, err
}

// Install sends a packed service release of that size (-1 = not known) and
// returns when it is installed; tell hears of the steps. Errors: Invalid,
// Unprocessable, Conflict.
func (c *Client) Install(ctx context.Context, packed io.Reader, size int64, tell func(InstallStep)) (Installed, error) {
	return sendPacked[Installed](ctx, c, "/releases", packed, size, tell)
}

// Sync has the broker look what a pool's director has, and give it what it lacks
// of a packed service release; nil = nothing. Errors: NotFound, Conflict.
func (c *Client) Sync(ctx context.Context, pool string, packed io.Reader, size int64, tell func(InstallStep)) (Synced, error) {
	return sendPacked[Synced](ctx, c, "/pools/"+url.PathEscape(pool)+"/releases", packed, size, tell)
}

// Releases lists the versions of all service releases.
func (c *Client) Releases(ctx context.Context) ([]Release, error) {
	return get[[]Release](ctx, c, "/releases")
}

// Uninstall removes NAME or NAME/VERSION. Errors: NotFound, Conflict.
func (c *Client) Uninstall(ctx context.Context, ref string) error {
	_, err := send[struct{}](ctx, c, http.MethodDelete, "/releases/"+url.PathEscape(ref), nil)
	return err
}

func sendPacked[R any](ctx context.Context, c *Client, path string, packed io.Reader, size int64, tell func(InstallStep)) (result R, err error) {
	r, err := c.request(ctx, http.MethodPost, path, packed)
	if err != nil {
		return result, err
	}
	if packed != nil {
		r.ContentLength = size
		r.Header.Set("Content-Type", packedType)
		r.Header.Set("Expect", "100-continue") // who is not let in need not send it
	}
	return follow[InstallStep, R](c, r, tell)
}

// follow reads a stream to its end.
func follow[S, R any](c *Client, r *http.Request, tell func(S)) (result R, err error) {
	response, err := c.do(r)
	if err != nil {
		return result, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		read, _ := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
		return result, failureOf(response.StatusCode, read, c.URL)
	}
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, maxAnswer)
	for lines.Scan() {
		var line Line[S, R]
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return result, serviceforge.Wrap(err, serviceforge.Unavailable, "what answers at %s is not a ServiceForge broker", c.URL)
		}
		switch {
		case line.Failure != nil:
			return result, serviceforge.Errorf(line.Failure.Code, "%s", line.Failure.Message)
		case line.Result != nil:
			return *line.Result, nil
		case line.Step != nil:
			tell(*line.Step)
		}
	}
	if r.Context().Err() != nil {
		return result, r.Context().Err()
	}
	return result, serviceforge.Wrap(lines.Err(), serviceforge.Unavailable, "the broker at %s broke off its answer: install again", c.URL)
}
