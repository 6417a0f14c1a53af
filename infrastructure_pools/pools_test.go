package pools_test

import (
	"os"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/catalog"
	pools "github.com/serviceforge/serviceforge/infrastructure_pools"
)

const minimal = `
pool:
  name: lab
  azs: [z1]
  network: default
  vm_types: {small: tiny}
  disk_types: {small: 1GB}
  stemcells: {ubuntu-jammy: "1.506"}
`

func TestFilesParse(t *testing.T) {
	for _, name := range []string{"local.yml", "warden.yml", "aws.yml"} {
		document, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		p, err := pools.Parse(document)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if want := strings.TrimSuffix(name, ".yml"); p.Name != want || p.State != pools.Active || !p.Reachable {
			t.Errorf("%s: got %+v", name, p)
		}
	}
	p, err := pools.Local()
	if err != nil || !strings.Contains(string(p.Stub), "election_timeout: 300") || p.Director.URL != "" {
		t.Errorf("local: %+v, %v", p, err)
	}
}

func TestDefaults(t *testing.T) {
	p, err := pools.Parse([]byte(minimal))
	if err != nil {
		t.Fatal(err)
	}
	if p.Infrastructure != "default" || p.MaxInFlight != 2 || p.Weight != 1 || p.Stub != nil || !p.Reachable {
		t.Errorf("got %+v", p)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, test := range []struct{ name, document, want string }{
		{"empty", "", "it is empty"},
		{"unknown key", minimal + "  colour: red\n", "line 9: field colour not found"},
		{"unknown root", minimal + "slots: []\n", "field slots not found"},
		{"no name", strings.Replace(minimal, "name: lab", "name: La B", 1), "name must be"},
		{"no azs", strings.Replace(minimal, "[z1]", "[]", 1), "azs is missing"},
		{"no network", strings.Replace(minimal, "network: default", "network: ''", 1), "network is missing"},
		{"latest", strings.Replace(minimal, `"1.506"`, `latest`, 1), "needs an exact version"},
		{"state", minimal + "  state: drunk\n", "state must be"},
		{"stub", minimal + "stub: 5\n", "stub must be a map"},
		{"in flight", minimal + "  max_in_flight: 0\n", "max_in_flight"},
		{"two documents", minimal + "---\na: 1\n", "more than one document"},
	} {
		_, err := pools.Parse([]byte(test.document))
		if serviceforge.CodeOf(err) != serviceforge.Invalid || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %s", test.name, err, test.want)
		}
	}
}

func TestErrorsKeepSecrets(t *testing.T) {
	_, err := pools.Parse([]byte(minimal + "  director: {password: [s3cr3t]}\n  max_in_flight: s3cr3t\n"))
	if err == nil || strings.Contains(err.Error(), "s3cr3t") {
		t.Errorf("got %v", err)
	}
}

func pool(t *testing.T, name, more string) pools.Pool {
	t.Helper()
	p, err := pools.Parse([]byte(strings.Replace(minimal, "lab", name, 1) + more))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPlace(t *testing.T) {
	set, err := pools.NewSet(
		pool(t, "closed", "  state: cordoned\n"),
		pool(t, "one", ""),
		pool(t, "two", ""),
	)
	if err != nil {
		t.Fatal(err)
	}
	small := catalog.Needs{VMTypes: []string{"small"}, DiskTypes: []string{"small"}, Stemcells: []string{"ubuntu-jammy"}}
	for _, test := range []struct {
		name, want string
		plan       catalog.Plan
	}{
		{"first active", "one", catalog.Plan{Needs: small}},
		{"the plan's pool", "two", catalog.Plan{Needs: small, Pools: []string{"two"}}},
		{"cordoned", "", catalog.Plan{Pools: []string{"closed"}}},
		{"no vm type", "", catalog.Plan{Needs: catalog.Needs{VMTypes: []string{"huge"}}}},
		{"no disk type", "", catalog.Plan{Needs: catalog.Needs{DiskTypes: []string{"huge"}}}},
		{"no stemcell", "", catalog.Plan{Needs: catalog.Needs{Stemcells: []string{"minix"}}}},
	} {
		p, err := set.Place(test.plan)
		if p.Name != test.want || (test.want == "") != (serviceforge.CodeOf(err) == serviceforge.Exhausted) {
			t.Errorf("%s: got %q, %v", test.name, p.Name, err)
		}
	}
	if _, err := set.Pool("nope"); serviceforge.CodeOf(err) != serviceforge.NotFound {
		t.Errorf("got %v", err)
	}
	if _, err := pools.NewSet(pool(t, "a", ""), pool(t, "a", "")); err == nil {
		t.Error("two pools of one name were taken")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(minimal))
	f.Add([]byte("pool: {name: a, stub: &a [*a]}"))
	f.Fuzz(func(t *testing.T, document []byte) {
		p, err := pools.Parse(document)
		if err != nil && serviceforge.CodeOf(err) != serviceforge.Invalid {
			t.Errorf("got %v", err)
		}
		if err == nil && p.Name == "" {
			t.Error("a pool without a name was taken")
		}
	})
}
