package authoring_test

import (
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"

	"github.com/serviceforge/serviceforge"
	pools "github.com/serviceforge/serviceforge/infrastructure_pools"
	"github.com/serviceforge/serviceforge/releases"
	"github.com/serviceforge/serviceforge/releases/archive"
	"github.com/serviceforge/serviceforge/releases/authoring"
	"github.com/serviceforge/serviceforge/releases/validate"
	"github.com/serviceforge/serviceforge/spec/spiff"
)

func opened(t *testing.T, dir string) *archive.Opened {
	t.Helper()
	o, err := archive.Open(t.Context(), dir, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	})
	return o
}

func load(t *testing.T, files fs.FS) *releases.Release {
	t.Helper()
	r, err := releases.Load(files)
	if err != nil {
		t.Fatal(serviceforge.DetailOf(err))
	}
	return r
}

func parse(t *testing.T, text []byte) map[string]any {
	t.Helper()
	var v map[string]any
	if err := yaml.Unmarshal(text, &v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return v
}

// TestConvertedBlocksDeployTheSame converts the block of 2014 and compares what
// the result renders to with the golden v1 manifests: the same groups, sizes,
// jobs, disks and properties.
func TestConvertedBlocksDeployTheSame(t *testing.T) {
	files := opened(t, "../testdata/v1")
	r, s := load(t, files), spiff.New(t)
	network, err := os.ReadFile("../testdata/v1/pools/warden.yml")
	if err != nil {
		t.Fatal(err)
	}
	converted, err := authoring.Convert(t.Context(), s, r, files, network, map[string]string{"kv": "1"})
	if err != nil {
		t.Fatal(serviceforge.DetailOf(err))
	}
	today := fstest.MapFS{}
	for name, text := range converted.Files {
		today[name] = &fstest.MapFile{Data: text}
	}
	made := load(t, today)
	pool, err := pools.Local()
	if err != nil {
		t.Fatal(err)
	}
	pool.VMTypes = map[string]string{"small_z1": "small"}
	pool.Stemcells = map[string]string{"ubuntu-jammy": "1.0"}
	compared := 0
	for _, plan := range made.Plans() {
		in, err := made.Sample(plan, pool, nil)
		if err != nil {
			t.Fatal(err)
		}
		manifest, err := made.Manifest(t.Context(), s, in)
		if err != nil {
			t.Fatal(plan, serviceforge.DetailOf(err))
		}
		infrastructure := strings.TrimPrefix(strings.Split(plan, "/")[0], "kv-dedicated-")
		if infrastructure == "openstack" || infrastructure == "vsphere" {
			continue // other networks
		}
		golden, err := os.ReadFile("../testdata/v1/golden/" + infrastructure + "-" + strings.Split(plan, "/")[1] + ".yml")
		if err != nil {
			t.Fatal(err)
		}
		sameGroups(t, plan, parse(t, golden), parse(t, manifest))
		compared++
	}
	if compared != 6 {
		t.Errorf("compared %d", compared)
	}
	findings, err := validate.Release(t.Context(), s, made, today, nil)
	if err != nil || slices.ContainsFunc(findings, func(f validate.Finding) bool { return f.Level == "error" }) {
		t.Errorf("the converted release is not valid: %v, %v", findings, err)
	}
	if notes := strings.Join(converted.Notes, "\n"); !strings.Contains(notes, "static_ips are gone") || !strings.Contains(notes, "by links") {
		t.Errorf("notes: %s", notes)
	}
	if cloud := parse(t, converted.Files["cloud-config-kv-dedicated-aws-ec2.yml"]); len(cloud["networks"].([]any)) != 1 || len(cloud["vm_types"].([]any)) != 1 {
		t.Errorf("cloud config %v", cloud)
	}
	if aws := string(converted.Files["cloud-config-kv-dedicated-aws-ec2.yml"]); !strings.Contains(aws, "type: dynamic") {
		t.Errorf("a dynamic network took over the file of another pool:\n%s", aws)
	}
	if warden := string(converted.Files["cloud-config-kv-dedicated-warden.yml"]); strings.Contains(warden, "static:") || strings.Count(warden, "gateway: 10.244.2.") != 5 {
		t.Errorf("no director takes the network, or none of it is free for groups:\n%s", warden)
	}
}

func sameGroups(t *testing.T, plan string, v1, v2 map[string]any) {
	t.Helper()
	groups := v2["instance_groups"].([]any)
	for i, item := range v1["jobs"].([]any) {
		job, group := item.(map[string]any), groups[i].(map[string]any)
		for _, key := range []string{"name", "instances", "persistent_disk"} {
			if job[key] != group[key] {
				t.Errorf("%s: %s of %v is %v", plan, key, job["name"], group[key])
			}
		}
		templates, ok := job["template"].([]any)
		if !ok {
			templates = []any{job["template"]}
		}
		for n, template := range templates {
			made := group["jobs"].([]any)[n].(map[string]any)
			properties := map[string]any{"kv": v1["properties"].(map[string]any)["kv"], "role": job["properties"].(map[string]any)["role"]}
			if made["name"] != template || made["release"] != "kv" {
				t.Errorf("%s: job %v", plan, made)
			}
			if diff := cmp.Diff(properties, made["properties"]); diff != "" {
				t.Errorf("%s: properties (-v1 +v2):\n%s", plan, diff)
			}
		}
	}
}

func TestConvertRefusesWhatIsOfToday(t *testing.T) {
	files := opened(t, "../testdata/worked")
	if _, err := authoring.Convert(t.Context(), spiff.New(t), load(t, files), files, nil, nil); serviceforge.CodeOf(err) != serviceforge.Invalid {
		t.Errorf("got %v", err)
	}
	files = opened(t, "../testdata/v1")
	if _, err := authoring.Convert(t.Context(), spiff.New(t), load(t, files), files, nil, nil); err == nil || !strings.Contains(err.Error(), "--network") {
		t.Errorf("without a network: %v", err)
	}
}
