package releases_test

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/serviceforge/serviceforge"
	pools "github.com/serviceforge/serviceforge/infrastructure_pools"
	"github.com/serviceforge/serviceforge/releases"
	"github.com/serviceforge/serviceforge/users"
)

// with adds files to a small release.
func with(files fstest.MapFS, more map[string]string) fstest.MapFS {
	for name, text := range more {
		files[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return files
}

func TestOpsFilesAreApplied(t *testing.T) {
	files := with(small("groups:\n- name: web\n  word: (( sf.params.word ))\n  at: \"12:30:00\"\n",
		"templates: [t.yml],", "templates: [t.yml], ops_files: [ops/first.yml],", "description: d}", "description: d, ops_files: [ops/plan.yml]}"), map[string]string{
		"ops/first.yml": "- {type: replace, path: \"/groups/name=web/size?\", value: small}\n",
		"ops/plan.yml":  "- {type: replace, path: /groups/name=web/size, value: \"0640\"}\n- {type: replace, path: \"/extra?\", value: [yes, 1.5, 2]}\n",
	})
	r, once, always := load(t, files), renderer(t), uncompiled(t)
	for _, word := range []string{"yes", "1.10", "2026-01-01", "0x1f"} {
		in := smallInput(t, `{"word":"`+word+`"}`)
		sameManifest(t, r, once, always, in)
		m, err := r.Manifest(limited(t), once, in)
		if err != nil {
			t.Fatal(serviceforge.DetailOf(err))
		}
		got := parse(t, m)
		want := []any{map[string]any{"name": "web", "word": word, "at": "12:30:00", "size": "0640"}}
		if diff := cmp.Diff(any(want), got["groups"]); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(any([]any{"yes", 1.5, 2}), got["extra"]); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	if once.Runs() != 1 {
		t.Errorf("Spiff ran %d times: %v", once.Runs(), once.Impure())
	}
}

// TestOpsOfAPool: an operator changes what a service release of somebody else
// deploys, last of all, on one pool only, where the release asks for nothing.
func TestOpsOfAPool(t *testing.T) {
	pool, err := pools.Parse([]byte(`pool: {name: big, azs: [z1], network: default, vm_types: {small: s}, stemcells: {ubuntu-jammy: "1.0"}}
ops:
- {type: replace, path: /groups/name=web/size, value: large}
- {type: replace, path: "/addons?/-", value: {name: syslog}}
`))
	if err != nil {
		t.Fatal(err)
	}
	files := with(small("groups: [{name: web, size: (( sf.params.word ))}]", "templates: [t.yml],", "templates: [t.yml], ops_files: [first.yml],"),
		map[string]string{"first.yml": "- {type: replace, path: /groups/name=web/size, value: medium}\n"})
	r, once, always := load(t, files), renderer(t), uncompiled(t)
	in := smallInput(t, "")
	for _, c := range []struct {
		pool pools.Pool
		want []any
	}{{in.Pool, []any{"medium", nil}}, {pool, []any{"large", []any{map[string]any{"name": "syslog"}}}}} {
		in.Pool = c.pool
		sameManifest(t, r, once, always, in)
		m, err := r.Manifest(limited(t), once, in)
		if err != nil {
			t.Fatal(serviceforge.DetailOf(err))
		}
		got := parse(t, m)
		group := got["groups"].([]any)[0].(map[string]any)
		if diff := cmp.Diff(c.want, []any{group["size"], got["addons"]}); diff != "" {
			t.Errorf("pool %s (-want +got):\n%s", c.pool.Name, diff)
		}
	}
	in.Pool.Ops = []byte("- {type: remove, path: /nothing}\n")
	if _, err := r.Manifest(limited(t), once, in); serviceforge.CodeOf(err) != serviceforge.Unprocessable || !strings.Contains(serviceforge.DetailOf(err), "ops of pool big") {
		t.Errorf("operations that do not fit: %s", serviceforge.DetailOf(orNone(err)))
	}
}

func TestOpsFilesThatDoNotFit(t *testing.T) {
	files := with(small("a: 1", "templates: [t.yml],", "templates: [t.yml], ops_files: [ops.yml],"), map[string]string{
		"ops.yml": "- {type: replace, path: /groups/name=web/size, value: 1}\n",
	})
	_, err := load(t, files).Manifest(limited(t), renderer(t), smallInput(t, ""))
	if serviceforge.CodeOf(err) != serviceforge.Unprocessable || !strings.Contains(serviceforge.DetailOf(err), "ops.yml") ||
		!strings.Contains(serviceforge.DetailOf(err), "Expected to find") {
		t.Errorf("got %s", serviceforge.DetailOf(orNone(err)))
	}
}

func TestPlainManifestWithVars(t *testing.T) {
	files := with(small("", "templates: [t.yml], infrastructure_stubs: {default: default.yml}",
		`manifest: web.yml, vars: {word: (( sf.params.word )), num: (( sf.params.count )), dns: (( sf.instance.dns ".bosh" ))}`), map[string]string{
		"web.yml": "instance_groups:\n- name: web\n  instances: ((num))\n  properties: {word: ((word)), url: \"https://u:((pw))@((dns))\", pw: ((pw))}\nvariables: [{name: pw, type: password}]\n",
	})
	r, once, always := load(t, files), renderer(t), uncompiled(t)
	for _, word := range []string{"yes", "0640", "(x))", "a: b"} {
		in := smallInput(t, `{"word":"`+word+`","count":3}`)
		sameManifest(t, r, once, always, in)
		m, err := r.Manifest(limited(t), once, in)
		if err != nil {
			t.Fatal(serviceforge.DetailOf(err))
		}
		group := parse(t, m)["instance_groups"].([]any)[0].(map[string]any)
		want := map[string]any{"word": word, "url": "https://u:((pw))@small-i.bosh", "pw": "((pw))"}
		if diff := cmp.Diff(any(want), group["properties"]); diff != "" || group["instances"] != 3 {
			t.Errorf("%v (-want +got):\n%s", group["instances"], diff)
		}
	}
	if once.Runs() != 1 {
		t.Errorf("Spiff ran %d times: %v", once.Runs(), once.Impure())
	}
	files["web.yml"].Data = append(files["web.yml"].Data, "x: ((unknown))\n"...)
	if _, err := load(t, files).Manifest(limited(t), once, smallInput(t, "")); serviceforge.CodeOf(err) != serviceforge.Unprocessable {
		t.Errorf("a reference that nothing declares: %v", err)
	}
}

func TestCredentialsOf2014(t *testing.T) {
	r := load(t, small("instance_groups:\n- name: web\n  jobs:\n  - {name: j, properties: {pw: (( sf.params.word )), num: 7}}\n", "parameters:", `default_credentials: {port: 6379, host: none}
  detect_credentials:
  - {name: host, class: "BindingAttributes::JobIpAddress", attributes: {job_name: web}}
  - {name: second, class: "BindingAttributes::JobIpAddress", attributes: {job_name: web, job_index: 1}}
  - {name: all, class: "BindingAttributes::JobsIpAddresses", attributes: {job_names: [web, none]}}
  - {name: pw, class: "BindingAttributes::DeploymentManifestProperty", attributes: {key: instance_groups.web.jobs.j.properties.pw}}
  - {name: num, class: "BindingAttributes::DeploymentManifestProperty", attributes: {key: instance_groups.web.jobs.0.properties.num}}
  credentials: {second: mine}
  parameters:`))
	in := smallInput(t, `{"word":"secret"}`)
	in.Instance.Facts = map[string][]string{"web": {"192.0.2.7", "192.0.2.9"}} // index 0 may be gone: the lowest there is
	s := renderer(t)
	for range 2 {
		access, err := r.Access(limited(t), s, in)
		if err != nil {
			t.Fatal(serviceforge.DetailOf(err))
		}
		text, err := releases.Credentials(access, users.User{})
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if err := json.Unmarshal([]byte(text.Reveal()), &got); err != nil {
			t.Fatal(err)
		}
		want := map[string]any{"port": 6379.0, "host": "192.0.2.7", "second": "mine", "all": []any{"192.0.2.7", "192.0.2.9"}, "pw": "secret", "num": 7.0}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	in.Instance.Facts = nil
	if _, err := r.Access(limited(t), s, in); serviceforge.CodeOf(err) != serviceforge.Unprocessable {
		t.Errorf("without addresses: %v", err)
	}
}

func TestSecretsOfEveryKind(t *testing.T) {
	r := load(t, small("a: 1", "parameters:", "secrets: {k: {type: rsa}, s: {type: ssh}, u: {type: user, username: joe}, v: {type: user}}\n  parameters:"))
	secrets, err := r.NewSecrets(smallInput(t, ""))
	if err != nil {
		t.Fatal(serviceforge.DetailOf(err))
	}
	var got map[string]map[string]string
	if err := json.Unmarshal([]byte(secrets.Reveal()), &got); err != nil {
		t.Fatal(err)
	}
	for path, prefix := range map[[2]string]string{
		{"k", "private_key"}: "-----BEGIN RSA PRIVATE KEY-----", {"k", "public_key"}: "-----BEGIN PUBLIC KEY-----",
		{"s", "private_key"}: "-----BEGIN OPENSSH PRIVATE KEY-----", {"s", "public_key"}: "ssh-ed25519 ", {"s", "public_key_fingerprint"}: "",
		{"u", "username"}: "joe", {"u", "password"}: "", {"v", "username"}: "",
	} {
		if value := got[path[0]][path[1]]; value == "" || !strings.HasPrefix(value, prefix) {
			t.Errorf("%v is %q", path, value)
		}
	}
}

func TestWhatIsNotDoneYetIsRefused(t *testing.T) {
	for _, words := range []string{"dashboard_client: {id: a}", "update: {canaries: 1}", "facts: {x: {link: l, address: first}}"} {
		r := load(t, small("a: 1", "parameters:", words+"\n  parameters:"))
		if err := r.Runnable(); serviceforge.CodeOf(err) != serviceforge.Unprocessable {
			t.Errorf("%s: got %v", words, err)
		}
	}
	if err := load(t, releases.Etcd()).Runnable(); err != nil {
		t.Error(err)
	}
}
