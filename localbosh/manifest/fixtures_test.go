package manifest_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge/localbosh/bosherr"
	"github.com/serviceforge/serviceforge/localbosh/manifest"
)

func mustRead(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// tinyService is the release of the recordings.
func tinyService(t testing.TB) *manifest.Release {
	t.Helper()
	r := &manifest.Release{Name: "tiny-service", Version: "1.0.0", Packages: []*manifest.Package{{Name: "tiny", Fingerprint: "a4c7", Source: true}}}
	for _, name := range []string{"flaky", "smoke-tests", "standalone"} {
		j, err := manifest.ParseJobSpec(mustRead(t, "jobs/"+name+".MF"))
		if err != nil {
			t.Fatal(err)
		}
		j.Fingerprint = "fp-" + name
		r.Jobs = append(r.Jobs, j)
	}
	return r
}

var stemcells = []manifest.Stemcell{{Name: "dummy", OS: "ubuntu-jammy", Version: "1.506"}, {Name: "dummy", OS: "ubuntu-jammy", Version: "1.571"}}

func mustCloud(t testing.TB, name string) *manifest.CloudConfig {
	t.Helper()
	c, err := manifest.ParseCloudConfig(mustRead(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// world is a director's state between deploys, in one test.
type world struct {
	t        testing.TB
	cloud    *manifest.CloudConfig
	catalog  manifest.Catalog
	previous []manifest.Instance
	taken    []manifest.TakenIP
	lookup   manifest.Lookup
	ids      int
}

func newWorld(t testing.TB) *world {
	return &world{t: t, cloud: mustCloud(t, "cloud-config.yml"), catalog: manifest.Catalog{Releases: []*manifest.Release{tinyService(t)}, Stemcells: stemcells}}
}

func (w *world) plan(text []byte) (*manifest.Plan, error) {
	tree, err := manifest.ParseTree(text)
	if err != nil {
		return nil, err
	}
	name, _ := tree["name"].(string)
	tree, err = manifest.InterpolateManifest(tree, "LabDirector", name, w.lookup)
	if err != nil {
		return nil, err
	}
	m, err := manifest.Parse(tree, w.cloud, w.catalog.Releases)
	if err != nil {
		return nil, err
	}
	p, err := manifest.Resolve(manifest.Request{Manifest: m, Cloud: w.cloud, Catalog: w.catalog, Previous: w.previous, Taken: w.taken,
		DynamicRange: netip.MustParsePrefix("127.9.0.0/24"),
		NewID:        func() string { w.ids++; return fmt.Sprintf("id-%d", w.ids) }})
	if err != nil {
		return p, err
	}
	return p, p.Bind("LabDirector", w.lookup)
}

// deploy plans and takes the result over as the state of the next deploy.
func (w *world) deploy(text string) *manifest.Plan {
	w.t.Helper()
	p, err := w.plan([]byte(text))
	if err != nil {
		w.t.Fatal(err)
	}
	w.previous = nil
	for _, g := range p.Groups {
		for _, i := range g.Instances {
			i.HasDisk = g.Disk != nil
			w.previous = append(w.previous, i.Instance)
		}
	}
	return p
}

func wantError(t *testing.T, err error, code int, text string) {
	t.Helper()
	if e := bosherr.Of(err); e == nil || e.Code != code || e.Description != text {
		t.Errorf("got %d %q\nwant %d %q", codeOf(e), e, code, text)
	}
}

func codeOf(e *bosherr.Error) int {
	if e == nil {
		return 0
	}
	return e.Code
}

// The words are those of the recordings' steps 300-* and 043c, but for bad-az, which was not recorded.
func TestRecordedRefusals(t *testing.T) {
	for _, tc := range []struct {
		file, cloud string
		code        int
		text        string
	}{
		{"bad-disktype.yml", "", 140012, "Instance group 'standalone' references an unknown disk type 'nope'"},
		{"bad-job.yml", "", 140029, "Job 'nope' not found in release 'tiny-service'"},
		{"bad-network.yml", "", 150001, "Instance group 'standalone' references an unknown network 'nope'"},
		{"bad-release.yml", "", 30006, "Release version 'tiny-service/9.9.9' doesn't exist"},
		{"bad-releasename.yml", "", 140002, "Job 'standalone' (instance group 'standalone') references an unknown release 'tiny-service'"},
		{"bad-stemcell.yml", "", 50003, "Stemcell version '1.506' for OS 'no-such-os' doesn't exist"},
		{"bad-vmtype.yml", "", 140004, "Instance group 'standalone' references an unknown vm type 'no-such-type'"},
		{"bad-notahash.yml", "", 440001, "Manifest should be a hash"},
		{"bad-az.yml", "", 150006, "Instance group 'standalone' must specify availability zone that matches availability zones of network 'default'"},
		{"svc-static.yml", "", 150002, "Instance group 'standalone' with network 'default' declares static ip '10.244.0.77/32', which belongs to no subnet"},
		{"svc-missingvar.yml", "", 100, "Unable to render instance groups for deployment. Errors are:\n" +
			"  - Unable to render jobs for instance group 'standalone'. Errors are:\n" +
			"    - Unable to render templates for job 'standalone'. Errors are:\n" +
			"      Failed to fetch variable '/no/such/variable' from config server: Director is not configured with a config server\n" +
			"  - Unable to render jobs for instance group 'smoke-tests'. Errors are:\n" +
			"    - Unable to interpolate link 'tiny' properties; provided by 'svc-novar' deployment. Errors are:\n" +
			"      Failed to fetch variable '/no/such/variable' from config server: Director is not configured with a config server"},
		{"bad-noupdate.yml", "", 40001, `Required property 'update' was not specified in object ({"instance_groups"=>[{"azs"=>["z1"], "instances"=>1, ` +
			`"jobs"=>[{"name"=>"standalone", "properties"=>{"password"=>"s3cret", "port"=>6379}, "release"=>"tiny-service"}], "name"=>"standalone", ` +
			`"networks"=>[{"name"=>"default"}], "persistent_disk_type"=>"small", "stemcell"=>"default", "vm_type"=>"small"}, {"azs"=>["z1"], "instances"=>1, ` +
			`"jobs"=>[{"name"=>"smoke-tests", "properties"=>{}, "release"=>"tiny-service"}], "lifecycle"=>"errand", "name"=>"smoke-tests", ` +
			`"networks"=>[{"name"=>"default"}], "stemcell"=>"default", "vm_type"=>"small"}], "name"=>"svc-bad", ` +
			`"releases"=>[{"name"=>"tiny-service", "version"=>"latest"}], "stemcells"=>[{"alias"=>"default", "os"=>"ubuntu-jammy", "version"=>"1.506"}], ` +
			`"tags"=>{"instance-id"=>"abc-123"}})`},
	} {
		t.Run(tc.file, func(t *testing.T) {
			_, err := newWorld(t).plan(mustRead(t, tc.file))
			wantError(t, err, tc.code, tc.text)
		})
	}
	_, err := manifest.ParseCloudConfig(mustRead(t, "cloud-config-bad.yml"))
	wantError(t, err, 160007, "Network 'default' refers to an unknown availability zone 'z7'")
	_, err = manifest.ParseCloudConfig(nil)
	wantError(t, err, 40001, "Required property 'networks' was not specified in object ({})")
	_, err = manifest.ParseTree([]byte("\n# nothing\n"))
	wantError(t, err, 440001, "Manifest should not be empty")
	if _, err = manifest.ParseTree(mustRead(t, "bad-yaml.yml")); !bosherr.Is(err, 440001) {
		t.Errorf("broken YAML: %v", err)
	}
}

// Step 810: addresses run out; those given so far stay with the deployment.
func TestTooManyInstances(t *testing.T) {
	p, err := newWorld(t).plan(mustRead(t, "svc-toomany.yml"))
	e := bosherr.Of(err)
	if e == nil || e.Code != 130011 || !strings.HasPrefix(e.Description, "Failed to reserve IP for 'standalone/id-") ||
		!strings.HasSuffix(e.Description, "(245)' for manual network 'default': no more available") {
		t.Fatalf("got %v", err)
	}
	// 10.244.0.10 to .254 without network id, gateway, broadcast and the eight reserved ones.
	if got := len(p.Groups[0].Instances); got != 245 {
		t.Errorf("%d instances keep addresses, want 245", got)
	}
}

func TestLifeOfADeployment(t *testing.T) {
	w := newWorld(t)
	svc := string(mustRead(t, "svc.yml"))
	first := w.deploy(svc).Groups[0].Instances[0]
	if first.Name() != "standalone/id-1" || first.Index != 0 || first.AZ != "z1" || !first.Bootstrap || first.IPs()[0] != "10.244.0.10" || first.Change() != manifest.Create {
		t.Fatalf("first deploy: %+v, %v", first.Instance, first.Change())
	}
	for _, tc := range []struct {
		name, from, to string
		want           manifest.Change
	}{
		{"the same again", "", "", manifest.Unchanged},
		{"a password", "password: s3cret", "password: other", manifest.ApplyUpdate},
		{"a tag", "instance-id: abc-123", "instance-id: abc-124", manifest.ApplyUpdate},
		{"the update block", "canaries: 1", "canaries: 0", manifest.Unchanged},
		{"an undeclared property", "port: 6379", "port: 6379, nobody_asked: 1", manifest.Unchanged},
		{"a bigger disk", "persistent_disk_type: small", "persistent_disk_type: medium", manifest.ApplyUpdate},
		{"the vm type", "vm_type: small\n  stemcell: default\n  persistent", "vm_type: medium\n  stemcell: default\n  persistent", manifest.Recreate},
		{"the stemcell", `"1.506"`, `"1.571"`, manifest.Recreate},
		{"unknown keys", "tags:", "director_uuid: nonsense\nmeta: {a: 1}\ntags:", manifest.Unchanged},
	} {
		if tc.from != "" && !strings.Contains(svc, tc.from) {
			t.Fatalf("%s: fixture has no %q", tc.name, tc.from)
		}
		p, err := w.plan([]byte(strings.Replace(svc, tc.from, tc.to, 1)))
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		i := p.Groups[0].Instances[0]
		if i.Change() != tc.want || i.ID != first.ID || i.IPs()[0] != "10.244.0.10" {
			t.Errorf("%s: change %v, want %v; %+v", tc.name, i.Change(), tc.want, i.Instance)
		}
	}
	p := w.deploy(string(mustRead(t, "svc-2nodes.yml")))
	if got := names(p); got != "standalone/id-1(0)z1@10.244.0.10* standalone/id-3(1)z1@10.244.0.11 smoke-tests/id-2(0)z1@*" {
		t.Errorf("scaled out: %s", got)
	}
	p = w.deploy(svc)
	if len(p.Obsolete) != 1 || p.Obsolete[0].ID != "id-3" {
		t.Errorf("scaled in: obsolete %+v", p.Obsolete)
	}
}

// names writes the instances of a plan: group/id(index)az@ip, a star for bootstrap.
func names(p *manifest.Plan) string {
	var out []string
	for _, g := range p.Groups {
		for _, i := range g.Instances {
			s := fmt.Sprintf("%s(%d)%s@%s", i.Name(), i.Index, i.AZ, strings.Join(i.IPs(), ","))
			if i.Bootstrap {
				s += "*"
			}
			out = append(out, s)
		}
	}
	return strings.Join(out, " ")
}

func TestStaticIP(t *testing.T) {
	w := newWorld(t)
	w.cloud = mustCloud(t, "cloud-config-static.yml")
	if got := names(w.deploy(string(mustRead(t, "svc-static.yml")))); !strings.HasPrefix(got, "standalone/id-1(0)z1@10.244.0.77*") {
		t.Error(got)
	}
	if got := w.deploy(string(mustRead(t, "svc-static.yml"))); got.Groups[0].Instances[0].Change() != manifest.Unchanged {
		t.Errorf("again: %v", names(got))
	}
	w.taken = []manifest.TakenIP{{IP: netip.MustParseAddr("10.244.0.78"), Network: "default", Deployment: "other", Instance: "x/y"}}
	_, err := w.plan([]byte(strings.Replace(string(mustRead(t, "svc-static.yml")), ".77", ".78", 1)))
	wantError(t, err, 130008, "Failed to reserve IP '10.244.0.78' for instance 'standalone/id-1 (0)': already reserved by instance 'x/y' from deployment 'other'")
}
