package bosh

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"time"

	"github.com/serviceforge/serviceforge"
)

// transport does one request of one call: it carries ctx, authenticates, and
// answers a redirect to a task with the task's id, so that a POST or DELETE is
// one request.
type transport struct {
	ctx    context.Context
	client *Client
	wait   time.Duration // RFC 7240 "Prefer: wait"; directors that do not know it answer at once
	status int           // of the answer; 0 = none came

	grant   *grant // what the request carried
	refusal error  // why we are not let in, where more is known than the status
}

// Do sends the request once; see enter.
func (t *transport) Do(request *http.Request) (*http.Response, error) {
	request = request.WithContext(t.ctx)
	if t.wait > 0 {
		request.Header.Set("Prefer", fmt.Sprintf("wait=%d", int(t.wait.Seconds())))
	}
	began := time.Now()
	response, err := t.enter(request)
	if err != nil {
		t.client.observe(request.Method, 0, time.Since(began))
		return nil, err
	}
	t.status = response.StatusCode
	t.client.observe(request.Method, t.status, time.Since(began))
	if response.StatusCode == http.StatusFound {
		return taskOf(response)
	}
	return response, nil
}

// taskOf turns "302 Location: https://any/tasks/N" into "200 {"id":N}". The
// Location is built from our Host header: only its path counts (WIRE.md).
func taskOf(response *http.Response) (*http.Response, error) {
	finish(response)
	location, err := url.Parse(response.Header.Get("Location"))
	if err != nil {
		return nil, fmt.Errorf("the director redirects to nowhere: %w", err)
	}
	id, err := strconv.Atoi(path.Base(location.Path))
	if err != nil || path.Base(path.Dir(location.Path)) != "tasks" {
		return nil, fmt.Errorf("the director redirects to %q, which is no task", location.Path)
	}
	body := fmt.Sprintf(`{"id":%d}`, id)
	response.StatusCode, response.Status = http.StatusOK, "200 OK"
	response.Body = io.NopCloser(bytes.NewReader([]byte(body)))
	response.ContentLength = int64(len(body))
	return response, nil
}

// translate makes our error of bosh-cli's: what matters is the status.
func (t *transport) translate(err error, doing string) error {
	switch {
	case err == nil:
		return nil
	case t.refusal != nil:
		return serviceforge.Wrap(fmt.Errorf("%s: %s", doing, serviceforge.DetailOf(t.refusal)), serviceforge.Unavailable, "%s", t.refusal)
	}
	code, message := serviceforge.Unprocessable, "the director refused"
	switch {
	case t.status == http.StatusNotFound:
		code, message = serviceforge.NotFound, "the director does not know it"
	case t.status == http.StatusUnauthorized:
		code, message = serviceforge.Unavailable, "the director does not let the broker in"
	case t.status == 0 || t.status >= 500 || t.status < 400 || t.status == http.StatusTooManyRequests:
		code, message = serviceforge.Unavailable, "the director does not answer"
	}
	return serviceforge.Wrap(fmt.Errorf("%s: %w", doing, err), code, "%s", message)
}
