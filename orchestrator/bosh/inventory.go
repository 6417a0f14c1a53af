package bosh

import (
	"context"
	"net/url"
	"slices"

	cli "github.com/cloudfoundry/bosh-cli/v7/director"

	"github.com/serviceforge/serviceforge/orchestrator/director"
)

// get reads a path into a T.
func get[T any](ctx context.Context, c *Client, path, doing string) (T, error) {
	var answer T
	request, t := c.call(ctx, "")
	err := request.Get(path, &answer)
	return answer, t.translate(err, doing)
}

// Info asks the director who it is, and what we are to it.
func (c *Client) Info(ctx context.Context) (director.Info, error) {
	answer, g, err := c.whoWeAre(ctx)
	told := director.Info{Name: answer.Name, UUID: answer.UUID, Version: answer.Version, User: answer.User, UAA: answer.Auth.Type == authUAA,
		ConfigServer: answer.Features["config_server"].Status, LocalDNS: answer.Features["local_dns"].Status}
	if g != nil {
		told.Scopes = g.scopes
	}
	return told, err
}

// Deployments lists the names of deployments, and nothing else of them.
func (c *Client) Deployments(ctx context.Context) ([]string, error) {
	query := url.Values{"exclude_configs": {"true"}, "exclude_releases": {"true"}, "exclude_stemcells": {"true"}}
	answers, err := get[[]cli.DeploymentResp](ctx, c, "/deployments?"+query.Encode(), "listing deployments")
	names := make([]string, 0, len(answers))
	for _, a := range answers {
		names = append(names, a.Name)
	}
	slices.Sort(names)
	return names, err
}

// CloudConfigs reads the cloud configs in force: the default one and named ones.
func (c *Client) CloudConfigs(ctx context.Context) ([][]byte, error) {
	answers, err := get[[]cli.Config](ctx, c, "/configs?type=cloud&latest=true", "reading the cloud config")
	texts := make([][]byte, 0, len(answers))
	for _, a := range answers {
		texts = append(texts, []byte(a.Content))
	}
	return texts, err
}

// Releases lists the BOSH releases.
func (c *Client) Releases(ctx context.Context) (map[string][]string, error) {
	type release struct {
		Name     string `json:"name"`
		Versions []struct {
			Version string `json:"version"`
		} `json:"release_versions"`
	}
	answers, err := get[[]release](ctx, c, "/releases", "listing releases")
	versions := map[string][]string{}
	for _, a := range answers {
		for _, v := range a.Versions {
			versions[a.Name] = append(versions[a.Name], v.Version)
		}
	}
	return versions, err
}

// Stemcells lists the stemcells.
func (c *Client) Stemcells(ctx context.Context) (map[string][]string, error) {
	type stemcell struct {
		OS      string `json:"operating_system"`
		Version string `json:"version"`
	}
	answers, err := get[[]stemcell](ctx, c, "/stemcells", "listing stemcells")
	versions := map[string][]string{}
	for _, a := range answers {
		versions[a.OS] = append(versions[a.OS], a.Version)
	}
	return versions, err
}

// VMs counts the VMs of a deployment that the infrastructure knows.
func (c *Client) VMs(ctx context.Context, deployment string) (int, error) {
	type vm struct {
		CID string `json:"cid"`
	}
	answers, err := get[[]vm](ctx, c, "/deployments/"+url.PathEscape(deployment)+"/vms", "reading the VMs of "+deployment)
	answers = slices.DeleteFunc(answers, func(v vm) bool { return v.CID == "" })
	return len(answers), err
}
