package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator/install"
	"github.com/serviceforge/serviceforge/releases"
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

// installRelease takes a packed service release as the body, and answers with a
// stream. What is wrong with the archive alone is told by the status.
func (a *API) installRelease(q *request) (any, error) {
	if a.install == nil {
		return nil, serviceforge.Errorf(serviceforge.Unprocessable, "this broker installs no service releases")
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
func (q *request) unpack(scratch string) (*releases.Opened, error) {
	_ = http.NewResponseController(q.writer).SetReadDeadline(time.Now().Add(uploadTime)) // else it is the server's
	opened, err := releases.Unpack(q.Context(), q.Body, scratch)
	if err == nil {
		return opened, nil
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(q.Body, releases.MaxPacked))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = serviceforge.Wrap(err, serviceforge.TimedOut, "the service release did not arrive in time")
	}
	return nil, err
}

// Install sends a packed service release of that size (-1 = not known) and
// returns when it is installed; tell hears of the steps. Errors: Invalid,
// Unprocessable, Conflict.
func (c *Client) Install(ctx context.Context, packed io.Reader, size int64, tell func(InstallStep)) (Installed, error) {
	r, err := c.request(ctx, http.MethodPost, "/releases", packed)
	if err != nil {
		return Installed{}, err
	}
	r.ContentLength = size
	r.Header.Set("Content-Type", packedType)
	r.Header.Set("Expect", "100-continue") // who is not let in need not send it
	return follow[InstallStep, Installed](c, r, tell)
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
