package director_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge/localbosh"
)

// staticCloud has static addresses on its network.
const staticCloud = `azs: [{name: z1}, {name: z2}, {name: z3}]
vm_types: [{name: small}]
disk_types: [{name: small, disk_size: 1024}]
networks:
- name: default
  type: manual
  subnets: [{range: 127.231.0.0/24, gateway: 127.231.0.1, azs: [z1, z2, z3], static: [127.231.0.70-127.231.0.74]}]
compilation: {workers: 1, az: z1, vm_type: small, network: default}
`

// TestStaticAddressesNamesAndErrands: what service releases ask of a director
// beyond a plain deployment. A group has the static addresses that it names and
// no other, its names can be looked up, and a colocated errand runs on all
// instances or on those that were asked for.
func TestStaticAddressesNamesAndErrands(t *testing.T) {
	d := start(t, func(o *localbosh.Options) { o.LocalDNS = true })
	if err := d.EnsureRelease(context.Background(), webRelease(t), nil); err != nil {
		t.Fatal(err)
	}
	if a := d.send("POST", "/configs", strings.NewReader(fmt.Sprintf(`{"name":"default","type":"cloud","content":%q}`, staticCloud)), map[string]string{"Content-Type": "application/json"}); a.status >= 300 {
		t.Fatal(a)
	}
	if info := d.get("/info").body; !strings.Contains(info, `"local_dns":{"extras":{"domain_name":"bosh"},"status":true}`) {
		t.Errorf("/info does not tell of local DNS: %s", info)
	}
	static := strings.Replace(webManifest("web-1", 2, "greeting: hello"), "{name: default}", "{name: default, static_ips: [127.231.0.72, 127.231.0.70]}", 1)
	d.deploy(static, "done")
	var instances []struct{ IPs []string }
	if err := json.Unmarshal([]byte(d.get("/deployments/web-1/instances").body), &instances); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(instances); got != "[{[127.231.0.72]} {[127.231.0.70]}]" {
		t.Errorf("addresses %s", got)
	}
	wrong := d.deploy(strings.Replace(static, "0.72", "0.80", 1), "error")
	if want := "Instance group 'web' with network 'default' declares static ip '127.231.0.80/32', which belongs to no subnet"; *wrong.Result != want {
		t.Errorf("an address that is not static: %s", *wrong.Result)
	}

	for body, want := range map[string]int{`{"instances":[]}`: 2, `{"instances":[{"group":"web","id":"1"}]}`: 1} {
		ran := d.run("POST", "/deployments/web-1/errands/check/runs", body, map[string]string{"Content-Type": "application/json"})
		lines := d.get(fmt.Sprintf("/tasks/%d/output?type=result", ran.ID)).body
		if ran.State != "done" || strings.Count(lines, `"exit_code":0`) != want {
			t.Errorf("errand on %s: %s, want %d lines\n%s", body, ran.State, want, lines)
		}
		if !strings.Contains(lines, "127.231.0.70") || !strings.Contains(lines, "127.231.0.72") {
			t.Errorf("the group's name does not stand for both addresses:\n%s", lines)
		}
	}
}
