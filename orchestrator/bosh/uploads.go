package bosh

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"

	cli "github.com/cloudfoundry/bosh-cli/v7/director"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator/director"
)

// Parts reads the fingerprints of one version of a BOSH release.
func (c *Client) Parts(ctx context.Context, name, version string) (map[string]string, error) {
	type part struct {
		Name        string `json:"name"`
		Fingerprint string `json:"fingerprint"`
	}
	type release struct {
		Jobs     []part `json:"jobs"`
		Packages []part `json:"packages"`
	}
	query := url.Values{"version": {version}}
	answer, err := get[release](ctx, c, "/releases/"+url.PathEscape(name)+"?"+query.Encode(), "reading release "+name+"/"+version)
	parts := map[string]string{}
	for _, p := range answer.Jobs {
		parts["jobs/"+p.Name] = p.Fingerprint
	}
	for _, p := range answer.Packages {
		parts["packages/"+p.Name] = p.Fingerprint
	}
	return parts, err
}

// Matches asks which packages of a release.MF the director has.
func (c *Client) Matches(ctx context.Context, manifest []byte) ([]string, error) {
	request, t := c.call(ctx, "")
	var known []string
	err := request.Post("/packages/matches", manifest, contentType("text/yaml"), &known)
	return known, t.translate(err, "asking which packages are known")
}

// UploadRelease posts the tarball of a BOSH release.
func (c *Client) UploadRelease(ctx context.Context, tarball director.Tarball) (int, error) {
	return c.send(ctx, "/releases", tarball, "uploading a release")
}

// UploadStemcell posts the tarball of a stemcell.
func (c *Client) UploadStemcell(ctx context.Context, tarball director.Tarball) (int, error) {
	return c.send(ctx, "/stemcells", tarball, "uploading a stemcell")
}

// FetchRelease has the director fetch a BOSH release, and compare its digest.
func (c *Client) FetchRelease(ctx context.Context, location, sha256 string) (int, error) {
	body := map[string]string{"location": location}
	if sha256 != "" {
		body["sha1"] = "sha256:" + sha256
	}
	encoded, err := json.Marshal(body)
	if err != nil {
		return 0, serviceforge.Wrap(err, serviceforge.Internal, "the request for %s cannot be written", location)
	}
	request, t := c.call(ctx, "")
	var task cli.TaskResp
	err = request.Post("/releases", encoded, contentType("application/json"), &task)
	return task.ID, t.translate(err, "having a release fetched from "+location)
}

// send streams a file, and again from its beginning where we are asked to log in anew.
func (c *Client) send(ctx context.Context, path string, tarball director.Tarball, doing string) (int, error) {
	body, err := tarball.Open()
	if err != nil {
		return 0, serviceforge.Wrap(err, serviceforge.Internal, "the tarball cannot be read")
	}
	request, t := c.call(ctx, "")
	var task cli.TaskResp
	err = request.Post(path, nil, func(r *http.Request) {
		contentType("application/x-compressed")(r)
		r.Body, r.GetBody, r.ContentLength = body, tarball.Open, tarball.Size
	}, &task)
	_ = body.Close() // the transport has, unless nothing was sent
	return task.ID, t.translate(err, doing)
}

func contentType(of string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Content-Type", of) }
}
