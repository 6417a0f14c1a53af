package bench_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/serviceforge/serviceforge"
	pools "github.com/serviceforge/serviceforge/infrastructure_pools"
	"github.com/serviceforge/serviceforge/releases"
	"github.com/serviceforge/serviceforge/releases/spiff"
)

// takeRender renders a manifest of 300 lines by its compiled plan, for another
// instance every time, and beside it has yaml.v3 parse and write the same text.
// Spiff runs once for all of them.
func takeRender(b *testing.B, t *table) {
	r, err := releases.Load(threeHundredLines())
	if err != nil {
		b.Fatal(err)
	}
	pool, err := pools.Local()
	if err != nil {
		b.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	spiff := spiff.New(program, nil)
	b.Cleanup(func() { _ = spiff.Close() })
	n := 0
	render := func() []byte {
		n++
		manifest, err := r.Manifest(context.Background(), spiff, releases.Input{Pool: pool, Broker: "b", Instance: serviceforge.Instance{
			ID: fmt.Sprint("i", n), Deployment: fmt.Sprint("long-i", n), ServiceID: "s", PlanID: "p",
			Parameters: serviceforge.NewSecret(fmt.Sprintf(`{"word":"w%d"}`, n)), Secrets: serviceforge.NewSecret(`{"pw":"secret"}`),
		}})
		if err != nil {
			b.Fatal(serviceforge.DetailOf(err))
		}
		return manifest
	}
	first := time.Now()
	text := render()
	t.note("first render of a plan: Spiff", duration(time.Since(first).Seconds()))
	if lines := bytes.Count(text, []byte("\n")); lines < 290 || lines > 320 {
		b.Fatalf("the manifest has %d lines", lines)
	}
	again := func() {
		var v any
		if err := yaml.Unmarshal(text, &v); err != nil {
			b.Fatal(err)
		}
		if _, err := yaml.Marshal(v); err != nil {
			b.Fatal(err)
		}
	}
	var ours, floor, control []float64
	for range 2 * rounds() {
		floor = append(floor, each(again))
		ours = append(ours, each(func() { render() }))
		control = append(control, each(again))
	}
	t.compare("render by a compiled plan ÷ yaml.v3 parse + marshal, 300 lines", ours, floor, control, duration, limit{most: 1.5})
	t.count("runs of Spiff for all renders of a plan", float64(spiff.Runs()), 1)
}

// each is the time of one of fifty, in seconds.
func each(do func()) float64 {
	begin := time.Now()
	for range 50 {
		do()
	}
	return time.Since(begin).Seconds() / 50
}

func threeHundredLines() fstest.MapFS {
	var template strings.Builder
	template.WriteString("update: {canaries: 1}\ninstance_groups:\n")
	for i := range 16 {
		fmt.Fprintf(&template, `- name: group%d
  instances: 1
  azs: (( sf.pool.azs ))
  vm_type: (( sf.pool.vm_types.small ))
  stemcell: default
  networks: [{name: (( sf.pool.network )) }]
  jobs:
  - name: job
    release: r
    properties: {word: (( sf.params.word )), password: (( sf.secrets.pw )), url: '(( "https://" sf.params.word "." sf.instance.dns ))', port: %d}
`, i, 4000+i)
	}
	return fstest.MapFS{
		"templates/t.yml": {Data: []byte(template.String())},
		"service.yml": {Data: []byte(`format: 1
name: long
version: "1.0.0"
services:
- id: s
  name: long
  description: d
  bosh_release:
    releases: [{name: r, version: "1"}]
    stemcells: [{alias: default, os: ubuntu-jammy}]
    release_templates: {templates: [t.yml]}
  secrets: {pw: {type: password}}
  parameters: {word: {type: string, maxLength: 64}}
  plans: [{id: p, name: plan, description: d}]
`)},
	}
}
