package director_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge/localbosh"
)

// TestVariables: a director with a config server makes the values of variables
// once, gives them to templates, and never shows them.
func TestVariables(t *testing.T) {
	d := start(t, func(o *localbosh.Options) { o.ConfigServer = true })
	if err := d.EnsureCloudConfig(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := d.EnsureRelease(context.Background(), webRelease(t), nil); err != nil {
		t.Fatal(err)
	}
	text := webManifest("web-1", 1, "greeting: ((password))") + `variables:
- {name: password, type: password}
- {name: ca, type: certificate, options: {is_ca: true, common_name: web}}
- {name: tls, type: certificate, options: {ca: ca, common_name: web, alternative_names: [web.internal]}}
`
	d.deploy(text, "done")
	var vars []struct{ ID, Name string }
	if err := json.Unmarshal([]byte(d.get("/deployments/web-1/variables").body), &vars); err != nil || len(vars) != 3 || vars[0].Name != "/serviceforge/web-1/password" {
		t.Errorf("variables %+v, %v", vars, err)
	}
	before := greeting(t, d)
	if len(before) < 16 || strings.Contains(before, "((") {
		t.Errorf("the template got %q", before)
	}
	if body := d.get("/deployments/web-1").body; !strings.Contains(body, "greeting: ((password))") || strings.Contains(body, before) {
		t.Errorf("the manifest shows the value: %s", body)
	}
	d.deploy(strings.Replace(text, "small", "medium", 1), "done")
	if after := greeting(t, d); after != before {
		t.Errorf("the password changed from %q to %q", before, after)
	}
	d.must(words("-d web-1 variables"), "/serviceforge/web-1/tls", "3 variables")

	bare := start(t)
	if err := bare.EnsureCloudConfig(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := bare.EnsureRelease(context.Background(), webRelease(t), nil); err != nil {
		t.Fatal(err)
	}
	got := bare.deploy(text, "error")
	if want := "Failed to generate variable '/serviceforge/web-1/password' from config server: Director is not configured with a config"; !strings.HasPrefix(*got.Result, want) {
		t.Errorf("without a config server: %q", *got.Result)
	}
}

// greeting is what the template of the one instance was rendered with.
func greeting(t *testing.T, d *director) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(d.options.State, "director", "applied", "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("applied states: %v, %v", files, err)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	var state struct {
		Jobs []struct {
			Files []struct {
				Path string
				Data []byte
			}
		}
	}
	if err := json.Unmarshal(data, &state); err != nil {
		t.Fatal(err)
	}
	for _, j := range state.Jobs {
		for _, f := range j.Files {
			if _, after, ok := strings.Cut(string(f.Data), "greeting="); ok && f.Path == "config/web.conf" {
				return strings.Fields(after)[0]
			}
		}
	}
	t.Fatal("no web.conf")
	return ""
}
