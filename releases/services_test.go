package releases_test

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/releases"
	"github.com/serviceforge/serviceforge/releases/authoring"
	"github.com/serviceforge/serviceforge/releases/boshrelease"
	"github.com/serviceforge/serviceforge/releases/validate"
)

// services are the service releases beside this code that are installed when
// they are wanted, with secrets that never change.
var services = map[string]string{
	"redis": `{"admin_password":"ADMIN-PASSWORD","ca":{"certificate":"CA-CERTIFICATE","private_key":"CA-KEY"},
		"server":{"certificate":"SERVER-CERTIFICATE","private_key":"SERVER-KEY"}}`,
	"postgresql": `{"admin_password":"ADMIN-PASSWORD","replication_password":"REPLICATION-PASSWORD",
		"ca":{"certificate":"CA-CERTIFICATE","private_key":"CA-KEY"},"server":{"certificate":"SERVER-CERTIFICATE","private_key":"SERVER-KEY"}}`,
	"rabbitmq": `{"admin_password":"ADMIN-PASSWORD","cookie":"COOKIE","ca":{"certificate":"CA-CERTIFICATE","private_key":"CA-KEY"},
		"server":{"certificate":"SERVER-CERTIFICATE","private_key":"SERVER-KEY"}}`,
	"cassandra": `{"cassandra_password":"CASSANDRA-PASSWORD","keystore_password":"KEYSTORE-PASSWORD"}`,
}

// TestServices: each validates without a finding, its BOSH release builds, and
// its plans render as the golden files.
func TestServices(t *testing.T) {
	for _, folder := range servicesHere(t) {
		files, s := os.DirFS(folder), renderer(t)
		r := load(t, files)
		findings, err := validate.Release(limited(t), s, r, files, nil)
		if err != nil || len(findings) > 0 {
			t.Errorf("%s: %v, %v", folder, findings, err)
		}
		if err := r.Runnable(); err != nil {
			t.Errorf("%s: %v", folder, err)
		}
		if _, err := fs.Stat(files, "README.md"); err != nil {
			t.Error(err)
		}
		buildsBOSH(t, r, files)
		for _, o := range r.Offerings() {
			for _, p := range o.Plans {
				in := etcdInput(t, p.ID)
				in.Instance.ServiceID, in.Instance.Deployment = o.ID, folder+"-i1"
				in.Instance.Secrets = serviceforge.NewSecret(services[folder])
				got, err := r.Manifest(limited(t), s, in)
				if err != nil {
					t.Fatal(serviceforge.DetailOf(err))
				}
				golden(t, filepath.Join("testdata", "golden", folder+"-"+p.Name+".yml"), got)
			}
		}
	}
}

// servicesHere lists the folders with a service release, but etcd's, which has
// tests of its own.
func servicesHere(t *testing.T) (folders []string) {
	t.Helper()
	found, err := filepath.Glob("*/service.yml")
	if err != nil || len(found) < len(services)+1 {
		t.Fatalf("service releases: %v, %v", found, err)
	}
	for _, path := range found {
		switch folder := filepath.Dir(path); {
		case folder == "etcd":
		case services[folder] == "":
			t.Errorf("%s has no secrets in this test", folder)
		default:
			folders = append(folders, folder)
		}
	}
	return folders
}

func buildsBOSH(t *testing.T, r *releases.Release, files fs.FS) {
	t.Helper()
	for _, b := range r.BOSHReleases() {
		if b.Source == "" {
			continue
		}
		source, err := authoring.BOSHSourceOf(files, b, "", "", "")
		if err == nil {
			err = boshrelease.Build(limited(t), io.Discard, source, false)
		}
		if err != nil {
			t.Error(serviceforge.DetailOf(err))
		}
	}
}

// An instance of one server has credentials without replicas; its plans with
// more, and cassandra's, tell all servers.
func TestServicesTellTheirServers(t *testing.T) {
	for _, test := range []struct {
		folder, plan, want string
		facts              map[string][]string
	}{
		{"redis", "1-server", `"hosts":["127.0.1.2"]`, map[string][]string{"leader": {"127.0.1.2"}}},
		{"redis", "1-server", `"replicas":[]`, map[string][]string{"leader": {"127.0.1.2"}}},
		{"redis", "3-servers", `"hosts":["127.0.1.2","127.0.1.3","127.0.1.4"]`, map[string][]string{"leader": {"127.0.1.2"}, "replica": {"127.0.1.3", "127.0.1.4"}}},
		{"postgresql", "1-server", `"standbys":[]`, map[string][]string{"primary": {"127.0.1.2"}}},
		{"postgresql", "2-servers", `"hosts":["127.0.1.2","127.0.1.3"]`, map[string][]string{"primary": {"127.0.1.2"}, "standby": {"127.0.1.3"}}},
		{"rabbitmq", "3-servers", `"hosts":["127.0.1.2","127.0.1.3"]`, map[string][]string{"rabbitmq": {"127.0.1.2", "127.0.1.3"}}},
		{"cassandra", "3-servers", `"hosts":["127.0.1.2","127.0.1.3"]`, map[string][]string{"seeds": {"127.0.1.2", "127.0.1.3"}}},
	} {
		r := load(t, os.DirFS(test.folder))
		offering := r.Offerings()[0]
		in := etcdInput(t, "")
		for _, p := range offering.Plans {
			if p.Name == test.plan {
				in.Instance.PlanID = p.ID
			}
		}
		in.Instance.ServiceID, in.Instance.Deployment, in.Instance.Facts = offering.ID, test.folder+"-i1", test.facts
		in.Instance.Secrets = serviceforge.NewSecret(services[test.folder])
		access, err := r.Access(limited(t), renderer(t), in)
		if err != nil || !strings.Contains(access.Reveal(), test.want) {
			t.Errorf("%s %s: %v, want %s in %s", test.folder, test.plan, err, test.want, access.Reveal())
		}
	}
}
