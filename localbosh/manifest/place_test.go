package manifest_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge/localbosh/bosherr"
	"github.com/serviceforge/serviceforge/localbosh/manifest"
)

const smallCloud = `
azs: [{name: z1}, {name: z2}, {name: z3}]
vm_types: [{name: small}]
disk_types: [{name: small, disk_size: 10}]
networks:
- name: default
  subnets:
  - {range: 127.1.0.0/28, gateway: 127.1.0.1, azs: [z1], reserved: [127.1.0.2 - 127.1.0.4], static: [127.1.0.10, 127.1.0.11]}
  - {range: 127.2.0.0/28, gateway: 127.2.0.1, azs: [z2, z3], static: 127.2.0.8/30}
- name: other
  type: dynamic
  subnets: [{azs: [z1, z2, z3]}]
- {name: bare, type: dynamic}
compilation: {workers: 1, network: default, az: z1, vm_type: small}
`

func smallWorld(t testing.TB) *world {
	t.Helper()
	cloud, err := manifest.ParseCloudConfig([]byte(smallCloud))
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	w.cloud = cloud
	return w
}

// group writes an instance group; more is further keys.
func group(name string, instances int, azs, networks, more string) string {
	if azs != "" {
		azs = "azs: [" + azs + "], "
	}
	return fmt.Sprintf("- {name: %s, instances: %d, %sjobs: [{name: standalone, release: tiny-service, properties: {password: p}}], vm_type: small, stemcell: default, networks: [%s]%s}\n",
		name, instances, azs, networks, more)
}

func deployment(groups ...string) string {
	return "name: d\nreleases: [{name: tiny-service, version: 1.0.0}]\nstemcells: [{alias: default, os: ubuntu-jammy, version: latest}]\n" +
		"update: {canaries: 1, max_in_flight: 50%, canary_watch_time: 1000-2000, update_watch_time: 3000}\ninstance_groups:\n" + strings.Join(groups, "")
}

func TestPlacement(t *testing.T) {
	const n = "{name: default}"
	for _, tc := range []struct {
		name  string
		steps []string // manifests deployed one after the other
		want  string   // the last plan
		gone  string   // its obsolete instances
	}{
		{"first zone by name", []string{deployment(group("g", 1, "z2, z1", n, ""))}, "g/id-1(0)z1@127.1.0.5*", ""},
		{"spread", []string{deployment(group("g", 4, "z1, z2, z3", n, ""))},
			"g/id-1(0)z1@127.1.0.5* g/id-2(1)z2@127.2.0.2 g/id-3(2)z3@127.2.0.3 g/id-4(3)z1@127.1.0.6", ""},
		{"scale in keeps the balance", []string{deployment(group("g", 4, "z1, z2, z3", n, "")), deployment(group("g", 2, "z1, z2, z3", n, ""))},
			"g/id-1(0)z1@127.1.0.5* g/id-2(1)z2@127.2.0.2", "g/id-3 g/id-4"},
		{"another zone without disk is another instance", []string{deployment(group("g", 1, "z1", n, "")), deployment(group("g", 1, "z2", n, ""))},
			"g/id-2(1)z2@127.2.0.2*", "g/id-1"},
		{"and with a disk too", []string{deployment(group("g", 1, "z1", n, ", persistent_disk: 5")), deployment(group("g", 1, "z2", n, ", persistent_disk: 5"))},
			"g/id-2(1)z2@127.2.0.2*", "g/id-1"},
		{"a disk holds its zone", []string{deployment(group("g", 2, "z2", n, ", persistent_disk: 5")), deployment(group("g", 2, "z1, z2", n, ", persistent_disk: 5"))},
			"g/id-1(0)z2@127.2.0.2* g/id-2(1)z2@127.2.0.3", ""},
		{"without one it is rebalanced", []string{deployment(group("g", 2, "z2", n, "")), deployment(group("g", 2, "z1, z2", n, ""))},
			"g/id-1(0)z2@127.2.0.2* g/id-3(2)z1@127.1.0.5", "g/id-2"},
		{"a freed index is used again", []string{deployment(group("g", 2, "z1", n, "")), deployment(group("g", 1, "z1", n, "")), deployment(group("g", 2, "z1", n, ""))},
			"g/id-1(0)z1@127.1.0.5* g/id-3(1)z1@127.1.0.6", ""},
		{"a group renamed", []string{deployment(group("a", 2, "z1", n, "")), deployment(group("b", 2, "z1", n, ", migrated_from: [{name: a}]"))},
			"b/id-1(0)z1@127.1.0.5* b/id-2(1)z1@127.1.0.6", ""},
		{"a group gone", []string{deployment(group("a", 1, "z1", n, ""), group("b", 1, "z1", n, "")), deployment(group("b", 1, "z1", n, ""))},
			"b/id-2(0)z1@127.1.0.6*", "a/id-1"},
		{"addresses of obsolete instances wait", []string{deployment(group("a", 1, "z1", n, "")), deployment(group("b", 1, "z1", n, ""))},
			"b/id-2(0)z1@127.1.0.6*", "a/id-1"},
		{"static", []string{deployment(group("g", 2, "z1, z2", "{name: default, static_ips: [127.2.0.9, 127.1.0.10]}", ""))},
			"g/id-1(0)z2@127.2.0.9* g/id-2(1)z1@127.1.0.10", ""},
		{"static kept, another added", []string{deployment(group("g", 1, "z1", "{name: default, static_ips: [127.1.0.11]}", "")),
			deployment(group("g", 2, "z1", "{name: default, static_ips: [127.1.0.10 - 127.1.0.11]}", ""))},
			"g/id-1(0)z1@127.1.0.11* g/id-2(1)z1@127.1.0.10", ""},
		{"static moved on the same instance", []string{deployment(group("g", 1, "z1", "{name: default, static_ips: [127.1.0.11]}", "")),
			deployment(group("g", 1, "z1", "{name: default, static_ips: [127.1.0.10]}", ""))},
			"g/id-1(0)z1@127.1.0.10*", ""},
		{"static to dynamic", []string{deployment(group("g", 1, "z1", "{name: default, static_ips: [127.1.0.11]}", "")), deployment(group("g", 1, "z1", n, ""))},
			"g/id-1(0)z1@127.1.0.5*", ""},
		{"two networks", []string{deployment(group("g", 1, "z2", "{name: default, default: [dns, gateway]}, {name: other}", ""))},
			"g/id-1(0)z2@127.2.0.2,127.9.0.1*", ""},
		{"no zones", []string{deployment(group("g", 2, "", "{name: bare}", ""))}, "g/id-1(0)@127.9.0.1* g/id-2(1)@127.9.0.2", ""},
		{"none", []string{deployment(group("g", 0, "z1", n, ""))}, "", ""},
		{"an errand has no address", []string{deployment(group("g", 1, "z1", n, ", lifecycle: errand"))}, "g/id-1(0)z1@*", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := smallWorld(t)
			var p *manifest.Plan
			for _, text := range tc.steps {
				p = w.deploy(text)
			}
			var gone []string
			for _, i := range p.Obsolete {
				gone = append(gone, i.Name())
			}
			if got := names(p); got != tc.want || strings.Join(gone, " ") != tc.gone {
				t.Errorf("got  %s; gone %q\nwant %s; gone %q", got, gone, tc.want, tc.gone)
			}
		})
	}
}

func TestPlacementRefusals(t *testing.T) {
	const n = "{name: default}"
	for _, tc := range []struct {
		name, text string
		code       int
		want       string
	}{
		{"no address left", deployment(group("g", 9, "z1", n, "")), 130011, "Failed to reserve IP for 'g/id-9 (8)' for manual network 'default': no more available"},
		{"too few static", deployment(group("g", 2, "z1", "{name: default, static_ips: [127.1.0.10]}", "")), 150002, "Instance group 'g' has 2 instances but was allocated 1 static IPs in network 'default'"},
		{"twice the same", deployment(group("g", 2, "z1", "{name: default, static_ips: [127.1.0.10, 127.1.0.10]}", "")), 150009, "Instance group 'g' specifies static IP '127.1.0.10' more than once"},
		{"static in another zone", deployment(group("g", 1, "z2", "{name: default, static_ips: [127.1.0.10]}", "")), 150007, "Instance group 'g' declares static ip '127.1.0.10' which does not belong to any of the instance group's availability zones."},
		{"static on dynamic", deployment(group("g", 1, "z1", "{name: other, static_ips: [1.2.3.4]}", "")), 150008, "Instance group 'g' using dynamic network 'other' cannot specify static IP(s)"},
		{"zones missing", deployment(group("g", 1, "", n, "")), 150006, "Instance group 'g' must specify availability zone that matches availability zones of network 'default'"},
		{"two defaults", deployment(group("g", 1, "z1", "{name: default, default: [dns, gateway]}, {name: other, default: [dns]}", "")), 150004, "Instance group 'g' specified more than one network to contain default. 'dns' has default networks: 'default', 'other'."},
		{"no default", deployment(group("g", 1, "z1", "{name: default}, {name: other}", "")), 150005, "Instance group 'g' must specify which network is default for dns, gateway, since it has more than one network configured"},
		{"odd default", deployment(group("g", 1, "z1", "{name: default, default: [dhcp]}", "")), 150003, "Instance group 'g' specified an invalid default network property 'dhcp', valid properties are: dns, gateway"},
		{"no networks", deployment(group("g", 1, "z1", "", "")), 140009, "Instance group 'g' must specify at least one network"},
		{"empty zones", deployment(strings.Replace(group("g", 1, "z1", "{name: bare}", ""), "[z1]", "[]", 1)), 140017, "Instance group 'g' has empty availability zones"},
		{"same name", deployment(group("g_1", 1, "z1", n, ""), group("g-1", 1, "z1", n, "")), 190009, "Invalid instance group name 'g-1', canonical name already taken"},
		{"lifecycle", deployment(group("g", 1, "z1", n, ", lifecycle: daemon")), 140011, "Invalid lifecycle 'daemon' for 'g', valid lifecycle profiles are: service, errand"},
		{"two disks", deployment(group("g", 1, "z1", n, ", persistent_disk: 5, persistent_disk_type: small")), 140013, "Instance group 'g' specifies more than one of the following keys: 'persistent_disk', 'persistent_disk_type', 'persistent_disk_pool' and 'persistent_disks'. Choose one."},
		{"extension", deployment(group("g", 1, "z1", n, ", vm_extensions: [nope]")), 100, "The vm_extension 'nope' has not been configured in cloud-config."},
		{"type of instances", deployment(strings.Replace(group("g", 1, "z1", n, ""), "instances: 1", "instances: many", 1)), 40000, `Property 'instances' value ("many") did not match the required type 'Integer'`},
		{"migrated and there", deployment(group("a", 1, "z1", n, ""), group("b", 1, "z1", n, ", migrated_from: [{name: a}]")), 190018,
			"Failed to migrate instance group 'a' to 'b'. A deployment can not migrate an instance group and also specify it. Please remove instance group 'a'."},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := smallWorld(t).plan([]byte(tc.text))
			wantError(t, err, tc.code, tc.want)
		})
	}
}

// Errands get addresses when they run, and ignored instances stay.
func TestErrandAndIgnore(t *testing.T) {
	w := smallWorld(t)
	text := deployment(group("g", 2, "z1", "{name: default}", ""), group("e", 1, "z2", "{name: default}", ", lifecycle: errand"))
	w.deploy(text)
	tree, err := manifest.ParseTree([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	m, err := manifest.Parse(tree, w.cloud, w.catalog.Releases)
	if err != nil {
		t.Fatal(err)
	}
	p, err := manifest.Resolve(manifest.Request{Manifest: m, Cloud: w.cloud, Catalog: w.catalog, Previous: w.previous, Errands: []string{"e"}})
	if err != nil || names(p) != "g/id-1(0)z1@127.1.0.5* g/id-2(1)z1@127.1.0.6 e/id-3(0)z2@127.2.0.2*" {
		t.Errorf("%v, %v", names(p), err)
	}
	w.previous[2].Networks = p.Groups[1].Instances[0].Networks
	if got := names(w.deploy(text)); !strings.HasSuffix(got, "e/id-3(0)z2@127.2.0.2*") {
		t.Errorf("an errand that is kept alive lost its address: %s", got)
	}
	w.previous = w.previous[:2]
	w.previous[1].Ignore = true
	_, err = w.plan([]byte(deployment(group("g", 0, "z1", "{name: default}", ""))))
	wantError(t, err, 190020, "Instance Group 'g' has 1 ignored instance(s). 0 instance(s) of that instance group were requested. Deleting ignored instances is not allowed.")
	_, err = w.plan([]byte(deployment(group("other", 1, "z1", "{name: default}", ""))))
	wantError(t, err, 190021, "You are trying to delete instance group 'g', which contains ignored instance(s). Operation not allowed.")
	if got := names(w.deploy(deployment(group("g", 1, "z1", "{name: default}", "")))); got != "g/id-2(1)z1@127.1.0.6*" {
		t.Errorf("the ignored instance did not stay: %s", got)
	}
}

// Whatever is deployed, resized and moved: addresses are unique, allowed, of the right zone and kept; indexes
// and ids are kept and unique; there is one bootstrap instance a group; nothing of others is touched.
func TestAllocatorProperties(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		w := smallWorld(t)
		for ip := netip.MustParseAddr("127.2.0.0"); len(w.taken) < 4; ip = ip.Next() {
			if rnd.IntN(3) == 0 {
				w.taken = append(w.taken, manifest.TakenIP{IP: ip, Network: "default", Deployment: "other", Instance: "x/y"})
			}
		}
		for step := range 6 {
			before := slices.Clone(w.previous)
			text := randomDeployment(rnd)
			p, err := w.plan([]byte(text))
			if err != nil {
				if bosherr.Is(err, 130011) {
					continue // full: the deployment stays as it was
				}
				t.Fatalf("seed %d step %d: %v\n%s", seed, step, err, text)
			}
			checkPlan(t, w, before, p)
			if t.Failed() {
				t.Fatalf("seed %d step %d\n%s", seed, step, text)
			}
			w.deploy(text)
		}
	}
}

func randomDeployment(rnd *rand.Rand) string {
	zones := []string{"z1", "z2", "z3", "z1, z2", "z3, z2, z1"}
	disks := []string{"", ", persistent_disk: 5"}
	var groups []string
	for _, name := range []string{"a", "b"}[:1+rnd.IntN(2)] {
		groups = append(groups, group(name, rnd.IntN(4), zones[rnd.IntN(len(zones))], "{name: default}", disks[rnd.IntN(2)]))
	}
	return deployment(groups...)
}

func checkPlan(t *testing.T, w *world, before []manifest.Instance, p *manifest.Plan) {
	t.Helper()
	holder := map[netip.Addr]string{}
	for _, taken := range w.taken {
		holder[taken.IP] = "another deployment"
	}
	old := map[string]manifest.Instance{}
	for _, i := range before {
		old[i.ID] = i
	}
	for _, i := range p.Obsolete {
		for _, n := range i.Networks {
			holder[n.IP] = i.Name()
		}
		delete(old, i.ID)
	}
	for _, g := range p.Groups {
		if len(g.Instances) != g.Count {
			t.Errorf("%d instances of %s, want %d", len(g.Instances), g.Name, g.Count)
		}
		checkGroup(t, g, old, holder)
	}
	if len(old) != 0 {
		t.Errorf("neither kept nor obsolete: %v", old)
	}
}

func checkGroup(t *testing.T, g *manifest.PlannedGroup, old map[string]manifest.Instance, holder map[netip.Addr]string) {
	t.Helper()
	subnets := map[string]netip.Prefix{"z1": netip.MustParsePrefix("127.1.0.0/28"), "z2": netip.MustParsePrefix("127.2.0.0/28"), "z3": netip.MustParsePrefix("127.2.0.0/28")}
	forbidden := strings.Fields("127.1.0.0 127.1.0.1 127.1.0.2 127.1.0.3 127.1.0.4 127.1.0.10 127.1.0.11 127.1.0.15 127.2.0.0 127.2.0.1 127.2.0.8 127.2.0.9 127.2.0.10 127.2.0.11 127.2.0.15")
	indexes, bootstraps := map[int]bool{}, 0
	for _, i := range g.Instances {
		ip := i.Networks[0].IP
		switch {
		case holder[ip] != "":
			t.Errorf("%s has the address %s of %s", i.Name(), ip, holder[ip])
		case !subnets[i.AZ].Contains(ip) || slices.Contains(forbidden, ip.String()):
			t.Errorf("%s in %s has address %s", i.Name(), i.AZ, ip)
		case indexes[i.Index]:
			t.Errorf("index %d twice", i.Index)
		case !slices.Contains(g.AZs, i.AZ):
			t.Errorf("%s is in %s", i.Name(), i.AZ)
		}
		holder[ip], indexes[i.Index] = i.Name(), true
		if i.Bootstrap {
			bootstraps++
		}
		if o, ok := old[i.ID]; ok {
			delete(old, i.ID)
			if o.Index != i.Index || o.AZ != i.AZ || o.Networks[0].IP != ip {
				t.Errorf("%+v became %+v", o, i.Instance)
			}
		}
	}
	if want := min(1, len(g.Instances)); bootstraps != want {
		t.Errorf("%d bootstrap instances in %s", bootstraps, g.Name)
	}
}
