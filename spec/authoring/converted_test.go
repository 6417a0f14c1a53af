// Package authoring_test holds the specs of what authors of service releases
// are promised: what is converted deploys, what is wrong is refused, and what
// is written by the tutorial is tested, installed and used.
package authoring_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge/releases/boshrelease"
	"github.com/serviceforge/serviceforge/spec"
	"github.com/serviceforge/serviceforge/spec/bosh"
)

// oldPool is a pool of the converted release on the local director, behind the
// cloud config that convert wrote.
const oldPool = `pool: {name: old, infrastructure: default, azs: [z1], network: kv1, vm_types: {small_z1: small_z1}, stemcells: {ubuntu-jammy: "1.0"}}
`

// TestConvertedBlocksDeploy converts the block of 2014 whose documents equal
// those of the spiff command, and gives what comes out, cloud configs and all,
// to a director: a manual network with static addresses and a dynamic one.
func TestConvertedBlocksDeploy(t *testing.T) {
	dir := t.TempDir()
	converted, pool, kv := filepath.Join(dir, "new"), filepath.Join(dir, "old-pool.yml"), filepath.Join(dir, "kv.tgz")
	write(t, pool, oldPool)
	dev := spec.StartDev(t, spec.Self(t), "127.222.0.0/24", "--pools", pool)
	network := strings.ReplaceAll(read(t, golden("pools", "warden.yml")), "10.244.2.", "127.222.2.")
	write(t, filepath.Join(dir, "warden.yml"), network)
	succeeds(t, dev.Account, "convert", golden(), converted, "--network", filepath.Join(dir, "warden.yml"), "--release", "kv=1")
	buildRelease(t, kv)
	operator := boshCLI{t: t, dev: dev}
	operator.run("", "upload-release", kv)

	for _, c := range []struct {
		infrastructure, plan string
		instances            int
		addresses            string
	}{
		{"warden", "1-server", 1, `127\.222\.2\.\d+`}, {"warden", "3-servers", 3, `127\.222\.2\.\d+`},
		{"aws-ec2", "1-server", 1, `127\.\d+\.\d+\.\d+`}, {"aws-ec2", "3-servers", 3, `127\.\d+\.\d+\.\d+`},
	} {
		service := "kv-dedicated-" + c.infrastructure
		operator.run("", "update-cloud-config", filepath.Join(converted, "cloud-config-"+service+".yml"))
		manifest := succeeds(t, dev.Account, "render", converted, "--plan", service+"/"+c.plan, "--pool", pool, "--format", "bosh")
		name := regexp.MustCompile(`(?m)^"name": "(.*)"$`).FindStringSubmatch(manifest)
		if name == nil {
			t.Fatalf("the manifest has no name:\n%s", manifest)
		}
		operator.run(manifest, "-d", name[1], "deploy", "-")
		instances := operator.run("", "-d", name[1], "instances", "--ps")
		running := regexp.MustCompile(`(?m)^kv_(leader_)?z1/\S+\s+kv\s+running`).FindAllString(instances, -1)
		addresses := regexp.MustCompile(`(?m)^kv_(leader_)?z1/\S+\s+-\s+running\s+z1\s+`+c.addresses).FindAllString(instances, -1)
		if len(running) != c.instances || len(addresses) != c.instances {
			t.Errorf("%s %s: %d of %d run, %d addresses\n%s", service, c.plan, len(running), c.instances, len(addresses), instances)
		}
		operator.run("", "-d", name[1], "delete-deployment")
	}
	// The cloud config of the last one is in force; a broker needs no more.
	must := func(args ...string) string {
		t.Helper()
		return succeeds(t, dev.Account, append(args, "--state", dev.State)...)
	}
	yml := filepath.Join(converted, "service.yml") // our etcd has an id of the golden block
	write(t, yml, strings.ReplaceAll(read(t, yml), spec.Service, "b9698740-service"))
	must("install", converted)
	must("create-service", "kv-dedicated-aws-ec2", "3-servers", "kv")
	var credentials struct {
		Host  string
		Hosts []string
		Port  int
	}
	if err := json.Unmarshal([]byte(must("bind", "kv", "app")), &credentials); err != nil {
		t.Fatal(err)
	}
	if len(credentials.Hosts) != 3 || credentials.Host != credentials.Hosts[0] || credentials.Port != 4001 {
		t.Errorf("the credentials of 2014 are %+v", credentials)
	}
	must("update-service", "kv", "--upgrade")
	must("delete-service", "-f", "kv")
	dev.Stop()
}

// golden is a path in the service release of 2014 that spiff's documents are kept of.
func golden(path ...string) string {
	return filepath.Join(append([]string{"..", "..", "releases", "testdata", "v1"}, path...)...)
}

// buildRelease writes the BOSH release kv/1, whose jobs have the names of 2014.
func buildRelease(t *testing.T, path string) {
	t.Helper()
	var out bytes.Buffer
	source := boshrelease.Source{Name: "kv", Version: "1", Files: os.DirFS(filepath.Join("testdata", "kv"))}
	if err := boshrelease.Build(t.Context(), &out, source, false); err != nil {
		t.Fatal(err)
	}
	write(t, path, out.String())
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// succeeds runs the program and returns what it printed.
func succeeds(t *testing.T, a spec.Account, args ...string) string {
	t.Helper()
	out, errs, code := a.Run(t, args...)
	if code != 0 {
		t.Fatalf("%s: exit code %d\n%s%s", strings.Join(args, " "), code, out, errs)
	}
	return out
}

// boshCLI is the real bosh CLI of a dev's director.
type boshCLI struct {
	t   *testing.T
	dev *spec.Dev
}

// run runs a command that has to succeed.
func (b boshCLI) run(stdin string, args ...string) string {
	b.t.Helper()
	exports, errs, code := b.dev.CLI("env")
	if code != 0 {
		b.t.Fatal(errs)
	}
	command := exec.CommandContext(b.t.Context(), "sh", "-c", exports+`exec "$0" -n "$@"`)
	command.Args = append(command.Args, append([]string{bosh.CLI(b.t)}, args...)...)
	command.Stdin = strings.NewReader(stdin)
	out, err := command.CombinedOutput()
	if err != nil {
		b.t.Fatal(fmt.Errorf("bosh %s: %w\n%s", strings.Join(args, " "), err, out))
	}
	return string(out)
}
