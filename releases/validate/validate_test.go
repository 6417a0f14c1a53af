package validate_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/releases"
	"github.com/serviceforge/serviceforge/releases/validate"
	"github.com/serviceforge/serviceforge/spec/spiff"
)

const (
	service = `format: 1
name: small
version: "1.0.0"
services:
- id: s
  name: small
  description: d
  bosh_release:
    releases: [{name: r, version: "1", source: bosh}]
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
	wholeTemplate = `instance_groups:
- name: web
  instances: (( merge || 1 ))
  azs: (( sf.pool.azs ))
  vm_type: small
  stemcell: default
  networks: [{name: (( sf.pool.network )) }]
  jobs:
  - name: web
    release: r
    properties: {port: (( sf.params.count )), mode: (( sf.params.mode )), deep: {er: (( sf.params ))}}
features: {randomize_az_placement: true}
update: {canaries: 1, max_in_flight: 1, canary_watch_time: 1000, update_watch_time: 1000}
`
	webSpec = `name: web
properties: {port: {default: 80}, mode: {default: slow}, deep.er: {}}
provides: [{name: web, type: http}]
`
)

// whole is a service release without mistakes.
func whole(changes ...string) fstest.MapFS {
	files := fstest.MapFS{
		"service.yml":           {Data: []byte(service)},
		"templates/t.yml":       {Data: []byte(wholeTemplate)},
		"templates/default.yml": {Data: []byte("{}")},
		"bosh/jobs/web/spec":    {Data: []byte(webSpec)},
		// a job without `templates` has none: changes name this one
		"bosh/jobs/web/templates/run.erb": {Data: []byte("port=<%= p('port') %> of=<%= link('web').p('any') %> er=<%= p('deep') %> or=<%= p('none', 1) %>\nexec /var/vcap/packages/web/bin/web\n")},
	}
	files["o.yml"] = &fstest.MapFile{Data: []byte("- {type: replace, path: \"/x-at?\", value: 12:30:00}\n")}
	put := strings.NewReplacer(changes...)
	for _, f := range files {
		f.Data = []byte(put.Replace(string(f.Data)))
	}
	return files
}

func validated(t *testing.T, files fstest.MapFS) []validate.Finding {
	t.Helper()
	r, err := releases.Load(files)
	if err != nil {
		t.Fatal(serviceforge.DetailOf(err))
	}
	findings, err := validate.Release(t.Context(), spiff.New(t), r, files, nil)
	if err != nil {
		t.Fatal(serviceforge.DetailOf(err))
	}
	return findings
}

func TestValidateFindsWhatBOSHDoesNotTell(t *testing.T) {
	if findings := validated(t, whole()); len(findings) != 0 {
		t.Fatalf("without mistakes: %v", findings)
	}
	for name, test := range map[string]struct {
		changes []string
		where   string
		want    string
	}{
		"unknown key of the manifest":   {[]string{"features:", "colour: red\nfeatures:"}, "plan plan on pool sample", `the key "colour" is not known`},
		"unknown key of a group":        {[]string{"  vm_type: small\n", "  vm_type: small\n  vm_tpye: x\n"}, "", `the key "vm_tpye" is not known`},
		"a v1 key":                      {[]string{"features:", "compilation: {workers: 1}\nfeatures:"}, "", `"compilation" is not known`},
		"wrong type":                    {[]string{"(( merge || 1 ))", `"1"`}, "", "instances: got string, want integer"},
		"no release":                    {[]string{"release: r\n", "release: q\n"}, "", `BOSH release "q", which is not in releases`},
		"no such job":                   {[]string{"  - name: web\n    release", "  - name: wbe\n    release"}, "", "has no such job"},
		"no such property":              {[]string{"{port: ((", "{prot: 1, port: (("}, "", "property prot, which its spec does not know"},
		"property type":                 {[]string{"{port: (( sf.params.count ))", `{port: "80"`}, "", "property port is str, its default is int"},
		"stemcell alias":                {[]string{"stemcell: default", "stemcell: jammy"}, "", `stemcell "jammy", which is not in stemcells`},
		"link":                          {[]string{"    properties: {port", "    consumes: {db: {from: db}}\n    properties: {port"}, "", "link db, which nothing provides"},
		"link of the spec":              {[]string{"provides: [{name: web", "consumes: [{name: db, type: sql}]\nprovides: [{name: web"}, "", "needs a link db of type sql"},
		"no bpm":                        {[]string{"properties: {port: {def", "templates: {a.erb: config/bpm.yml}\nproperties: {port: {def"}, "", "is started by bpm, which the group does not have"},
		"an errand that is none":        {[]string{"  parameters:\n", "  errands: {post_deploy: [{name: web}]}\n  parameters:\n"}, "", "is an errand without bin/run"},
		"a time in an ops file":         {[]string{"templates: [t.yml],", "templates: [t.yml], ops_files: [o.yml],"}, "o.yml line 1", "12:30:00 is read otherwise"},
		"a package of nobody":           {[]string{"properties: {port: {def", "templates: {run.erb: bin/run}\nproperties: {port: {def"}, "bosh/jobs/web/templates/run.erb line 2", "the package web is not among `packages`"},
		"a property of nobody":          {[]string{"properties: {port: {def", "templates: {run.erb: bin/run}\npackages: [web]\nproperties: {port: {def", "p('port')", "p('prot')"}, "bosh/jobs/web/templates/run.erb line 1", "does not know the property prot"},
		"errand":                        {[]string{"  parameters:\n", "  errands: {post_deploy: [{name: smoke}]}\n  parameters:\n"}, "", "errand smoke is not in the manifest"},
		"fact":                          {[]string{"  parameters:\n", "  facts: {h: {instance_group: db, address: first}}\n  parameters:\n"}, "", "instance group db, which is not in the manifest"},
		"dropped group":                 {[]string{"description: d}", "description: d, bosh_deployment_stub: {instance_groups: [{name: wbe, instances: 2}]}}"}, "service.yml line 20", "instance_groups.wbe is dropped"},
		"dropped key":                   {[]string{"description: d}", "description: d, bosh_deployment_stub: {tgas: {a: b}}}"}, "", "tgas is dropped"},
		"unused parameter":              {[]string{"er: (( sf.params ))", "er: 1"}, "service small", "parameter flag is declared, but nothing uses it"},
		"undeclared parameter":          {[]string{"mode: (( sf.params.mode ))", "mode: (( sf.params.modus || \"x\" ))", "er: (( sf.params ))", "er: 1"}, "t.yml line 11", "parameter modus is not declared"},
		"unused secret":                 {[]string{"  parameters:\n", "  secrets: {pw: {type: password}}\n  parameters:\n"}, "", "secret pw is declared, but nothing uses it"},
		"a time":                        {[]string{"canaries: 1", "canaries: 1, x-at: 12:30:00"}, "t.yml line 13", "12:30:00 is read otherwise"},
		"an octal":                      {[]string{"canary_watch_time: 1000", "canary_watch_time: 0100"}, "", "0100 is read otherwise"},
		"a version":                     {[]string{"canary_watch_time: 1000", "canary_watch_time: 1.10"}, "", "1.10 is read otherwise"},
		"a word":                        {[]string{"er: (( sf.params ))", "er: [(( sf.params )), no]"}, "", "no is read otherwise"},
		"credentials":                   {[]string{"  parameters:\n", "  facts: {h: {instance_group: web, addresses: all}}\n  credentials: {a: '(( sf.facts.h.[1] ))'}\n  parameters:\n"}, "", "credentials with 1 addresses"},
		"a template that does not end":  {[]string{"features:", "f: (( &temporary(|x|->_(x + 1)) ))\nv: (( .f(1) ))\nfeatures:"}, "", "in t.yml (look at line 12), default.yml: spiff ended without a result"},
		"another deployment's variable": {[]string{"er: (( sf.params ))", "er: [(( sf.params )), ((!pw))]"}, "", "a reference at /instance_groups/0/jobs/0/properties/deep/er/1"},
	} {
		t.Run(name, func(t *testing.T) {
			findings := validated(t, whole(test.changes...))
			for _, f := range findings {
				if (f.Level == "error" || strings.HasPrefix(name, "a package")) && strings.Contains(f.Message, test.want) && strings.Contains(f.Where, test.where) {
					return
				}
			}
			t.Errorf("no %q at %q in %v", test.want, test.where, findings)
		})
	}
}
