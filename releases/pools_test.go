package releases_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/catalog"
	pools "github.com/serviceforge/serviceforge/infrastructure_pools"
	"github.com/serviceforge/serviceforge/releases"
	"github.com/serviceforge/serviceforge/releases/parameters"
)

func TestPoolRules(t *testing.T) {
	for text, want := range map[string]catalog.PoolRule{
		"pools: [b, a]":                                              {Names: []string{"b", "a"}},
		"pools: {match: {tier: gold}}":                               {Match: map[string]string{"tier": "gold"}},
		"pools: {names: [a], choose: spread}":                        {Names: []string{"a"}, Choose: catalog.Spread},
		"pools: {match: {a: b}, choose: least_used}":                 {Match: map[string]string{"a": "b"}, Choose: catalog.LeastUsed},
		"pool_parameter: true, pools: {choose: in_order}":            {Choose: catalog.InOrder, Parameter: true},
		"pool_parameter: false, parameters: {pool: {type: boolean}}": {},
	} {
		r := load(t, small("a: 1", "name: plan,", "name: plan, "+text+","))
		if diff := cmp.Diff(want, r.Offerings()[0].Plans[0].Pools); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
	}
	for text, want := range map[string]string{
		"pools: {colour: red}":  "field colour not found in pools",
		"pools: {choose: dice}": "pools are chosen by",
		"pools: 5":              "line",
		"pools: {match: [a]}":   "line",
		"pool_parameter: true, parameters: {pool: {type: boolean}}": "exclude each other",
	} {
		_, err := releases.Load(small("a: 1", "name: plan,", "name: plan, "+text+","))
		if serviceforge.CodeOf(err) != serviceforge.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

func TestThePoolParameterIsInTheSchema(t *testing.T) {
	r := load(t, small("a: 1", "name: plan,", "name: plan, pool_parameter: true,"))
	plan := r.Offerings()[0].Plans[0]
	if !strings.Contains(string(plan.Schemas.Create), `"pool"`) {
		t.Errorf("schema: %s", plan.Schemas.Create)
	}
	if err := r.CheckParameters(plan, parameters.Create, json.RawMessage(`{"pool": "lab-2"}`)); err != nil {
		t.Error(err)
	}
	if err := r.CheckParameters(plan, parameters.Create, json.RawMessage(`{"pool": "LAB"}`)); serviceforge.CodeOf(err) != serviceforge.Invalid {
		t.Errorf("got %v", err)
	}
}

// TestASlotIsMergedOverThePoolsStub renders what the network files of 2014 were
// for: static addresses of the slot that the instance claims.
func TestASlotIsMergedOverThePoolsStub(t *testing.T) {
	r := load(t, small(`
networks: (( &temporary(merge) ))
meta: {mtu: (( merge )), name: (( merge ))}
slot: (( sf.pool.slot ))
instance_groups:
- name: node
  instances: 2
  networks:
  - name: default
    static_ips: (( static_ips(0,1) ))
`))
	in := smallInput(t, "")
	in.Pool.Stub = []byte("meta: {mtu: 1400, name: pool}\n")
	in.Pool.Slots = []pools.Slot{
		{Name: "10.244.2.0", Stub: []byte("networks: [{name: default, subnets: [{static: [10.244.2.2-10.244.2.9]}]}]\nmeta: {name: first}\n")},
		{Name: "10.244.2.64", Stub: []byte("networks: [{name: default, subnets: [{static: [10.244.2.66-10.244.2.73]}]}]\nmeta: {name: second}\n")},
	}
	in.Instance.Slot = "10.244.2.64"
	m, err := r.Manifest(limited(t), renderer(t), in)
	if err != nil {
		t.Fatal(serviceforge.DetailOf(err))
	}
	tree := parse(t, m)
	if diff := cmp.Diff(any(map[string]any{"mtu": 1400, "name": "second"}), tree["meta"]); diff != "" {
		t.Error(diff)
	}
	if tree["slot"] != "10.244.2.64" || !strings.Contains(string(m), `"10.244.2.66"`) || strings.Contains(string(m), "10.244.2.2\"") {
		t.Errorf("got %s", m)
	}
	for _, gone := range []string{"", "10.244.2.128"} {
		in.Instance.Slot = gone
		if _, err := r.Manifest(limited(t), renderer(t), in); serviceforge.CodeOf(err) != serviceforge.Unprocessable {
			t.Errorf("slot %q: %v", gone, err)
		}
	}
}
