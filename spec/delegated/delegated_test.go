// Package delegated_test is the spec of what platforms do for a service: a
// release that wants logs, routes and volumes, installed and bound over OSB.
package delegated_test

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	// The spec package runs the binary; the import makes the test cache notice changes.
	_ "github.com/serviceforge/serviceforge/cmd"
	"github.com/serviceforge/serviceforge/spec"
)

// words are what the generated service says more: the drain's address holds a
// secret, and the name of the group is what clients connect to.
const words = `
  requires: [syslog_drain, route_forwarding, volume_mount]
  requires_pool: {local_dns: true}
  syslog_drain_url: (( "syslog-tls://drain:" sf.secrets.password "@" sf.facts.host ":6514" ))
  route_service_url: (( "https://" sf.facts.host ":4443/proxy" ))
  volume_mounts:
  - driver: nfsv3driver
    container_dir: /var/vcap/data/kv
    mode: rw
    device_type: shared
    device: {volume_id: (( sf.instance.id )), mount_config: {source: (( "nfs://" sf.facts.host "/export" ))}}

  plans:
`

// bound is the answer to a bind, as far as it is told here.
type bound struct {
	Credentials struct{ Host, Password, Name string }
	Drain       string `json:"syslog_drain_url"`
	Route       string `json:"route_service_url"`
	Mounts      []struct {
		Driver string
		Dir    string `json:"container_dir"`
		Mode   string
		Type   string `json:"device_type"`
		Device struct {
			ID     string            `json:"volume_id"`
			Config map[string]string `json:"mount_config"`
		}
	} `json:"volume_mounts"`
}

func TestPlatformsAreToldWhatToDo(t *testing.T) {
	dir := spec.Generated(t, spec.Self(t), "kv")
	spec.Edit(t, filepath.Join(dir, "service.yml"), "\n  plans:\n", words,
		"    host: {instance_group: kv, address: first}", "    host: {instance_group: kv, address: first}\n    name: {instance_group: kv, address: first, kind: dns}",
		"    port: 4000\n", "    port: 4000\n    name: (( sf.facts.name ))\n")
	d := spec.StartDev(t, spec.Self(t), "127.243.0.0/24", "--bosh-local-dns")
	for _, args := range [][]string{{"install", dir}, {"create-service", "kv-dedicated", "small", "a"}} {
		if out, errs, code := d.CLI(args...); code != 0 {
			t.Fatal(args, out, errs)
		}
	}
	out, errs, code := d.CLI("service", "a", "--json")
	var instance struct{ ID string }
	if err := json.Unmarshal([]byte(out), &instance); err != nil || code != 0 {
		t.Fatal(out, errs, err)
	}
	var service, plan string
	t.Run("41,67 the catalog says what is required", func(t *testing.T) { service, plan = onOffer(t, d) })
	at := func(id string) string { return "/v2/service_instances/" + instance.ID + "/service_bindings/" + id }
	bind := func(id string, resource map[string]string, want int) (b bound) {
		t.Helper()
		body := map[string]any{"service_id": service, "plan_id": plan, "bind_resource": resource}
		if status := d.Call(http.MethodPut, at(id), body, &b); status != want {
			t.Fatalf("bind %s of %v answers %d, want %d", id, resource, status, want)
		}
		return b
	}

	// the numbers are lines of spec/osb/checklist.md
	app := bind("app", map[string]string{"app_guid": "app-1"}, http.StatusCreated)
	host := app.Credentials.Host
	t.Run("153,170,171,183 an app is told where its logs go and what is mounted", func(t *testing.T) {
		if app.Drain != "syslog-tls://drain:"+app.Credentials.Password+"@"+host+":6514" || app.Route != "" || len(app.Mounts) != 1 {
			t.Errorf("an app is bound to %+v", app)
		} else if m := app.Mounts[0]; m.Driver != "nfsv3driver" || m.Dir != "/var/vcap/data/kv" || m.Mode != "rw" || m.Type != "shared" ||
			m.Device.ID != instance.ID || m.Device.Config["source"] != "nfs://"+host+"/export" {
			t.Errorf("the volume is %+v", m)
		}
		var again bound
		if status := d.Call(http.MethodGet, at("app"), nil, &again); status != http.StatusOK || again.Drain != app.Drain || len(again.Mounts) != 1 {
			t.Errorf("a fetch answers %d, %+v", status, again)
		}
	})
	if name := app.Credentials.Name; !regexp.MustCompile(`^q-s0\.kv\.default\.kv-[-a-z0-9]+\.bosh$`).MatchString(name) {
		t.Errorf("the group is called %q", name)
	}
	t.Run("153,156,170 a route is told where its requests go", func(t *testing.T) {
		route := map[string]string{"route": "shop.example.com"}
		if b := bind("route", route, http.StatusCreated); b.Route != "https://"+host+":4443/proxy" || b.Drain != "" || b.Mounts != nil {
			t.Errorf("a route is bound to %+v", b)
		}
		bind("route", route, http.StatusOK)
		bind("route", map[string]string{"route": "other.example.com"}, http.StatusConflict)
	})
}

// onOffer finds the service and its plan in the catalog, with what it requires.
func onOffer(t *testing.T, d *spec.Dev) (service, plan string) {
	t.Helper()
	var catalog struct {
		Services []struct {
			ID, Name string
			Requires []string
			Plans    []struct{ ID, Name string }
		}
	}
	if status := d.Call(http.MethodGet, "/v2/catalog", nil, &catalog); status != http.StatusOK {
		t.Fatalf("the catalog answers %d", status)
	}
	for _, s := range catalog.Services {
		if s.Name != "kv-dedicated" {
			if s.Requires != nil {
				t.Errorf("%s requires %v", s.Name, s.Requires)
			}
			continue
		}
		if !slices.Equal(s.Requires, []string{"syslog_drain", "route_forwarding", "volume_mount"}) {
			t.Errorf("it requires %v", s.Requires)
		}
		service, plan = s.ID, s.Plans[0].ID
	}
	return service, plan
}
