package osb_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge/spec"
)

// TestBadInput is issue 2, "Bad input": a clear JSON error with the status of
// OSB or, where an id is legal, it works; nothing else is stored or deployed.
func TestBadInput(t *testing.T) {
	t.Parallel()
	p := startBroker(t, true)
	long := strings.Repeat("x", 255)
	var rows []row
	for name, id := range map[string]string{
		"500 characters": strings.Repeat("y", 500), "256 characters": long + "x", "..": "%2e%2e", "bare ..": "..", ".": ".",
		"NUL": "a%00b", "a line feed": "a%0ab", "DEL": "%7f", "no UTF-8": "%ff",
	} {
		path := "/service_instances/" + id
		rows = append(rows,
			row{"18", name + " as an id, PUT", "PUT", path + async, order(), nil, 400, nil},
			row{"18", name + " as an id, DELETE", "DELETE", path + async + "&" + which, "", nil, 400, nil},
			row{"18", name + " as an id, GET", "GET", path, "", nil, 400, nil},
			row{"18", name + " as an id, poll", "GET", path + "/last_operation", "", nil, 400, nil},
			row{"18", name + " as a binding's id", "PUT", "/service_instances/a/service_bindings/" + id, bind(), nil, 400, nil},
		)
	}
	tooMuch := order("vendor_field", strings.Repeat("z", 128<<10))
	rows = append(rows,
		row{"29", "more than 128 KiB", "PUT", instance + async, tooMuch, nil, 413, nil},
		row{"29", "more than 128 KiB to bind", "PUT", binding, tooMuch, nil, 413, nil},
		row{"13", "wrong password", "PUT", instance + async, order(), map[string]string{"Authorization": "Basic Y2M6U2VjcmV0"}, 401, nil},
		row{"104", "unknown service", "PUT", instance + async, order(service, "nope"), nil, 400, nil},
		row{"105", "unknown plan", "PUT", instance + async, order(oneServer, "nope"), nil, 400, nil},
		row{"115", "malformed", "PUT", instance + async, order("}", ""), nil, 400, nil},
		row{"109", "an expression of the director", "PUT", instance + async, order(`"vendor_field": {"x": 1}`, `"parameters": {"prefix": "/((root_password))"}`), nil, 400, nil},
	)
	p.table(t, rows)
	if left := p.instances(t); len(left) != 0 {
		t.Errorf("something was stored: %v", left)
	}
	if made := p.deployments(t); len(made) != 0 {
		t.Errorf("something was deployed: %v", made)
	}
	t.Run("153,171 a permission is required only with what it is for", func(t *testing.T) {
		dir := spec.Generated(t, spec.Self(t), "drain")
		spec.Edit(t, filepath.Join(dir, "service.yml"), "  tags: [drain]\n", "  tags: [drain]\n  requires: [syslog_drain, volume_mount, route_forwarding]\n")
		_, errs, code := spec.Self(t).Run(t, "install", dir, "--state", p.state)
		if told := p.row(t, row{method: "GET", path: "/catalog", status: 200}).text; code == 0 || !strings.Contains(errs, "requires: syslog_drain needs syslog_drain_url") || strings.Contains(told, "drain") {
			t.Errorf("exit code %d: %s; the catalog: %s", code, errs, told)
		}
	})
	legal := map[string]string{"a%2Fb": "a/b", "a%252Fb": "a%2Fb", "with%20space": "with space", long: long, "%C3%BC": "ü"}
	for escaped := range legal {
		p.row(t, row{method: "PUT", path: "/service_instances/" + escaped + async, body: order(), status: 202})
	}
	stored := p.instances(t)
	for escaped, id := range legal {
		if !slices.Contains(stored, id) {
			t.Errorf("%s is not stored as %q: %q", escaped, id, stored)
		}
		p.row(t, row{method: "DELETE", path: "/service_instances/" + escaped + async + "&" + which, status: 202})
	}
	for escaped := range legal {
		if last := p.finished(t, escaped, ""); last.string("state") != "succeeded" {
			t.Errorf("%s: %s", escaped, last.text)
		}
	}
	if left, made := p.instances(t), p.deployments(t); len(left)+len(made) != 0 {
		t.Errorf("something is left: %v %v", left, made)
	}
}

// deployments lists what the director has.
func (p *platform) deployments(t *testing.T) []string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(p.state, "director.json"))
	if err != nil {
		t.Fatal(err)
	}
	var director struct {
		URL, Client, Secret string
		CAFile              string `json:"ca_file"`
	}
	if err := json.Unmarshal(content, &director); err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(director.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}}
	request, err := http.NewRequest(http.MethodGet, director.URL+"/deployments", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.SetBasicAuth(director.Client, director.Secret)
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var listed []struct{ Name string }
	if err := json.NewDecoder(response.Body).Decode(&listed); err != nil {
		t.Fatalf("%d: %v", response.StatusCode, err)
	}
	names := []string{}
	for _, d := range listed {
		names = append(names, d.Name)
	}
	return names
}

// instances lists the ids that are stored, as the operator sees them.
func (p *platform) instances(t *testing.T) []string {
	t.Helper()
	var listed []struct{ ID string }
	if err := json.Unmarshal([]byte(p.serviceforge(t, "services", "--json")), &listed); err != nil {
		t.Fatal(err)
	}
	ids := []string{}
	for _, i := range listed {
		ids = append(ids, i.ID)
	}
	return ids
}
