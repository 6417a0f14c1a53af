package authoring_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge/spec"
	"github.com/serviceforge/serviceforge/spec/need"
)

// scratch is a TMPDIR of which nothing may be left when a test of a release is over.
func scratch(t *testing.T) (empty func()) {
	t.Helper()
	dir := spec.Folder(t)
	t.Setenv("TMPDIR", dir)
	return func() {
		t.Helper()
		left, err := os.ReadDir(dir)
		if err != nil || len(left) > 0 {
			t.Errorf("left in TMPDIR: %v, %v", left, err)
		}
		if pids := spec.ProcessesOf(dir); len(pids) > 0 {
			t.Errorf("processes are left: %v", pids)
		}
	}
}

// TestAnAuthorsTest runs `serviceforge test` on a release that is fine, folder
// and file, and on some that are not.
func TestAnAuthorsTest(t *testing.T) {
	self := spec.Self(t)
	fine := generated(t, "kv", nil)
	packed := filepath.Join(t.TempDir(), "kv.tgz")
	succeeds(t, self, "package", fine, "-o", packed)
	asks := `#!/bin/sh
echo "$VCAP_SERVICES" | grep -q '"label":"kv-dedicated"' && echo "$CREDENTIALS" | grep -q '"password":"'"$CREDENTIALS_PASSWORD"'"' &&
  test "$PLAN" = small && test "$CREDENTIALS_PORT" = 4000 && test -r keys && exit 0
env; exit 1
`
	write(t, filepath.Join(fine, "test", "environment"), asks)
	variables := map[string][]string{"templates/deployment.yml": {"password: (( sf.secrets.password ))", "password: ((!pw))", "features:", "variables: [{name: pw, type: password}]\nfeatures:"}}
	poor := generated(t, "poor", variables)
	variables["service.yml"] = []string{"  bosh_release:", "  requires_pool: {config_server: true}\n  bosh_release:",
		"    password: (( sf.secrets.password ))\n", "", "sf.secrets.password", `"unknown"`, "  secrets:\n    password: {type: password, length: 32}\n", ""}
	rich := generated(t, "rich", variables)
	write(t, filepath.Join(rich, "test", "keys"), "#!/bin/sh\ntest $(curl -s -o /dev/null -w '%{http_code}' http://$CREDENTIALS_HOST:$CREDENTIALS_PORT/) = 401\n")
	elsewhere := generated(t, "elsewhere", map[string][]string{"service.yml": {
		"vm_types: [small]", "vm_types: [huge]", "{size: small", "{size: huge", "disk_types: [small]}", "disk_types: [huge]}\n    pools: {names: [eu-1], match: {zone: eu}}"}})
	empty := scratch(t)
	for name, c := range map[string]struct {
		args []string
		want string // a pattern
		code int
	}{
		"a folder": {[]string{fine},
			`start .*without extras\n.*install .*kv/1\.0\.0\n.*create .*small\n.*bind .*\n.*2 of test/ passed\n.*update .*to medium\n.*2 of test/ passed\n(.*\n)*.*delete(.*\n)*kv/1\.0\.0 is fine: 1 of 2 plans`, 0},
		"every plan of a file":  {[]string{packed, "--all-plans"}, `create .*small\n(.*\n)*.*create .*medium\n(.*\n)*kv/1\.0\.0 is fine: 2 of 2 plans`, 0},
		"parameters":            {[]string{packed, "-c", `{"greeting": "bye"}`}, `(?s)listening on 127\..*plan small: test: test/keys: exit status 1\nit does not say hello`, 1},
		"variables, asked for":  {[]string{rich}, `start .*with config server\n(.*\n)*rich/1\.0\.0 is fine`, 0},
		"variables, not asked":  {[]string{poor}, `plan small: create: .*(.*\n)*.*Director is not configured with a config`, 1},
		"other pools and sizes": {[]string{elsewhere}, `elsewhere/1\.0\.0 is fine`, 0},
		"no such plan":          {[]string{packed, "--plan", "huge"}, `the release has no plan "huge"`, 1},
		"bad parameters":        {[]string{packed, "-c", `{"greeting": "((x))"}`}, `plan small: create: parameters greeting: "\(\(" is not allowed`, 1},
		"no release":            {[]string{t.TempDir()}, `service\.yml`, 1},
	} {
		out, errs, code := self.Run(t, append([]string{"test"}, c.args...)...)
		if code != c.code || !regexp.MustCompile(c.want).MatchString(out+errs) {
			t.Errorf("%s: exit code %d\n%s%s", name, code, out, errs)
		}
		empty()
	}
}

// TestRevokedCredentialsAreTried runs the test of a release whose bindings have
// users of their own: those of a binding that ended must be refused.
func TestRevokedCredentialsAreTried(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "etcd")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("..", "..", "releases", "etcd"))); err != nil {
		t.Fatal(err)
	}
	yml := read(t, filepath.Join(dir, "service.yml"))
	write(t, filepath.Join(dir, "service.yml"), strings.NewReplacer( // it is another one than that of the program
		"\nname: etcd\n", "\nname: own\n", "name: etcd-dedicated", "name: own", "deployment_name_prefix: etcd", "deployment_name_prefix: own",
		spec.Service, "own-service", spec.OneServer, "own-1", spec.ThreeServers, "own-3", "5cfa57fc-1474-4eb9-9afb", "own-5").Replace(yml))
	if err := os.Mkdir(filepath.Join(dir, "test"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "test", "login"), `#!/bin/sh
exec curl -fsSk -d "{\"name\": \"$CREDENTIALS_USERNAME\", \"password\": \"$CREDENTIALS_PASSWORD\"}" "https://$CREDENTIALS_HOST:2379/v3/auth/authenticate"
`)
	out := succeeds(t, spec.Self(t), "test", dir)
	if !regexp.MustCompile(`update .*to 3-servers\n.*1 of test/ passed\n(.*\n)*.*unbind .*its credentials are refused, those of another app are not`).MatchString(out) {
		t.Error(out)
	}

	write(t, filepath.Join(dir, "test", "login"), "#!/bin/sh\nexit 0\n") // it would let in anybody
	out, errs, code := spec.Self(t).Run(t, "test", dir)
	if code != 1 || !strings.Contains(errs, "unbind: the credentials of an unbound app still work") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
}

// TestAnAuthorsTestIsGivenUp interrupts one; nothing of it is left.
func TestAnAuthorsTestIsGivenUp(t *testing.T) {
	dir := generated(t, "kv", nil)
	write(t, filepath.Join(dir, "test", "keys"), "#!/bin/sh\necho forever; sleep 3600 & wait\n")
	empty := scratch(t)
	running := spec.StartProcess(t, spec.Self(t), "credentials of app", "test", dir)
	if code := running.Stop(); code != 1 || !strings.Contains(running.Output(), "the test was given up") {
		t.Errorf("exit code %d\n%s", code, running.Output())
	}
	empty()
}

// TestAnAuthorsTestIsKept leaves the instance for a look around, until Ctrl-C.
func TestAnAuthorsTestIsKept(t *testing.T) {
	dir := generated(t, "kv", nil)
	empty := scratch(t)
	running := spec.StartProcess(t, spec.Self(t), "Ctrl-C stops this", "test", dir, "--keep")
	state := regexp.MustCompile(`state +(/\S+)`).FindStringSubmatch(running.Output())
	if state == nil {
		t.Fatalf("it does not say where it is:\n%s", running.Output())
	}
	services := succeeds(t, spec.Self(t), "services", "--state", state[1])
	if !regexp.MustCompile(`test +kv-dedicated +medium +running`).MatchString(services) {
		t.Error(services)
	}
	if code := running.Stop(); code != 0 || !strings.Contains(running.Output(), "kv/1.0.0 is fine") {
		t.Errorf("exit code %d\n%s", code, running.Output())
	}
	empty()
}

// TestOurServicesTests runs the tests of the service releases that take their
// server from this machine: bindings are revoked by their drivers.
func TestOurServicesTests(t *testing.T) {
	for name, programs := range map[string]map[string]string{
		"redis":      {"/usr/bin/redis-server": "redis-server", "/usr/bin/redis-cli": "redis-tools"},
		"postgresql": {"/usr/lib/postgresql/*/bin/postgres": "postgresql", "/usr/bin/psql": "postgresql-client"},
	} {
		t.Run(name, func(t *testing.T) {
			for program, debian := range programs {
				need.Program(t, program, debian)
			}
			empty := scratch(t)
			out := succeeds(t, spec.Self(t), "test", filepath.Join("..", "..", "releases", name))
			if strings.Count(out, "1 of test/ passed") != 2 || !strings.Contains(out, "its credentials are refused, those of another app are not") {
				t.Error(out)
			}
			empty()
		})
	}
}
