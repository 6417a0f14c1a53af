// Package install_test holds the specs of service releases that are installed
// while brokers run: from outside, with the program and real directors.
package install_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	// The spec package runs the binary; the import makes the test cache notice changes.
	_ "github.com/serviceforge/serviceforge/cmd"
	"github.com/serviceforge/serviceforge/spec"
)

// cli runs commands that have to succeed, or to fail with certain words.
type cli struct {
	t   *testing.T
	run func(args ...string) (stdout, stderr string, code int)
}

func (c cli) does(args ...string) string {
	c.t.Helper()
	stdout, stderr, code := c.run(args...)
	if code != 0 {
		c.t.Fatalf("%v ends with %d:\n%s%s", args, code, stdout, stderr)
	}
	return stdout
}

func (c cli) refuses(says string, args ...string) {
	c.t.Helper()
	if stdout, stderr, code := c.run(args...); code == 0 || !strings.Contains(stderr, says) {
		c.t.Errorf("%v ends with %d, which should say %q:\n%s%s", args, code, says, stdout, stderr)
	}
}

// release is a line of `serviceforge releases --json`.
type release struct {
	Name, Version, State string
	Instances            int
	Pools                []struct {
		Pool  string
		Ready bool
	}
}

// version finds a version; its State is "" where there is none.
func (c cli) version(name, version string) release {
	c.t.Helper()
	var all []release
	if err := json.Unmarshal([]byte(c.does("releases", "--json")), &all); err != nil {
		c.t.Fatal(err)
	}
	for _, r := range all {
		if r.Name == name && r.Version == version {
			return r
		}
	}
	return release{}
}

// offered are the services of a catalog with the maintenance version of their
// first plan.
func offered(t *testing.T, b *spec.Broker) map[string]string {
	t.Helper()
	var catalog struct {
		Services []struct {
			Name  string
			Plans []struct {
				MaintenanceInfo struct{ Version string } `json:"maintenance_info"`
			}
		}
	}
	if status := b.Call(http.MethodGet, "/v2/catalog", nil, &catalog); status != http.StatusOK {
		t.Fatalf("the catalog answers %d", status)
	}
	all := map[string]string{}
	for _, s := range catalog.Services {
		all[s.Name] = s.Plans[0].MaintenanceInfo.Version
	}
	return all
}

// A release is installed into a running dev, used, upgraded, and uninstalled.
func TestAReleaseFromItsInstallToItsEnd(t *testing.T) {
	dir := spec.Generated(t, spec.Self(t), "kv")
	service := filepath.Join(dir, "service.yml")
	d := spec.StartDev(t, spec.Self(t), "127.212.0.0/24", "--quotas", "service:kv-dedicated/instances=1")
	c := cli{t, d.CLI}
	if said := c.does("install", dir); !strings.Contains(said, "kv/1.0.0 is on offer") || !strings.Contains(said, "uploaded kv-service/1.0.0+dev.") {
		t.Errorf("install says %q", said)
	}
	if said := c.does("install", dir); !strings.Contains(said, "already, and nothing was missing") {
		t.Errorf("a repeated install says %q", said)
	}
	if said := c.does("pools", "sync"); !strings.Contains(said, "ready: kv/1.0.0 on pool local") {
		t.Errorf("a look at all pools says %q", said)
	}
	c.does("create-service", "kv-dedicated", "small", "a")
	c.refuses("the limit of 1 instances for the service", "create-service", "kv-dedicated", "small", "more") // which the settings knew before
	if said := c.does("bind", "a", "app"); !strings.Contains(said, `"uri"`) {
		t.Errorf("bind says %q", said)
	}
	t.Run("the same version with other content is refused while an instance uses it", func(t *testing.T) {
		spec.Edit(t, service, "a small server", "a tiny server")
		c.refuses("raise the version", "install", dir)
		if strings.Contains(c.does("catalog"), "tiny") {
			t.Error("the catalog was changed")
		}
	})
	t.Run("a newer version leaves instances where they are", func(t *testing.T) {
		spec.Edit(t, service, "\nversion: \"1.0.0\"", "\nversion: \"1.1.0\"")
		spec.Edit(t, filepath.Join(dir, "bosh/jobs/kv/templates/config.erb"), "address=", "# newer\naddress=")
		c.does("install", dir)
		if got := offered(t, &d.Broker)["kv-dedicated"]; got != "1.1.0" {
			t.Errorf("maintenance_info is %q", got)
		}
		if old, now := c.version("kv", "1.0.0"), c.version("kv", "1.1.0"); old.State != "retired" || old.Instances != 1 || now.State != "on offer" || now.Instances != 0 || !now.Pools[0].Ready {
			t.Errorf("%+v, %+v", old, now)
		}
		c.does("bind", "a", "second")
		c.does("update-service", "a", "-c", "{}")
		if told := c.does("service", "a"); !strings.Contains(told, "kv/1.0.0") {
			t.Errorf("the instance is not where it was:\n%s", told)
		}
		c.refuses("a service instance uses it", "uninstall", "kv/1.0.0")
	})
	t.Run("an upgrade moves them", func(t *testing.T) {
		c.does("upgrade", "a")
		if told := c.does("service", "a"); !strings.Contains(told, "kv/1.1.0") {
			t.Errorf("the instance was not moved:\n%s", told)
		}
		c.does("uninstall", "kv/1.0.0")
		c.refuses("a service instance uses it", "uninstall", "kv")
	})
	t.Run("it is all there after a restart", func(t *testing.T) {
		d.Stop()
		d.Start()
		if offered(t, &d.Broker)["kv-dedicated"] != "1.1.0" {
			t.Error("the release is gone")
		}
		c.does("unbind", "a", "second")
	})
	c.does("delete-service", "-f", "a")
	c.does("uninstall", "kv")
	if _, there := offered(t, &d.Broker)["kv-dedicated"]; there || c.version("kv", "1.1.0").State != "" {
		t.Error("the release is still there")
	}
	c.refuses("is not installed", "uninstall", "kv")
	c.refuses("comes with ServiceForge", "uninstall", "etcd")
}

// Archives that are broken, or claim what is another's, change nothing, and the
// broker keeps serving.
func TestBrokenArchivesChangeNothing(t *testing.T) {
	d := spec.StartDev(t, spec.Self(t), "127.211.0.0/24")
	c := cli{t, d.CLI}
	dir := spec.Generated(t, spec.Self(t), "kv")
	good := filepath.Join(spec.Folder(t), "kv.tgz")
	if _, stderr, code := spec.Self(t).Run(t, "package", dir, "-o", good); code != 0 {
		t.Fatal(stderr)
	}
	whole, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	file := func(name string, content []byte) string {
		path := filepath.Join(filepath.Dir(good), name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	flipped := bytes.Clone(whole)
	flipped[len(flipped)/2] ^= 0xff
	c.refuses("is not gzip", "install", file("text.tgz", []byte("this is no archive")))
	c.refuses("cut off or damaged", "install", file("cut.tgz", whole[:len(whole)/2]))
	c.refuses("archive", "install", file("more.tgz", append(bytes.Clone(whole), "more"...)))
	c.refuses("", "install", file("flipped.tgz", flipped))
	c.refuses("is not there", "install", filepath.Join(filepath.Dir(good), "nowhere.tgz"))
	clash := spec.Generated(t, spec.Self(t), "clash")
	content, err := os.ReadFile(filepath.Join(clash, "service.yml"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(content), "services:\n- id: ")
	id, _, _ := strings.Cut(rest, "\n")
	spec.Edit(t, filepath.Join(clash, "service.yml"), id, spec.Service)
	c.refuses("is one of the service release etcd/1.0.0", "install", clash)
	if all := offered(t, &d.Broker); len(all) != 1 || all["etcd-dedicated"] == "" {
		t.Errorf("the catalog is %v", all)
	}
	c.does("install", good)
	if _, there := offered(t, &d.Broker)["kv-dedicated"]; !there {
		t.Error("the good one is not on offer")
	}
}

// What dev installs at start is installed as by the command.
func TestDevInstallsAtStart(t *testing.T) {
	dir := spec.Generated(t, spec.Self(t), "kv")
	d := spec.StartDev(t, spec.Self(t), "127.213.0.0/24", "--install", dir)
	if _, there := offered(t, &d.Broker)["kv-dedicated"]; !there {
		t.Error("the release is not on offer")
	}
	d.Stop()
	d.Start() // it is there already
}
