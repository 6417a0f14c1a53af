package releases_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/serviceforge/serviceforge"
	pools "github.com/serviceforge/serviceforge/infrastructure_pools"
	"github.com/serviceforge/serviceforge/releases"
	"github.com/serviceforge/serviceforge/releases/validate"
)

// The golden files in testdata/v1 and testdata/worked were made by the spiff
// command; testdata/remake.sh makes them anew.

// typed reads a document as the spiff command writes it: a text is a text.
func typed(t *testing.T, path string) map[string]any {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, text)
}

func TestBlocksOf2014RenderAsSpiffDid(t *testing.T) {
	r, s := load(t, os.DirFS("testdata/v1")), renderer(t)
	if len(r.Warnings()) == 0 {
		t.Error("no warning")
	}
	compared := 0
	for _, o := range r.Offerings() {
		infrastructure := strings.TrimPrefix(o.DeploymentNamePrefix, "kv-")
		network, err := os.ReadFile("testdata/v1/pools/" + infrastructure + ".yml")
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		for _, p := range o.Plans {
			in := releases.Input{Pool: pools.Pool{Name: infrastructure, Stub: network}, DirectorUUID: "uuid-1", Instance: serviceforge.Instance{
				ID: "i1", Deployment: o.DeploymentNamePrefix + "-i1", ServiceID: o.ID, PlanID: p.ID,
			}}
			got, err := r.Document(limited(t), s, in)
			if err != nil {
				t.Fatal(serviceforge.DetailOf(err))
			}
			if diff := cmp.Diff(typed(t, "testdata/v1/golden/"+infrastructure+"-"+p.Name+".yml"), parse(t, got)); diff != "" {
				t.Errorf("%s %s (-spiff +ours):\n%s", infrastructure, p.Name, diff)
			}
			if _, err := r.Manifest(limited(t), s, in); serviceforge.CodeOf(err) != serviceforge.Unprocessable || !strings.Contains(err.Error(), "serviceforge convert") {
				t.Errorf("a v1 manifest is not sent: %v", err)
			}
			compared++
		}
	}
	if compared != 10 {
		t.Errorf("compared %d", compared)
	}
}

func TestWorkedExampleRendersAsSpiffDoes(t *testing.T) {
	r, once, always := load(t, os.DirFS("testdata/worked")), renderer(t), uncompiled(t)
	golden, err := filepath.Glob("testdata/worked/golden/*.yml")
	if err != nil || len(golden) != 9 {
		t.Fatalf("%d golden files, %v", len(golden), err)
	}
	for _, path := range golden {
		pool, plan, _ := strings.Cut(strings.TrimSuffix(filepath.Base(path), ".yml"), "--")
		in := workedInput(t, r, pool, plan)
		manifest, err := r.Manifest(limited(t), once, in)
		if err != nil {
			t.Fatal(path, serviceforge.DetailOf(err))
		}
		got := parse(t, manifest)
		for name := range got["tags"].(map[string]any) { // ours, added behind Spiff
			if strings.HasPrefix(name, "serviceforge_") {
				delete(got["tags"].(map[string]any), name)
			}
		}
		if diff := cmp.Diff(typed(t, path), got); diff != "" {
			t.Errorf("%s (-spiff +ours):\n%s", path, diff)
		}
		for _, prefix := range []string{"/yes", "/12", "/2026-01-01", "/no"} {
			in.Instance.Parameters = serviceforge.NewSecret(`{"prefix":"` + prefix + `"}`)
			sameManifest(t, r, once, always, in)
		}
	}
	if once.Runs() != 9 {
		t.Errorf("Spiff ran %d times for nine plans on pools; impure: %v", once.Runs(), once.Impure())
	}
}

func workedInput(t *testing.T, r *releases.Release, pool, plan string) releases.Input {
	t.Helper()
	text, err := os.ReadFile("testdata/worked/pools/" + pool + ".yml")
	if err != nil {
		t.Fatal(err)
	}
	in := etcdInput(t, "")
	if in.Pool, err = pools.Parse(text); err != nil {
		t.Fatal(err)
	}
	for _, p := range r.Offerings()[0].Plans {
		if p.Name == plan {
			in.Instance.PlanID = p.ID
		}
	}
	in.First = false
	in.Instance.Parameters = serviceforge.NewSecret(`{"prefix":"/yes"}`)
	in.Instance.Secrets = serviceforge.NewSecret(`{"root_password":"ROOT-PASSWORD","cluster_token":"0640",
		"ca":{"certificate":"CA-CERTIFICATE","private_key":"CA-KEY"},"peer":{"certificate":"PEER\nCERTIFICATE\n","private_key":"PEER-KEY"}}`)
	return in
}

// TestEtcdFitsThePoolsOfTheWorkedExample: two directors whose cloud configs use
// other names, and one with static addresses.
func TestEtcdFitsThePoolsOfTheWorkedExample(t *testing.T) {
	r, s := load(t, releases.Etcd()), renderer(t)
	var all []pools.Pool
	for _, name := range []string{"lab", "lab-static", "aws"} {
		all = append(all, workedInput(t, r, name, "1-server").Pool)
	}
	if findings, err := validate.Release(limited(t), s, r, releases.Etcd(), all); err != nil || len(findings) > 0 {
		t.Errorf("%v, %v", findings, err)
	}
	m, err := r.Manifest(limited(t), s, workedInput(t, r, "lab-static", "3-servers"))
	if err != nil {
		t.Fatal(serviceforge.DetailOf(err))
	}
	if tree := parse(t, m); tree["networks"] != nil || !strings.Contains(string(m), `"10.244.0.72"`) || strings.Contains(string(m), `"10.244.0.73"`) {
		t.Errorf("static addresses of three servers: %s", m)
	}
}
