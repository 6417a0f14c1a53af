package pools_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/catalog"
	pools "github.com/serviceforge/serviceforge/infrastructure_pools"
)

func names(set []pools.Pool) string {
	var all []string
	for _, p := range set {
		all = append(all, p.Name)
	}
	return strings.Join(all, " ")
}

func TestCandidates(t *testing.T) {
	set, err := pools.NewSet(
		pool(t, "closed", "  state: cordoned\n"),
		pool(t, "one", "  tags: {tier: gold, zone: eu}\n"),
		pool(t, "two", "  tags: {tier: gold}\n  capacity: 2\n"),
		pool(t, "big", "  weight: 4\n"),
		pool(t, "last", "  weight: 0\n"),
	)
	if err != nil {
		t.Fatal(err)
	}
	small := catalog.Needs{VMTypes: []string{"small"}, DiskTypes: []string{"small"}, Stemcells: []string{"ubuntu-jammy"}}
	rule := func(r catalog.PoolRule) pools.Wish { return pools.Wish{Plan: catalog.Plan{Pools: r}} }
	gold := map[string]string{"tier": "gold"}
	for _, test := range []struct {
		name, want string
		wish       pools.Wish
		use        map[string]pools.Use
	}{
		{"all are empty", "one two big last", pools.Wish{Plan: catalog.Plan{Needs: small}}, nil},
		{"a fixed pool", "two", rule(catalog.PoolRule{Names: []string{"two"}}), nil},
		{"order of preference", "two one", rule(catalog.PoolRule{Names: []string{"two", "one"}, Choose: catalog.InOrder}), map[string]pools.Use{"two": {Instances: 1}}},
		{"by tag", "one two", rule(catalog.PoolRule{Match: gold}), nil},
		{"by two tags", "one", rule(catalog.PoolRule{Match: map[string]string{"tier": "gold", "zone": "eu"}}), nil},
		{"names and tag", "two", rule(catalog.PoolRule{Names: []string{"two", "big"}, Match: gold}), nil},
		{"least used", "two one big last", rule(catalog.PoolRule{}), map[string]pools.Use{"one": {Instances: 1}, "two": {Instances: 0}, "big": {Instances: 5}}},
		{"weight", "big one last", rule(catalog.PoolRule{}), map[string]pools.Use{"one": {Instances: 2}, "two": {Instances: 2}, "big": {Instances: 7}}},
		{"spread", "two one", rule(catalog.PoolRule{Match: gold, Choose: catalog.Spread}),
			map[string]pools.Use{"one": {Instances: 1, OfPlan: 1}, "two": {Instances: 1}}},
		{"a breaker is open", "two one", rule(catalog.PoolRule{Match: gold}), map[string]pools.Use{"one": {Open: true}, "two": {Instances: 1}}},
		{"open, against the preference", "one two", rule(catalog.PoolRule{Names: []string{"two", "one"}, Choose: catalog.InOrder}), map[string]pools.Use{"two": {Open: true}}},
		{"all are open", "one two", rule(catalog.PoolRule{Match: gold}), map[string]pools.Use{"one": {Open: true}, "two": {Open: true}}},
		{"full", "one", rule(catalog.PoolRule{Match: gold}), map[string]pools.Use{"two": {Instances: 2}}},
		{"over full", "one", rule(catalog.PoolRule{Match: gold}), map[string]pools.Use{"two": {Instances: 3}}},
		{"tried", "two", pools.Wish{Plan: catalog.Plan{Pools: catalog.PoolRule{Match: gold}}, Not: []string{"one"}}, nil},
		{"has what it is made of", "two", pools.Wish{Plan: catalog.Plan{Pools: catalog.PoolRule{Match: gold}}, Ready: []string{"two", "big"}}, nil},
		{"none has what it is made of", "", pools.Wish{Ready: []string{}}, nil},
		{"an operator's word", "two", rule(catalog.PoolRule{Match: gold}), map[string]pools.Use{"one": {State: pools.Draining}}},
		{"against the file's", "closed", rule(catalog.PoolRule{Names: []string{"closed"}}), map[string]pools.Use{"closed": {State: pools.Active}}},
		{"asked for", "two", pools.Wish{Plan: catalog.Plan{Pools: catalog.PoolRule{Match: gold, Parameter: true}}, Named: "two"}, nil},
		{"asked for, but full", "", pools.Wish{Plan: catalog.Plan{Pools: catalog.PoolRule{Match: gold, Parameter: true}}, Named: "two"},
			map[string]pools.Use{"two": {Instances: 2}}},
		{"the last room is taken", "", pools.Wish{Plan: catalog.Plan{Pools: catalog.PoolRule{Names: []string{"two"}}}, Ahead: 2}, nil},
		{"one room is left", "two", pools.Wish{Plan: catalog.Plan{Pools: catalog.PoolRule{Names: []string{"two"}}}, Ahead: 1}, nil},
		{"cordoned", "", rule(catalog.PoolRule{Names: []string{"closed"}}), nil},
		{"no vm type", "", pools.Wish{Plan: catalog.Plan{Needs: catalog.Needs{VMTypes: []string{"huge"}}}}, nil},
		{"no disk type", "", pools.Wish{Plan: catalog.Plan{Needs: catalog.Needs{DiskTypes: []string{"huge"}}}}, nil},
		{"compiled for another stemcell", "", pools.Wish{Plan: catalog.Plan{Needs: catalog.Needs{Compiled: map[string]string{"ubuntu-jammy": "0.1"}}}}, nil},
		{"of another director", "", rule(catalog.PoolRule{Director: "https://elsewhere:25555"}), nil},
		{"no stemcell", "", pools.Wish{Plan: catalog.Plan{Needs: catalog.Needs{Stemcells: []string{"minix"}}}}, nil},
	} {
		fit, err := set.Candidates(test.wish, func(pool string) pools.Use { return test.use[pool] })
		if names(fit) != test.want || (test.want == "") != (serviceforge.CodeOf(err) == serviceforge.Exhausted) {
			t.Errorf("%s: got %q, %v, want %q", test.name, names(fit), err, test.want)
		}
	}
}

// Where the broker has to reach the VMs, pools that are not reachable take no
// instances, and whoever orders is told when that is so of all of them.
func TestPoolsOutOfReach(t *testing.T) {
	far, near := pool(t, "far", "  reachable: false\n"), pool(t, "near", "")
	set, err := pools.NewSet(far, near)
	if err != nil {
		t.Fatal(err)
	}
	unused := func(string) pools.Use { return pools.Use{} }
	plan := catalog.Plan{Name: "p", Needs: catalog.Needs{Reach: true}}
	if fit, err := set.Candidates(pools.Wish{Plan: plan}, unused); err != nil || names(fit) != "near" {
		t.Errorf("got %s, %v", names(fit), err)
	}
	if fit, err := set.Candidates(pools.Wish{Plan: catalog.Plan{}}, unused); err != nil || names(fit) != "far near" {
		t.Errorf("without users: got %s, %v", names(fit), err)
	}
	plan.Pools.Names = []string{"far"}
	_, err = set.Candidates(pools.Wish{Plan: plan}, unused)
	if serviceforge.CodeOf(err) != serviceforge.Exhausted || !strings.Contains(serviceforge.MessageOf(err), "none of its pools is reachable from the broker") {
		t.Errorf("got %v", err)
	}
}

// A plan whose server is this machine's goes to the local pool alone, and what
// is missing there is told to whoever orders.
func TestProgramsOfTheMachine(t *testing.T) {
	local, far := pool(t, "here", ""), pool(t, "far", "")
	local.Local = true
	set, err := pools.NewSet(far, local)
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "redis-server")
	wish := pools.Wish{Plan: catalog.Plan{Name: "p", Needs: catalog.Needs{Programs: map[string]string{program: "redis-server"}}}}
	unused := func(string) pools.Use { return pools.Use{} }
	_, err = set.Candidates(wish, unused)
	want := "no infrastructure pool can take plan p now: pool here has no " + program + ": install it on this machine with apt-get install redis-server"
	if serviceforge.CodeOf(err) != serviceforge.Exhausted || serviceforge.MessageOf(err) != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if refused := far.Refuses(wish.Plan); !strings.Contains(refused, "must bring it in its BOSH release") {
		t.Errorf("the far pool: %q", refused)
	}
	if err := os.WriteFile(program, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if fit, err := set.Candidates(wish, unused); names(fit) != "here" {
		t.Errorf("got %q, %v", names(fit), err)
	}
	wish.Plan.Needs.Programs = map[string]string{filepath.Join(filepath.Dir(program), "*", "postgres"): "postgresql"}
	if _, err := set.Candidates(wish, unused); err == nil || !strings.Contains(err.Error(), "apt-get install postgresql") {
		t.Errorf("nothing fits the pattern: %v", err)
	}
	if err := errors.Join(os.Mkdir(filepath.Join(filepath.Dir(program), "15"), 0o755), os.WriteFile(filepath.Join(filepath.Dir(program), "15", "postgres"), nil, 0o755)); err != nil {
		t.Fatal(err)
	}
	if fit, err := set.Candidates(wish, unused); names(fit) != "here" {
		t.Errorf("a file fits the pattern: got %q, %v", names(fit), err)
	}
}

func TestAPoolThatMayNotBeNamed(t *testing.T) {
	set, err := pools.NewSet(pool(t, "one", ""), pool(t, "two", ""))
	if err != nil {
		t.Fatal(err)
	}
	for name, wish := range map[string]pools.Wish{
		"unknown":        {Named: "three", Plan: catalog.Plan{Pools: catalog.PoolRule{Parameter: true}}},
		"another plan's": {Named: "two", Plan: catalog.Plan{Pools: catalog.PoolRule{Names: []string{"one"}, Parameter: true}}},
		"no parameter":   {Named: "two"},
	} {
		if _, err := set.Candidates(wish, func(string) pools.Use { return pools.Use{} }); serviceforge.CodeOf(err) != serviceforge.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := set.Pool("nope"); serviceforge.CodeOf(err) != serviceforge.NotFound {
		t.Errorf("got %v", err)
	}
	if _, err := pools.NewSet(pool(t, "a", ""), pool(t, "a", "")); err == nil {
		t.Error("two pools of one name were taken")
	}
}
