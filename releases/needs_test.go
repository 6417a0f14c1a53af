package releases_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/catalog"
	"github.com/serviceforge/serviceforge/releases"
)

// planOf loads the small service with more words and returns its plan.
func planOf(t *testing.T, changes ...string) catalog.Plan {
	t.Helper()
	r := load(t, small("a: 1", changes...))
	if err := r.Runnable(); err != nil {
		t.Fatal(err)
	}
	return r.Offerings()[0].Plans[0]
}

// What a service takes for granted of a director is the plan's need.
func TestWhatIsNeededOfADirector(t *testing.T) {
	for words, want := range map[string]catalog.DirectorNeeds{
		"requires_pool: {config_server: true}":                    {ConfigServer: true},
		"requires_pool: {local_dns: true, network: any}":          {LocalDNS: true},
		"requires_pool: {network: manual}":                        {ManualNetwork: true},
		"director_variables: [smtp_password]":                     {ConfigServer: true},
		"secrets: {x: {type: password, store: director}}":         {ConfigServer: true},
		"secrets: {x: {type: password}}\n  requires_pool: {}":     {},
		"director_variables: []\n  requires_pool: {network: any}": {},
	} {
		if got := planOf(t, "  parameters:", "  "+words+"\n  parameters:").Needs.Director; got != want {
			t.Errorf("%s: %+v", words, got)
		}
	}
	compiled := planOf(t, `{name: r, version: "1"}`, `{name: r, version: "1", exported_from: ubuntu-jammy/1.5}`)
	if got := compiled.Needs.Compiled; len(got) != 1 || got["ubuntu-jammy"] != "1.5" {
		t.Errorf("compiled for %v", got)
	}
}

// bosh_target of 2014 names a pool, or the URL of its director.
func TestBOSHTarget(t *testing.T) {
	if got := planOf(t, "  parameters:", "  bosh_target: lab\n  parameters:").Pools; !slices.Equal(got.Names, []string{"lab"}) || got.Director != "" {
		t.Errorf("%+v", got)
	}
	if got := planOf(t, "  parameters:", "  bosh_target: https://10.0.0.1:25555/\n  parameters:").Pools; got.Director != "https://10.0.0.1:25555" || got.Names != nil {
		t.Errorf("%+v", got)
	}
}

// quota and limits count instances of the plan by organization and space; of
// both the smaller one counts.
func TestLimitsOfAPlan(t *testing.T) {
	plan := planOf(t, "  - {id: p, ", "  - {quota: {organization: 5, broker: 9}, limits: {organization: 3, space: 2}, costs: {memory_mb: 4}, id: p, ")
	var limits []string
	for _, l := range plan.Limits {
		limits = append(limits, l.String())
	}
	if want := "plan:p/instances=9 organization/small_plan=3 space/small_plan=2"; strings.Join(limits, " ") != want {
		t.Errorf("limits %q, want %q", limits, want)
	}
	if plan.Costs["small_plan"] != 1 || plan.Costs["memory_mb"] != 4 || plan.Costs.Check() != nil {
		t.Errorf("costs %v", plan.Costs)
	}
	long := strings.Repeat("name-", 9)
	plan = planOf(t, "  - {id: p, name: plan", "  - {quota: {space: 1}, id: p, name: 1"+long)
	if err := serviceforge.CheckResource(plan.Limits[0].Resource); err != nil {
		t.Error(err)
	}
}

// Groups that a version calls otherwise are told to the director, but for the
// first manifest, and those that are still there.
func TestMigrations(t *testing.T) {
	template := "instance_groups:\n- {name: etcd}\n- {name: other}\n"
	r := load(t, small(template, "  parameters:", "  migrations: [{from: 1.0.0, to: 2.0.0, instance_groups: {etcd: [etcd_z1, other, leader_z1]}}]\n  parameters:"))
	in := smallInput(t, "")
	for first, want := range map[bool]bool{true: false, false: true} {
		in.First = first
		text, err := r.Manifest(t.Context(), renderer(t), in)
		if err != nil {
			t.Fatal(serviceforge.DetailOf(err))
		}
		if want != strings.Contains(string(text), `"migrated_from":`) || want != strings.Contains(string(text), `"name": "leader_z1"`) || strings.Count(string(text), `"other"`) != 1 {
			t.Errorf("first %v:\n%s", first, text)
		}
	}
}

// A secret that the director makes is a variable of the manifest, and no secret
// of the broker's.
func TestSecretsOfTheDirector(t *testing.T) {
	r := load(t, small("password: ((!db))\nother: (( sf.secrets.mine ))\n", "  parameters:",
		"  secrets: {db: {type: password, length: 20, store: director}, mine: {type: password}}\n  parameters:"))
	in := smallInput(t, "")
	in.Instance.Secrets = made(t, r, in)
	if strings.Contains(in.Instance.Secrets.Reveal(), `"db"`) {
		t.Error("the broker made a secret of the director's")
	}
	text, err := r.Manifest(t.Context(), renderer(t), in)
	if err != nil {
		t.Fatal(serviceforge.DetailOf(err))
	}
	for _, want := range []string{`"password": "((db))"`, "\"variables\":\n  - \"name\": \"db\"\n    \"options\":\n      \"length\": 20\n    \"type\": \"password\""} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the manifest lacks %s:\n%s", want, text)
		}
	}
	sample, err := r.Sample("p", localPool(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	if text, err = r.Offline(t.Context(), renderer(t), sample, true); err != nil || strings.Count(string(text), `"name": "db"`) != 1 || !strings.Contains(string(text), `"((mine))"`) {
		t.Errorf("for BOSH: %v\n%s", err, text)
	}
}

func TestWhatNeedsMayNotSay(t *testing.T) {
	for want, change := range map[string][2]string{
		"exported_from of r is the os/version": {`{name: r, version: "1"}`, `{name: r, version: "1", exported_from: minix/1}`},
		"is compiled for ubuntu-jammy/2":       {`{name: r, version: "1"}`, `{name: r, version: "1", exported_from: ubuntu-jammy/1}, {name: q, version: "1", exported_from: ubuntu-jammy/2}`},
		"exclude each other":                   {"  plans:\n  - {id: p, ", "  bosh_target: lab\n  plans:\n  - {pools: [x], id: p, "},
		`not for "planet"`:                     {"  - {id: p, ", "  - {quota: {planet: 1}, id: p, "},
		"ca must name a secret with is_ca, of the same store": {"  parameters:",
			"  secrets: {a: {type: certificate, is_ca: true, common_name: a}, b: {type: certificate, ca: a, common_name: b, store: director}}\n  parameters:"},
	} {
		if _, err := releases.Load(small("a: 1", change[0], change[1])); serviceforge.CodeOf(err) != serviceforge.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
