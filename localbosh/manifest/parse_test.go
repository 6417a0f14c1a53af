package manifest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/serviceforge/serviceforge/localbosh/bosherr"
	"github.com/serviceforge/serviceforge/localbosh/manifest"
)

// YAML is read as Ruby reads it.
func TestParseTree(t *testing.T) {
	got, err := manifest.ParseTree([]byte(`
a: &x {k: 1, l: [yes, Off, "yes", ~, null, '']}
b: {<<: *x, k: 2}
n: [0640, 0x1f, 1_000, 12:30:00, 1.50, .5, -3, 1e3, 1.2.3, 2026-01-01, "1.10", !!str 5, 1:30, y, -, .]
1: one
true: x
`))
	if err != nil {
		t.Fatal(err)
	}
	l := []any{true, false, "yes", nil, nil, ""}
	want := map[string]any{"a": map[string]any{"k": 1, "l": l}, "b": map[string]any{"k": 2, "l": l},
		"n": []any{416, 31, 1000, 45000, 1.5, .5, -3, "1e3", "1.2.3", "2026-01-01", "1.10", "5", 90, "y", "-", "."}, "1": "one", "true": "x"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	var bomb strings.Builder
	bomb.WriteString("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n")
	for i := '1'; i <= '9'; i++ {
		bomb.WriteString("a" + string(i) + ": &a" + string(i) + " [" + strings.Repeat("*a"+string(i-1)+",", 10) + "]\n")
	}
	if _, err := manifest.ParseTree([]byte(bomb.String())); !bosherr.Is(err, 440001) {
		t.Errorf("a bomb: %v", err)
	}
}

func TestV1Refusals(t *testing.T) {
	for key, want := range map[string]string{
		"compilation":    "Deployment manifest contains 'compilation' section, but this can only be set in a cloud-config.",
		"networks":       "Deployment 'networks' are no longer supported. Network definitions must now be provided in a cloud-config.",
		"jobs":           "Jobs are no longer supported, please use instance groups instead",
		"resource_pools": "resource_pools is no longer supported. You must now define resources in a cloud-config",
		"disk_pools":     "disk_pools is no longer supported. Disk definitions must now be provided as disk_types in a cloud-config",
	} {
		_, err := newWorld(t).plan(append(mustRead(t, "svc.yml"), "\n"+key+": []\n"...))
		if e := bosherr.Of(err); e == nil || e.Description != want {
			t.Errorf("%s: %v", key, err)
		}
	}
}

func TestUpdateBlock(t *testing.T) {
	text := deployment(group("a", 1, "z1", "{name: default}", ""), group("b", 1, "z1", "{name: default}", ", update: {serial: false, max_in_flight: 3, canary_watch_time: 5}"))
	p, err := smallWorld(t).plan([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	a, b := p.Groups[0].Update, p.Groups[1].Update
	want := manifest.Update{Canaries: manifest.Count{N: 1}, MaxInFlight: manifest.Count{N: 50, Percent: true}, Serial: true, VMStrategy: "delete-create",
		CanaryWatch: manifest.WatchTime{Min: time.Second, Max: 2 * time.Second}, UpdateWatch: manifest.WatchTime{Min: 3 * time.Second, Max: 3 * time.Second}}
	if diff := cmp.Diff(want, a); diff != "" {
		t.Error(diff)
	}
	want.Serial, want.MaxInFlight, want.CanaryWatch = false, manifest.Count{N: 3}, manifest.WatchTime{Min: 5 * time.Millisecond, Max: 5 * time.Millisecond}
	if diff := cmp.Diff(want, b); diff != "" {
		t.Error(diff)
	}
	for n, want := range map[int]int{1: 1, 3: 1, 4: 2, 5: 2} {
		if got := a.MaxInFlight.Of(n, 1); got != want {
			t.Errorf("50%% of %d is %d, want %d", n, got, want)
		}
	}
	for from, to := range map[string]string{"1000-2000": "soon", "update_watch_time: 3000": "update_watch_time: 9-3"} {
		if _, err := smallWorld(t).plan([]byte(strings.Replace(text, from, to, 1))); !bosherr.Is(err, 180001) {
			t.Errorf("%s: %v", to, err)
		}
	}
}

func TestVersions(t *testing.T) {
	var releases []*manifest.Release
	for _, v := range []string{"1.10.0", "1.9.0", "2.0.0-rc.1", "1.10.0+dev.2"} {
		releases = append(releases, &manifest.Release{Name: "r", Version: v})
	}
	for want, version := range map[string]string{"2.0.0-rc.1": "latest", "1.9.0": "1.9.0", "1.10.0+dev.2": "1.latest"} {
		if r, err := manifest.FindRelease(releases, "r", version); err != nil || r.Version != want {
			t.Errorf("%s is %v, %v", version, r, err)
		}
	}
	if _, err := manifest.FindRelease(releases, "r", "3"); err == nil || err.Code != 30006 {
		t.Error(err)
	}
	if _, err := manifest.FindRelease(releases, "s", "latest"); err == nil || err.Code != 30005 || err.Description != "Release 's' doesn't exist" {
		t.Error(err)
	}
}

func TestCloudConfigRefusals(t *testing.T) {
	for _, tc := range []struct {
		from, to string
		code     int
		want     string
	}{
		{"range: 127.1.0.0/28", "range: 127.1.0.0/99", 160010, "Invalid IP or CIDR format: 127.1.0.0/99"},
		{"range: 127.1.0.0/28", "range: 127.2.0.0/24", 160003, "Invalid gateway for network 'default': must be inside the range"},
		{"gateway: 127.1.0.1,", "", 40001, `Required property 'gateway' was not specified in object ({"azs"=>["z1"], "range"=>"127.1.0.0/28", "reserved"=>["127.1.0.2 - 127.1.0.4"], "static"=>["127.1.0.10", "127.1.0.11"]})`},
		{"gateway: 127.1.0.1,", "gateway: 127.1.0.15,", 160003, "Invalid gateway for network 'default': can't be the broadcast IP"},
		{"range: 127.2.0.0/28, gateway: 127.2.0.1", "range: 127.1.0.8/29, gateway: 127.1.0.9", 160006, "Static IP '127.2.0.8' is out of network 'default' range"},
		{"range: 127.1.0.0/28", "range: 127.0.0.0/8", 160001, "Network 'default' has overlapping subnets"},
		{"127.1.0.2 - 127.1.0.4", "127.1.0.2 - 127.1.0.44", 160005, "Reserved IP '127.1.0.44' is out of network 'default' range"},
		{"127.1.0.10, ", "127.1.0.3, ", 160006, "Static IP '127.1.0.3' is in network 'default' reserved range"},
		{"{name: z2}, ", "{name: z1}, ", 190017, "Duplicate az name 'z1'"},
		{"azs: [z1], reserved", "az: z1, azs: [z1], reserved", 160008, "Network 'default' contains both 'az' and 'azs'. Choose one."},
		{"azs: [z1], reserved", "reserved", 140016, "Subnets on network 'default' must all either specify availability zone or not"},
		{"type: dynamic", "type: magic", 190010, "Invalid network type 'magic'"},
		{"name: other", "name: DEFAULT", 190007, "Invalid network name 'DEFAULT', canonical name already taken"},
		{"{name: small}]", "{name: small}, {name: small}]", 190004, "Duplicate vm type name 'small'"},
		{"network: default, az: z1", "network: nope, az: z1", 120001, "Compilation config references an unknown network 'nope'"},
		{"az: z1, vm_type", "az: z9, vm_type", 120002, "Compilation config references unknown az 'z9'. Known azs are: [z1, z2, z3]"},
		{"vm_type: small}", "vm_type: big}", 120003, "Compilation config references unknown vm type 'big'. Known vm types are: small"},
		{"workers: 1", "workers: 0", 40002, "'workers' value (0) should be greater than 1"},
		{"disk_size: 10", "disk_size: big", 40000, `Property 'disk_size' value ("big") did not match the required type 'Integer'`},
		{"azs: [{name: z1}, {name: z2}, {name: z3}]", "azs: nonsense", 40000, `Property 'azs' value ("nonsense") did not match the required type 'Array'`},
	} {
		if !strings.Contains(smallCloud, tc.from) {
			t.Fatalf("no %q", tc.from)
		}
		_, err := manifest.ParseCloudConfig([]byte(strings.Replace(smallCloud, tc.from, tc.to, 1)))
		wantError(t, err, tc.code, tc.want)
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"svc.yml", "svc-vars.yml", "svc-static.yml", "bad-yaml.yml", "bad-noupdate.yml"} {
		f.Add(mustRead(f, name))
	}
	f.Add([]byte(deployment(group("g", 2, "z1, z2", "{name: default, static_ips: [10.244.0.1-10.244.0.3]}", ", migrated_from: [{name: x, az: z1}]"))))
	w := newWorld(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		tree, err := manifest.ParseTree(text)
		if err != nil {
			return
		}
		m, err := manifest.Parse(tree, w.cloud, w.catalog.Releases)
		if err != nil || total(m) > 500 {
			return
		}
		p, err := manifest.Resolve(manifest.Request{Manifest: m, Cloud: w.cloud, Catalog: w.catalog, NewID: func() string { return "id" }})
		if err == nil {
			_ = p.Bind("d", nil)
		}
	})
}

func total(m *manifest.Manifest) (n int) {
	for _, g := range m.InstanceGroups {
		n += g.Count
	}
	return n
}

func FuzzParseCloudConfig(f *testing.F) {
	f.Add([]byte(smallCloud))
	for _, name := range []string{"cloud-config.yml", "cloud-config-bad.yml", "cloud-config-static.yml"} {
		f.Add(mustRead(f, name))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if c, err := manifest.ParseCloudConfig(text); (c == nil) == (err == nil) {
			t.Errorf("%v, %v", c, err)
		}
	})
}

func FuzzParseJobSpec(f *testing.F) {
	for _, name := range []string{"flaky", "smoke-tests", "standalone"} {
		f.Add(mustRead(f, "jobs/"+name+".MF"))
	}
	f.Add([]byte("name: a\nprovides: [{name: x, type: y, properties: [a.b]}]\nconsumes: [{name: x, type: y, optional: true}]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if j, err := manifest.ParseJobSpec(text); err == nil && j.Name == "" && !strings.Contains(string(text), "name") {
			t.Error("a job without a name")
		}
	})
}
