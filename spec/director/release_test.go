package director_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// job is a job of the release that the specs make.
type job struct {
	name, spec, monit string
	templates         map[string]string
}

// webJobs are a service whose process prints its configuration and lives, and an
// errand.
var webJobs = []job{
	{
		name: "web",
		spec: `name: web
templates: {bpm.yml.erb: config/bpm.yml, web.conf.erb: config/web.conf, pre-start.erb: bin/pre-start, post-start.erb: bin/post-start}
packages: [web]
provides: [{name: web, type: web, properties: [port]}]
consumes: [{name: web, type: web}]
properties:
  port: {description: port, default: 8080}
  greeting: {description: what it says}
  slow: {description: how long pre-start takes in seconds, default: 0}
  broken: {description: there is no such program, default: false}
`,
		monit: `check process web
  with pidfile /var/vcap/sys/run/bpm/web/web.pid
  start program "/var/vcap/jobs/bpm/bin/bpm start web"
  stop program "/var/vcap/jobs/bpm/bin/bpm stop web"
  group vcap
`,
		templates: map[string]string{
			"bpm.yml.erb": `<%= YAML.dump("processes" => [{"name" => "web", "executable" => "/var/vcap/packages/web/bin/#{p("broken") ? "none" : "web"}",
  "args" => ["/var/vcap/jobs/web/config/web.conf"], "env" => {"GREETING" => p("greeting")}, "persistent_disk" => true}]) %>
`,
			"web.conf.erb": `ip=<%= spec.ip %> port=<%= p("port") %> greeting=<%= p("greeting") %> peers=<%= link("web").instances.map(&:address).sort.join(",") %>
`,
			"pre-start.erb":  "#!/bin/bash\nset -e\nsleep <%= p('slow') %>\nmkdir -p /var/vcap/store/web\ndate > /var/vcap/store/web/pre-started\n",
			"post-start.erb": "#!/bin/bash\ntest -s /var/vcap/store/web/pre-started\n",
		},
	},
	{
		name:      "check",
		spec:      "name: check\ntemplates: {run.erb: bin/run}\npackages: []\nproperties: {exit: {default: 0}}\n",
		templates: map[string]string{"run.erb": "#!/bin/bash\necho checked $(hostname)\ngrep q-s0.web.default.<%= spec.deployment %>.bosh /etc/hosts\necho noise >&2\nexit <%= p('exit') %>\n"},
	},
}

// webPackage is the package web: a process that sleeps stands for a server.
var webPackage = map[string]string{
	"packaging": "set -e\nmkdir -p ${BOSH_INSTALL_TARGET}/bin\ncp web/web.sh ${BOSH_INSTALL_TARGET}/bin/web\nchmod 755 ${BOSH_INSTALL_TARGET}/bin/web\n",
	"web/web.sh": `#!/bin/sh
cat "$1"
exec sleep 987654
`,
}

// tarball packs files as a .tgz; those in bin/ and packaging may be executed.
func tarball(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	gz := gzip.NewWriter(&b)
	tw := tar.NewWriter(gz)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		err := tw.WriteHeader(&tar.Header{Name: "./" + name, Mode: 0o755, Size: int64(len(files[name])), Typeflag: tar.TypeReg})
		if err == nil {
			_, err = tw.Write([]byte(files[name]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	if err := gz.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func sum(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}

// webRelease writes the release web/1 and returns its path.
func webRelease(t testing.TB) string {
	t.Helper()
	files := map[string]string{}
	mf := strings.Builder{}
	pkg := tarball(t, webPackage)
	files["packages/web.tgz"] = string(pkg)
	fmt.Fprintf(&mf, "name: web\nversion: '1'\ncommit_hash: 0123abc\nuncommitted_changes: false\npackages:\n- {name: web, version: %[1]s, fingerprint: %[1]s, sha1: 'sha256:%[2]s', dependencies: []}\njobs:\n",
		sum([]byte(webPackage["web/web.sh"])), sum(pkg))
	for _, j := range webJobs {
		content := map[string]string{"job.MF": j.spec, "monit": j.monit}
		print := j.spec + j.monit
		for _, name := range slices.Sorted(maps.Keys(j.templates)) {
			content["templates/"+name] = j.templates[name]
			print += j.templates[name]
		}
		tgz := tarball(t, content)
		files["jobs/"+j.name+".tgz"] = string(tgz)
		fmt.Fprintf(&mf, "- {name: %[1]s, version: %[2]s, fingerprint: %[2]s, sha1: 'sha256:%[3]s', packages: []}\n", j.name, sum([]byte(print)), sum(tgz))
	}
	files["release.MF"] = mf.String()
	path := filepath.Join(t.TempDir(), "web-1.tgz")
	if err := os.WriteFile(path, tarball(t, files), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// webManifest is a deployment of n instances that may all start at once.
func webManifest(name string, n int, properties string) string {
	return fmt.Sprintf(`# kept byte for byte: ä
name: %s
releases: [{name: web, version: '1'}, {name: bpm, version: 1.4.0}]
stemcells: [{alias: default, os: ubuntu-jammy, version: '1.0'}]
update: {canaries: 0, max_in_flight: 100%%, serial: false, canary_watch_time: 10-30000, update_watch_time: 10-30000}
instance_groups:
- name: web
  instances: %d
  azs: [z1, z2, z3]
  vm_type: small
  persistent_disk_type: small
  stemcell: default
  networks: [{name: default}]
  jobs:
  - {name: bpm, release: bpm}
  - name: web
    release: web
    properties: {%s}
  - {name: check, release: web}
`, name, n, properties)
}
