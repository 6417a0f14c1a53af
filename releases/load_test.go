package releases_test

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/catalog"
	"github.com/serviceforge/serviceforge/releases"
)

func TestEtcdOffersTheIdsOf2014(t *testing.T) {
	r := load(t, releases.Etcd())
	c, err := catalog.New(r.Offerings())
	if err != nil {
		t.Fatal(err)
	}
	for plan, name := range map[string]string{oneServer: "1-server", threeServer: "3-servers", fiveServer: "5-servers"} {
		o, p, err := c.Plan(etcdService, plan)
		if err != nil || o.Name != "etcd-dedicated" || p.Name != name || o.DeploymentNamePrefix != "etcd" || o.Release != "etcd/1.0.0" {
			t.Errorf("%s: got %s %s %v", name, o.Name, p.Name, err)
		}
		var schema struct {
			Schema     string         `json:"$schema"`
			Properties map[string]any `json:"properties"`
			Additional bool           `json:"additionalProperties"`
		}
		if err := json.Unmarshal(p.Schemas.Create, &schema); err != nil || !strings.Contains(schema.Schema, "draft-04") ||
			schema.Properties["prefix"] == nil || schema.Additional {
			t.Errorf("%s: schema %s, %v", name, p.Schemas.Create, err)
		}
	}
	found := false
	for _, b := range r.BOSHReleases() {
		found = found || b.Name == "etcd-service" && b.Source == "bosh" && b.File != ""
	}
	if !found {
		t.Errorf("etcd-service is not among %v", r.BOSHReleases())
	}
}

func TestLoadRefuses(t *testing.T) {
	for _, test := range []struct {
		name, want string
		files      fstest.MapFS
	}{
		{"nothing there", "service.yml is missing", fstest.MapFS{}},
		{"empty", "it is empty", small("a: 1", smallService, "")},
		{"unknown key", `line 6 column 3: the key "colour" is not known in services.0`, small("a: 1", "- id: s\n", "- id: s\n  colour: red\n")},
		{"unknown plan key", `line 20 column 25: the key "errands" is not known in services.0.plans.0`, small("a: 1", "name: plan,", "name: plan, errands: 1,")},
		{"wrong type", "line 1 column 9: format", small("a: 1", "format: 1", "format: [1]")},
		{"format", "format: value must be 1", small("a: 1", "format: 1", "format: 2")},
		{"version", "line 3 column 10: version:", small("a: 1", `version: "1.0.0"`, `version: "1"`)},
		{"no services", "missing property 'services'", small("a: 1", smallService, "format: 1\nname: a\nversion: 1.0.0\n")},
		{"latest", "exact version", small("a: 1", `{name: r, version: "1"}`, `{name: r, version: latest}`)},
		{"missing template", "templates/x.yml is missing", small("a: 1", "[t.yml]", "[x.yml]")},
		{"path out of the release", "not a path inside the release", small("a: 1", "[t.yml]", "[../../x.yml]")},
		{"release path", "not a path inside the release", small("a: 1", `version: "1"}`, `version: "1", file: ../x}`)},
		{"a program without a path", "bosh_release.programs maps absolute paths", small("a: 1", "    release_templates:", "    programs: {redis-server: redis-server}\n    release_templates:")},
		{"a program of no package", "bosh_release.programs maps absolute paths", small("a: 1", "    release_templates:", "    programs: {/usr/bin/x: 'x; reboot'}\n    release_templates:")},
		{"impure template", "t.yml line 2: rand is not allowed", small("a: 1\nb: (( rand(\"[:alnum:]\", 10) ))")},
		{"a cost below nothing", "costs: ips: -1 is no cost", small("a: 1", "description: d}", "description: d, costs: {ips: -1}}")},
		{"a cost without a name", `"Memory MB" cannot name a resource`, small("a: 1", "description: d}", "description: d, costs: {Memory MB: 1}}")},
		{"instances are no cost", "instances: 2 is no cost", small("a: 1", "description: d}", "description: d, costs: {instances: 2}}")},
		{"impure stub", "x509genkey is not allowed", small("a: 1", "description: d}", "description: d, bosh_deployment_stub: {a: (( x509genkey(2048) ))}}")},
		{"unbounded string", "needs pattern, enum or maxLength", small("a: 1", `{type: string, maxLength: 3}`, `{type: string}`)},
		{"parameter type", "is not a JSON Schema", small("a: 1", "{type: boolean", "{type: list")},
		{"bad pattern", "pattern", small("a: 1", `pattern: "."`, `pattern: "("`)},
		{"bad default", "the schema of create.mode: the default does not match", small("a: 1", "default: fast", "default: none")},
		{"plan id twice", "the id s is used twice", small("a: 1", "{id: p,", "{id: s,")},
		{"no plans", "services.0.plans: minItems", small("a: 1", "plans:\n  - {id: p, name: plan, description: d}", "plans: []")},
		{"prefix", "deployment_name_prefix", small("a: 1", "description: d\n", "description: d\n  deployment_name_prefix: A_b\n")},
		{"secret type", "services.0.secrets.x.type: value must be one of", small("a: 1", "parameters:", "secrets: {x: {type: dice}}\n  parameters:")},
		{"secret ca", "ca must name a secret with is_ca", small("a: 1", "parameters:", "secrets: {x: {type: certificate, common_name: x, ca: y}}\n  parameters:")},
		{"secret names", "an alternative name is a text", small("a: 1", "parameters:",
			"secrets: {y: {type: certificate, common_name: y, is_ca: true, alternative_names: ['(( upper(\"x\") ))']}}\n  parameters:")},
		{"facts", "either addresses: all or address: first", small("a: 1", "parameters:", "facts: {h: {instance_group: g}}\n  parameters:")},
		{"users alone", "users without credentials", small("a: 1", "parameters:", "users: {driver: etcd}\n  parameters:")},
		{"two documents", "more than one document", small("a: 1", "plans:", "plans:", smallService, smallService+"---\na: 1\n")},
		{"a key that is no text", "line 4 column 1: the key \"yes\" is not known", small("a: 1", "services:", "yes: 1\nservices:")},
		{"a key twice", "is there twice", small("a: 1", "services:", "name: x\nservices:")},
		{"aliases without end", "too much", small("a: 1", "description: d\n", "description: d\n  metadata: {a: &a [x,x,x,x,x,x,x,x,x,x], b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a], c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b], d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c], e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d], f: [*e,*e,*e]}\n")},
		{"another deployment's secret", "t.yml line 2: ((!/director/other/pw)) is a secret", small("a: 1\nb: ((!/director/other/pw))")},
		{"the same in a longer text", "is a secret that is not", small("b: x((/director/other/pw))")},
		{"the same for credentials", "is a secret that is not", small("a: 1", "parameters:", "credentials: {a: ((/d/o/pw))}\n  parameters:")},
		{"sync", "sync is not allowed", small(`a: (( sync[data|v|->defined(v.a)] ))`)},
		{"templates and manifest", "either templates or manifest", small("a: 1", "templates: [t.yml],", "templates: [t.yml], manifest: m.yml,")},
		{"ops file", "ops.yml", small("a: 1", "templates: [t.yml],", "templates: [t.yml], ops_files: [ops.yml],")},
		{"detect", "detect_credentials: host needs", small("a: 1", "parameters:", "detect_credentials: [{name: host, class: 'BindingAttributes::JobIpAddress', attributes: {key: x}}]\n  parameters:")},
		{"large", "at most 256 KiB", small(strings.Repeat("# x\n", 70_000))},
	} {
		_, err := releases.Load(test.files)
		if serviceforge.CodeOf(err) != serviceforge.Invalid || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %s", test.name, err, test.want)
		}
	}
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte(smallService))
	yml, err := releases.Etcd().Open("service.yml")
	if err != nil {
		f.Fatal(err)
	}
	defer yml.Close()
	f.Add([]byte("format: 1\nservices: [{credentials: &a {b: *a}}]"))
	f.Add([]byte("format: 1\nname: a\nversion: 1.0.0\nservices: [{id: s, users: 'a: b'}]"))
	f.Fuzz(func(t *testing.T, yml []byte) {
		files := small("a: 1")
		files["service.yml"] = &fstest.MapFile{Data: yml}
		r, err := releases.Load(files)
		if err != nil {
			if serviceforge.CodeOf(err) != serviceforge.Invalid {
				t.Errorf("got %v", serviceforge.DetailOf(err))
			}
			return
		}
		if _, err := catalog.New(r.Offerings()); err != nil {
			t.Errorf("it was taken, but the catalog does not: %v", err)
		}
	})
}
