package releases_test

import (
	"context"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/serviceforge/serviceforge"
	pools "github.com/serviceforge/serviceforge/infrastructure_pools"
	"github.com/serviceforge/serviceforge/releases"
)

const (
	etcdService = "b9698740-4810-4dc5-8da6-54581f5108c4"
	oneServer   = "6e8ece8c-4fe6-4d58-9aeb-497d6aeba113"
	threeServer = "1a448d0e-bc54-4a16-8d2f-ab701be20c40"
	fiveServer  = "5cfa57fc-1474-4eb9-9afb"
)

func limited(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func load(t testing.TB, files fs.FS) *releases.Release {
	t.Helper()
	r, err := releases.Load(files)
	if err != nil {
		t.Fatal(serviceforge.DetailOf(err))
	}
	return r
}

func localPool(t testing.TB) pools.Pool {
	t.Helper()
	p, err := pools.Local()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// etcdInput is an instance of the embedded release with secrets that never change.
func etcdInput(t testing.TB, plan string) releases.Input {
	t.Helper()
	return releases.Input{
		Pool: localPool(t), Broker: "b1", First: true,
		Instance: serviceforge.Instance{
			ID: "i1", Deployment: "etcd-i1", ServiceID: etcdService, PlanID: plan,
			OrganizationGUID: "org-1", SpaceGUID: "space-1",
			Operation: serviceforge.Operation{ID: "op1"},
			Facts:     map[string][]string{"etcd": {"127.244.0.2", "127.244.0.3"}},
			Secrets: serviceforge.NewSecret(`{"root_password":"ROOT-PASSWORD","cluster_token":"CLUSTER-TOKEN",
				"ca":{"certificate":"CA-CERTIFICATE","private_key":"CA-KEY"},"peer":{"certificate":"PEER-CERTIFICATE","private_key":"PEER-KEY"}}`),
		},
	}
}

// small is a service release with one plan; service.yml and the template can
// be changed by the test.
func small(template string, changes ...string) fstest.MapFS {
	yml := strings.NewReplacer(changes...).Replace(smallService)
	return fstest.MapFS{
		"service.yml":           {Data: []byte(yml)},
		"templates/t.yml":       {Data: []byte(template)},
		"templates/default.yml": {Data: []byte("{}")},
	}
}

const smallService = `format: 1
name: small
version: "1.0.0"
services:
- id: s
  name: small
  description: d
  bosh_release:
    releases: [{name: r, version: "1"}]
    stemcells: [{alias: default, os: ubuntu-jammy}]
    release_templates: {templates: [t.yml], infrastructure_stubs: {default: default.yml}}
  parameters:
    word: {type: string, pattern: ".", default: w}
    count: {type: integer, minimum: 1, maximum: 1000000, default: 1}
    ratio: {type: number}
    mode: {type: string, enum: [fast, slow], default: fast}
    short: {type: string, maxLength: 3}
    flag: {type: boolean, default: false}
  plans:
  - {id: p, name: plan, description: d}
`

func smallInput(t testing.TB, parameters string) releases.Input {
	t.Helper()
	return releases.Input{Pool: localPool(t), Broker: "b", Instance: serviceforge.Instance{
		ID: "i", Deployment: "small-i", ServiceID: "s", PlanID: "p", Parameters: serviceforge.NewSecret(parameters),
	}}
}
