package releases_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/releases"
	"github.com/serviceforge/serviceforge/releases/deployed"
)

func parse(t *testing.T, text []byte) map[string]any {
	t.Helper()
	var v map[string]any
	if err := yaml.Unmarshal(text, &v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return v
}

func TestGolden(t *testing.T) {
	r, s := load(t, releases.Etcd()), renderer(t)
	for name, plan := range map[string]string{"1-server": oneServer, "3-servers": threeServer, "5-servers": fiveServer} {
		got, err := r.Manifest(limited(t), s, etcdInput(t, plan))
		if err != nil {
			t.Fatal(serviceforge.DetailOf(err))
		}
		golden(t, filepath.Join("testdata", "golden", name+".yml"), got)
	}
}

// golden compares as typed documents: "1" is not 1. UPDATE_GOLDEN=1 writes.
func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(parse(t, want), parse(t, got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func TestManifestIsRepeatableAndStamped(t *testing.T) {
	r, s, in := load(t, releases.Etcd()), renderer(t), etcdInput(t, threeServer)
	in.Instance.ID = "a b=c\u2028é"
	first, err := r.Manifest(limited(t), s, in)
	if err != nil {
		t.Fatal(serviceforge.DetailOf(err))
	}
	second, err := r.Manifest(limited(t), s, in)
	if err != nil || !bytes.Equal(first, second) {
		t.Errorf("two renders differ, %v", err)
	}
	stamp, ok := deployed.StampOf(first)
	if want := (deployed.Stamp{Broker: "b1", Instance: "a b=c\u2028é", Operation: "op1"}); !ok || stamp != want {
		t.Errorf("got %+v, %v", stamp, ok)
	}
	line, rest, _ := strings.Cut(string(first), "\n")
	if !strings.HasPrefix(line, "# serviceforge broker=b1 instance=") || strings.ContainsFunc(line, func(r rune) bool { return r > 0x7e }) {
		t.Errorf("first line %q", line)
	}
	if strings.Contains(rest, "# ") {
		t.Error("a second comment")
	}
}

func TestStampOfStrangers(t *testing.T) {
	for _, text := range []string{"", "name: x", "# serviceforge", "# serviceforge broker=a instance=b", "# serviceforge broker=%zz instance=a operation=c",
		"# serviceforge instance=a broker=b operation=c", "\n# serviceforge broker=a instance=b operation=c"} {
		if _, ok := deployed.StampOf([]byte(text)); ok {
			t.Errorf("%q is not a stamp", text)
		}
	}
}

func TestFirstDeployIsFastLaterOnesAreCareful(t *testing.T) {
	r, s, in := load(t, releases.Etcd()), renderer(t), etcdInput(t, threeServer)
	for first, want := range map[bool]map[string]any{
		true:  {"canaries": 0, "max_in_flight": "100%", "serial": false, "canary_watch_time": "10-60000", "update_watch_time": "10-60000"},
		false: {"canaries": 1, "max_in_flight": 1, "serial": true, "canary_watch_time": "1000-60000", "update_watch_time": "1000-60000"},
	} {
		in.First = first
		m, err := r.Manifest(limited(t), s, in)
		if err != nil {
			t.Fatal(serviceforge.DetailOf(err))
		}
		if diff := cmp.Diff(any(want), parse(t, m)["update"]); diff != "" {
			t.Errorf("first=%v (-want +got):\n%s", first, diff)
		}
	}
}

func TestPoolStubVersionsAndParameters(t *testing.T) {
	r, in := load(t, releases.Etcd()), etcdInput(t, oneServer)
	in.Pool.Stub = nil
	in.Versions = map[string]string{"etcd-service": "1.0.0+dev.7"}
	in.Instance.Parameters = serviceforge.NewSecret(`{"prefix":"/mine"}`)
	m, err := r.Manifest(limited(t), renderer(t), in)
	if err != nil {
		t.Fatal(serviceforge.DetailOf(err))
	}
	tree := parse(t, m)
	properties := tree["instance_groups"].([]any)[0].(map[string]any)["jobs"].([]any)[1].(map[string]any)["properties"].(map[string]any)
	if properties["heartbeat_interval"] != 100 || properties["election_timeout"] != 1000 || properties["prefix"] != "/mine" {
		t.Errorf("got %v", properties)
	}
	if v := tree["releases"].([]any)[1].(map[string]any)["version"]; v != "1.0.0+dev.7" {
		t.Errorf("got version %v", v)
	}
}

func TestStringsStayStrings(t *testing.T) {
	in := smallInput(t, `{"word":"12:30:00"}`)
	m, err := load(t, small("a: (( sf.params.word ))\nb: [\"yes\", \"0640\", \"1.10\", \"\", \"ä\\t\"]\nc: (( 1.0 * 2 ))\nd: (( sf.params.count ))\ne: ~")).
		Manifest(limited(t), renderer(t), in)
	if err != nil {
		t.Fatal(serviceforge.DetailOf(err))
	}
	for _, want := range []string{`"a": "12:30:00"`, `- "yes"`, `- "0640"`, `- "1.10"`, `- ""`, `- "ä\t"`, `"c": 2.0`, `"d": 1`, `"e": null`} {
		if !strings.Contains(string(m), want+"\n") {
			t.Errorf("no %s in\n%s", want, m)
		}
	}
}

func TestInputsAreData(t *testing.T) {
	r, s := load(t, small("a: (( sf.params.word ))")), renderer(t)
	for _, word := range []string{`((/x))`, `(( 1 + 1 ))`, `a((x))b`, `((!x))`} {
		_, err := r.Manifest(limited(t), s, smallInput(t, `{"word":"`+word+`"}`))
		if serviceforge.CodeOf(err) != serviceforge.Invalid || !strings.Contains(err.Error(), `parameter word: "((" is not allowed`) {
			t.Errorf("%s: got %v", word, err)
		}
	}
	in := smallInput(t, "")
	in.Instance.SpaceGUID = "((/x))"
	if _, err := r.Manifest(limited(t), s, in); serviceforge.CodeOf(err) != serviceforge.Invalid {
		t.Errorf("space: got %v", err)
	}
	in = smallInput(t, "")
	in.Instance.Deployment = "a b"
	if _, err := r.Manifest(limited(t), s, in); serviceforge.CodeOf(err) != serviceforge.Invalid {
		t.Errorf("deployment: got %v", err)
	}
}

func TestReferencesMustBeDeclared(t *testing.T) {
	for _, test := range []struct {
		name, template, word string
		fine, spiff          bool // spiff: Spiff itself refuses it
	}{
		{"put together by the template", `a: (( "(" sf.params.word ))`, "(/victim/pw))", false, true},
		{"in a longer text", `a: (( "x(" sf.params.word ))`, "(y))z", false, false},
		{"undeclared", `a: ((!pw))`, "w", false, false},
		{"in a key", `"x((y)) z": 1`, "w", false, false},
		{"declared", "a: ((!pw))\nvariables: [{name: pw, type: password}]", "w", true, false},
		{"a part of a declared one", "a: ((!pw.ca))\nvariables: [{name: pw, type: certificate}]", "w", true, false},
		{"declared, but within a text", "a: (( \"x((\" \"pw))\" ))\nvariables: [{name: pw, type: password}]", "w", false, false},
		{"within a text, as the template has it", "a: \"x((pw))y\"\nvariables: [{name: pw, type: password}]", "w", true, false},
		{"known elsewhere, but put together", "a: ((!pw))\nb: (( \"x(\" sf.params.word ))\nvariables: [{name: pw, type: password}]", "(pw))", false, false},
	} {
		_, err := load(t, small(test.template)).Manifest(limited(t), renderer(t), smallInput(t, `{"word":"`+test.word+`"}`))
		refused := serviceforge.CodeOf(err) == serviceforge.Unprocessable || test.spiff && serviceforge.CodeOf(err) == serviceforge.Internal
		if test.fine != (err == nil) || !test.fine && !refused {
			t.Errorf("%s: got %v", test.name, serviceforge.DetailOf(orNone(err)))
		}
	}
}

func orNone(err error) error {
	if err == nil {
		return serviceforge.Errorf(serviceforge.Internal, "no error")
	}
	return err
}

func TestManifestRefuses(t *testing.T) {
	s := renderer(t)
	for name, test := range map[string]struct {
		want   serviceforge.Code
		change func(in *releases.Input)
	}{
		"other service": {serviceforge.Invalid, func(in *releases.Input) { in.Instance.ServiceID = "x" }},
		"other plan":    {serviceforge.Invalid, func(in *releases.Input) { in.Instance.PlanID = "x" }},
		"no stemcell":   {serviceforge.Unprocessable, func(in *releases.Input) { in.Pool.Stemcells = nil }},
		"parameters":    {serviceforge.Invalid, func(in *releases.Input) { in.Instance.Parameters = serviceforge.NewSecret(`{"x":1}`) }},
	} {
		in := smallInput(t, "")
		test.change(&in)
		if _, err := load(t, small("a: 1")).Manifest(limited(t), s, in); serviceforge.CodeOf(err) != test.want {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := load(t, small("name: other")).Manifest(limited(t), s, smallInput(t, "")); serviceforge.CodeOf(err) != serviceforge.Internal {
		t.Errorf("another name: got %v", err)
	}
	if _, err := load(t, small("- a")).Manifest(limited(t), s, smallInput(t, "")); serviceforge.CodeOf(err) != serviceforge.Internal {
		t.Errorf("a list: got %v", err)
	}
}
