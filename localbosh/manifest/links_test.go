package manifest_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/serviceforge/serviceforge/localbosh/manifest"
)

// linkRelease has a job that provides and consumes its own link, as etcd does, and one that consumes it.
func linkRelease(t testing.TB) *manifest.Release {
	t.Helper()
	r := &manifest.Release{Name: "lr", Version: "2", Packages: []*manifest.Package{{Name: "a", Fingerprint: "fa", Dependencies: []string{"b"}}, {Name: "b", Fingerprint: "fb"}}}
	for _, text := range []string{
		"name: node\npackages: [a]\nprovides: [{name: peers, type: cluster, properties: [port, tls.ca]}]\nconsumes: [{name: peers, type: cluster}]\n" +
			"properties: {port: {default: 2379}, tls.ca: {description: x}, ratio: {default: 1.0}, list: {default: [1, 2.5]}}",
		"name: client\nconsumes: [{name: db, type: cluster, optional: true}]\nproperties: {a: {default: {x: 1}}, a.b: {default: 2}}",
		"name: strict\nconsumes: [{name: db, type: cluster}]",
	} {
		j, err := manifest.ParseJobSpec([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		j.Fingerprint = "fp-" + j.Name
		r.Jobs = append(r.Jobs, j)
	}
	return r
}

func linkWorld(t testing.TB) *world {
	w := smallWorld(t)
	w.catalog.Releases = append(w.catalog.Releases, linkRelease(t))
	return w
}

// linkGroup is an instance group of the link release's jobs.
func linkGroup(name string, instances int, network, jobs string) string {
	zones := ", azs: [z1]"
	if network == "bare" {
		zones = ""
	}
	return "- {name: " + name + ", instances: " + string(rune('0'+instances)) + zones + ", vm_type: small, stemcell: default, networks: [{name: " + network + "}], jobs: [" + jobs + "]}\n"
}

func linkDeployment(groups ...string) string {
	return strings.Replace(deployment(groups...), "releases: [", "releases: [{name: lr, version: '2'}, ", 1)
}

func asJSON(t testing.TB, v any) string {
	t.Helper()
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

const node = "{name: node, release: lr, properties: {tls: {ca: PEM}, undeclared: 1}"

func TestDocument(t *testing.T) {
	p := linkWorld(t).deploy(linkDeployment(linkGroup("etcd", 2, "default", node+"}")))
	j := p.Groups[0].Instances[1].Jobs[0]
	want := `{
 "address": "127.1.0.6",
 "az": "z1",
 "bootstrap": false,
 "deployment": "d",
 "dns_domain_name": "bosh",
 "id": "id-2",
 "index": 1,
 "ip": "127.1.0.6",
 "job": {
  "name": "etcd",
  "template": "node",
  "templates": [
   {
    "name": "node",
    "version": "fp-node"
   }
  ]
 },
 "links": {
  "peers": {
   "address": "q-s0.etcd.default.d.bosh",
   "default_network": "default",
   "deployment_name": "d",
   "domain": "bosh",
   "instance_group": "etcd",
   "instances": [
    {
     "address": "127.1.0.5",
     "az": "z1",
     "bootstrap": true,
     "id": "id-1",
     "index": 0,
     "name": "etcd"
    },
    {
     "address": "127.1.0.6",
     "az": "z1",
     "bootstrap": false,
     "id": "id-2",
     "index": 1,
     "name": "etcd"
    }
   ],
   "properties": {
    "port": 2379,
    "tls": {
     "ca": "PEM"
    }
   }
  }
 },
 "name": "etcd",
 "networks": {
  "default": {
   "cloud_properties": {},
   "default": [
    "dns",
    "gateway"
   ],
   "dns_record_name": "1.etcd.default.d.bosh",
   "gateway": "127.1.0.1",
   "ip": "127.1.0.6",
   "netmask": "255.255.255.240",
   "prefix": "32",
   "type": "manual"
  }
 },
 "persistent_disk": 0,
 "properties": {
  "list": [
   1,
   2.5
  ],
  "port": 2379,
  "ratio": 1.0,
  "tls": {
   "ca": "PEM"
  }
 },
 "release": {
  "name": "lr",
  "version": "2"
 },
 "resource_pool": "small"
}`
	if diff := cmp.Diff(want, asJSON(t, j.Document)); diff != "" {
		t.Error(diff)
	}
	if u := p.Groups[0].Packages; len(u) != 2 || u[0].Package.Name != "b" || u[1].Package.Name != "a" {
		t.Errorf("packages %+v, want dependencies first", u)
	}
}

func TestLinks(t *testing.T) {
	nodes := linkGroup("etcd", 1, "default", node+"}")
	addresses := func(p *manifest.Plan, group int, link string) string {
		l, ok := p.Groups[group].Instances[0].Jobs[0].Document["links"].(map[string]any)[link]
		if !ok {
			return "none"
		}
		var out []string
		for _, i := range l.(map[string]any)["instances"].([]any) {
			a, _ := i.(map[string]any)["address"].(string)
			out = append(out, a)
		}
		return strings.Join(out, " ")
	}
	for _, tc := range []struct{ name, text, link, want string }{
		{"implicit by type", linkDeployment(nodes, linkGroup("c", 1, "default", "{name: client, release: lr}")), "db", "127.1.0.5"},
		{"from", linkDeployment(nodes, linkGroup("c", 1, "default", "{name: client, release: lr, consumes: {db: {from: peers}}}")), "db", "127.1.0.5"},
		{"as and from", linkDeployment(linkGroup("etcd", 1, "default", node+", provides: {peers: {as: main}}, consumes: {peers: {from: main}}}"),
			linkGroup("c", 1, "default", "{name: client, release: lr, consumes: {db: {from: main}}}")), "db", "127.1.0.5"},
		{"from one of two", linkDeployment(linkGroup("etcd", 1, "default", node+", provides: {peers: {as: one}}, consumes: {peers: {from: one}}}"),
			linkGroup("c", 1, "default", "{name: client, release: lr, consumes: {db: {from: two}}}"),
			linkGroup("more", 1, "default", node+", provides: {peers: {as: two}}, consumes: {peers: {from: two}}}")), "db", "127.1.0.7"},
		{"optional and absent", linkDeployment(nodes, linkGroup("c", 1, "default", "{name: client, release: lr, consumes: {db: nil}}")), "db", "none"},
		{"written in the manifest", linkDeployment(nodes, linkGroup("c", 1, "default", "{name: strict, release: lr, consumes: {db: {instances: [{address: 10.0.0.9}], properties: {port: 1}}}}")), "db", "10.0.0.9"},
		{"names on request", linkDeployment(nodes, linkGroup("c", 1, "default", "{name: client, release: lr, consumes: {db: {from: peers, ip_addresses: false}}}")), "db", "id-1.etcd.default.d.bosh"},
		{"names on dynamic networks", linkDeployment(linkGroup("etcd", 1, "bare", node+"}"), linkGroup("c", 1, "default", "{name: client, release: lr}")), "db", "id-1.etcd.bare.d.bosh"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := addresses(linkWorld(t).deploy(tc.text), 1, tc.link); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestLinkRefusals(t *testing.T) {
	nodes := linkGroup("etcd", 1, "default", node+"}")
	for _, tc := range []struct{ name, text, want string }{
		{"none", linkDeployment(linkGroup("c", 1, "default", "{name: strict, release: lr}")),
			"Failed to resolve links from deployment 'd'. See errors below:\n  - Failed to resolve link 'db' with type 'cluster' from job 'strict' in instance group 'c'. Details below:\n    - No link providers found"},
		{"no such alias", linkDeployment(nodes, linkGroup("c", 1, "default", "{name: strict, release: lr, consumes: {db: {from: nope}}}")),
			"Failed to resolve links from deployment 'd'. See errors below:\n  - Failed to resolve link 'db' with alias 'nope' and type 'cluster' from job 'strict' in instance group 'c'. Details below:\n    - No link providers found"},
		{"explicit is never optional", linkDeployment(nodes, linkGroup("c", 1, "default", "{name: client, release: lr, consumes: {db: {from: nope}}}")),
			"Failed to resolve links from deployment 'd'. See errors below:\n  - Failed to resolve link 'db' with alias 'nope' and type 'cluster' from job 'client' in instance group 'c'. Details below:\n    - No link providers found"},
		{"two", linkDeployment(linkGroup("a", 1, "default", node+", consumes: {peers: {from: one}}, provides: {peers: {as: one}}}"),
			linkGroup("b", 1, "default", node+", consumes: {peers: {from: peers}}}"), linkGroup("c", 1, "default", "{name: client, release: lr}")),
			"Failed to resolve links from deployment 'd'. See errors below:\n  - Failed to resolve link 'db' with type 'cluster' from job 'client' in instance group 'c'. Details below:\n" +
				"    - Link provider 'peers' with alias 'one' from job 'node' in instance group 'a' in deployment 'd'\n    - Link provider 'peers' from job 'node' in instance group 'b' in deployment 'd'"},
		{"other network", linkDeployment(nodes, linkGroup("c", 1, "default", "{name: client, release: lr, consumes: {db: {from: peers, network: other}}}")),
			"Failed to resolve links from deployment 'd'. See errors below:\n  - Failed to resolve link 'db' with alias 'peers' and type 'cluster' from job 'client' in instance group 'c'. Details below:\n" +
				"    - Link provider 'peers' from job 'node' in instance group 'etcd' in deployment 'd' does not belong to network 'other'"},
		{"a list", linkDeployment(nodes, linkGroup("c", 1, "default", "{name: client, release: lr, consumes: {db: [a]}}")),
			"Consumer 'db' in job 'client' in instance group 'c' specified in the manifest should only be a hash or string 'nil'"},
		{"type in the manifest", linkDeployment(linkGroup("a", 1, "default", node+", provides: {peers: {type: x}}}")),
			"Cannot specify 'name' or 'type' properties in the manifest for link 'peers' in job 'node' in instance group 'a'. Please provide these keys in the release only."},
		{"other deployment", linkDeployment(nodes, linkGroup("c", 1, "default", "{name: client, release: lr, consumes: {db: {from: x, deployment: o}}}")),
			"Link 'x' in job 'client' from instance group 'c' consumes from deployment 'o', but the deployment does not exist."},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := linkWorld(t).plan([]byte(tc.text))
			wantError(t, err, 100, tc.want)
		})
	}
}

// A new peer changes what the old ones are rendered from, and nothing else of them.
func TestLinkChangeUpdates(t *testing.T) {
	w := linkWorld(t)
	w.deploy(linkDeployment(linkGroup("etcd", 1, "default", node+"}")))
	p := w.deploy(linkDeployment(linkGroup("etcd", 2, "default", node+"}")))
	if got := p.Groups[0].Instances[0].Change(); got != manifest.ApplyUpdate {
		t.Errorf("etcd/0: %v", got)
	}
	from, to := p.Groups[0].Instances[0].Previous.Digest, p.Groups[0].Instances[0].Digest
	from.Rendered, to.Rendered = "same", "same"
	if got := from.Change(to); got != manifest.Unchanged {
		t.Errorf("rendered to the same: %v", got)
	}
}

func TestVariables(t *testing.T) {
	w := linkWorld(t)
	w.lookup = func(name string) (any, bool, error) {
		switch name {
		case "/LabDirector/d/ca":
			return map[string]any{"certificate": "PEM"}, true, nil
		case "/shared/size":
			return 3, true, nil
		case "/broken":
			return nil, false, errors.New("is sealed")
		}
		return nil, false, nil
	}
	ok := linkDeployment(linkGroup("etcd", 2, "default", "{name: node, release: lr, properties: {tls: {ca: ((ca.certificate))}, port: 'x((/shared/size))y((!/shared/size))'}}"))
	p := w.deploy(strings.Replace(ok, "canaries: 1", "canaries: ((/shared/size))", 1))
	got := p.Groups[0].Instances[0].Jobs[0].Document["properties"].(map[string]any)
	if got["port"] != "x3y3" || got["tls"].(map[string]any)["ca"] != "PEM" || p.Groups[0].Update.Canaries.Of(9, 0) != 3 {
		t.Errorf("%v, %+v", got, p.Groups[0].Update)
	}
	for name, want := range map[string]string{
		"((nope))":           "Failed to find variable '/LabDirector/d/nope' from config server: HTTP Code '404', Error: 'Name '/LabDirector/d/nope' not found'",
		"((ca.key))":         "Failed to fetch variable '/LabDirector/d/ca' from config server: Expected parent '/LabDirector/d/ca' hash to have key 'key'",
		"((/shared/size.x))": "Failed to fetch variable '/shared/size' from config server: Expected parent '/shared/size' to be a hash",
		"((/broken))":        "Failed to fetch variable '/broken' from config server: is sealed",
		"a((ca))":            "Failed to substitute variable: Can not replace '((ca))' in 'a((ca))'. The value should be a String or an Integer.",
		"((a b))":            "Placeholder name 'a b' must only contain alphanumeric, underscores, dashes, or forward slash characters",
		"((a//b))":           "Placeholder name 'a//b' must not contain two consecutive forward slashes",
	} {
		_, err := manifest.Interpolate(map[string]any{"x": []any{name}}, "LabDirector", "d", w.lookup)
		wantError(t, err, 540001, "- "+want)
	}
	_, err := manifest.InterpolateManifest(map[string]any{"name": "((x))"}, "LabDirector", "d", nil)
	wantError(t, err, 540009, "Failed to fetch variable '/LabDirector/d/x' from config server: Director is not configured with a config server")
}

func TestGenerate(t *testing.T) {
	stored := map[string]any{}
	ca := func(name string) (any, bool, error) { v, ok := stored[name]; return v, ok, nil }
	v, err := manifest.Generate(manifest.Variable{Name: "/ca", Type: "certificate", Options: map[string]any{"is_ca": true, "common_name": "lab", "key_length": 2048}}, ca)
	if err != nil {
		t.Fatal(err)
	}
	stored["/ca"] = v
	v, err = manifest.Generate(manifest.Variable{Name: "/tls", Type: "certificate", Options: map[string]any{"ca": "/ca", "common_name": "svc", "alternative_names": []any{"127.0.0.1", "a.b"}}}, ca)
	if err != nil || v.(map[string]any)["ca"] != stored["/ca"].(map[string]any)["certificate"] {
		t.Errorf("%v", err)
	}
	if v, err := manifest.Generate(manifest.Variable{Type: "password", Options: map[string]any{"length": 30}}, nil); err != nil || len(v.(string)) != 30 {
		t.Errorf("%v, %v", v, err)
	}
	if v, err := manifest.Generate(manifest.Variable{Type: "user", Options: map[string]any{"username": "admin"}}, nil); err != nil || v.(map[string]any)["username"] != "admin" {
		t.Errorf("%v, %v", v, err)
	}
	_, err = manifest.Generate(manifest.Variable{Name: "/x", Type: "certificate", Options: map[string]any{"ca": "/nope"}}, ca)
	wantError(t, err, 540005, "Config Server failed to generate value for '/x' with type 'certificate'. HTTP Code '400', Error: 'Loading certificates: Name '/nope' not found'")
	_, err = manifest.Generate(manifest.Variable{Name: "/x", Type: "magic"}, ca)
	wantError(t, err, 540005, "Config Server failed to generate value for '/x' with type 'magic'. HTTP Code '400', Error: 'Unsupported value type: magic'")
}
