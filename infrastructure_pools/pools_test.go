package pools_test

import (
	"os"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge"
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
		{"ops that are no list", minimal + "ops: {type: remove}\n", "line 9: ops must be a list of operations"},
		{"an unknown operation", minimal + "ops:\n- {type: paint, path: /a}\n", "line 10: ops: Unknown operation [0] with type 'paint'"},
		{"no name", strings.Replace(minimal, "name: lab", "name: La B", 1), "name must be"},
		{"no azs", strings.Replace(minimal, "[z1]", "[]", 1), "azs is missing"},
		{"no network", strings.Replace(minimal, "network: default", "network: ''", 1), "network is missing"},
		{"latest", strings.Replace(minimal, `"1.506"`, `latest`, 1), "needs an exact version"},
		{"state", minimal + "  state: drunk\n", "state must be"},
		{"stub", minimal + "stub: 5\n", "stub must be a map"},
		{"in flight", minimal + "  max_in_flight: 0\n", "max_in_flight"},
		{"slot without a name", minimal + "  slots: [{stub: {}}]\n", "every slot needs a name"},
		{"slot twice", minimal + "  slots: [{name: a}, {name: a}]\n", "two slots are named a"},
		{"slot stub", minimal + "  slots: [{name: a, stub: 5}]\n", "slot a: line 9: stub must be a map"},
		{"two documents", minimal + "---\na: 1\n", "more than one document"},
	} {
		_, err := pools.Parse([]byte(test.document))
		if serviceforge.CodeOf(err) != serviceforge.Invalid || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %s", test.name, err, test.want)
		}
	}
}

func TestHowADirectorIsReached(t *testing.T) {
	for director, want := range map[string]string{
		"{url: https://d:25555, username: u, password: p}":                               "",
		"{url: https://d:25555, uaa: {client: c, client_secret: s}}":                     "",
		"{url: https://d, uaa: {url: https://u, ca: x, client: c, client_secret: s}}":    "",
		"{url: https://d, username: u, password: p, uaa: {client: c, client_secret: s}}": "either username and password or uaa, not both",
		"{url: https://d, password: p, uaa: {client: c, client_secret: s}}":              "not both",
		"{url: https://d, uaa: {client: c}}":                                             "uaa needs client and client_secret",
		"{url: https://d, uaa: {url: https://u}}":                                        "uaa needs client and client_secret",
		"{url: https://d, uaa: {client: c, client_secret: s, secret: x}}":                "field secret not found",
		"{url: https://d, username: u}":                                                  "username and password go together",
		"{username: u, password: p}":                                                     "url is missing",
	} {
		p, err := pools.Parse([]byte(minimal + "  director: " + director + "\n"))
		switch {
		case want != "" && (serviceforge.CodeOf(err) != serviceforge.Invalid || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: got %v, want %s", director, err, want)
		case want == "" && (err != nil || p.Director.URL == "" || (p.Director.Username == "") == (p.Director.UAA.Client == "")):
			t.Errorf("%s: %+v, %v", director, p.Director, err)
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

func TestSlotsAndCapacity(t *testing.T) {
	for _, test := range []struct {
		more, first string
		size        int
	}{
		{"", "", 0},
		{"  capacity: 3\n", "1", 3},
		{"  slots: [{name: 10.244.2.0, stub: {networks: []}}, {name: b}]\n", "10.244.2.0", 2},
		{"  slots: [{name: a}, {name: b}]\n  capacity: 1\n", "a", 1},
		{"  slots: [{name: a}]\n  capacity: 9\n", "a", 1},
	} {
		p := pool(t, "lab", test.more)
		if p.Size() != test.size || p.Limited() != (test.size > 0) || p.Limited() && p.Place(0) != test.first {
			t.Errorf("%q: %d, %v", test.more, p.Size(), p.Limited())
		}
	}
	p := pool(t, "lab", "  slots: [{name: a, stub: {networks: [x]}}]\n")
	if s, ok := p.Slot("a"); !ok || string(s.Stub) != "{networks: [x]}\n" {
		t.Errorf("got %q", s.Stub)
	}
	if _, ok := p.Slot(""); ok {
		t.Error("a slot without a name is found")
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
