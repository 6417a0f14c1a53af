package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge/spec"
)

// TestAuthoring is an author's session: a new release is valid as generated,
// packed, changed and compared; a mistake is found with its line.
func TestAuthoring(t *testing.T) {
	self, dir := spec.Self(t), t.TempDir()
	run := func(args ...string) result {
		out, errs, code := self.Run(t, args...)
		r := result{strings.Join(args, " "), out, errs, code}
		r.plain(t)
		return r
	}
	kv, file := filepath.Join(dir, "kv"), filepath.Join(dir, "kv.tgz")
	run("generate", "service", "kv", "--dir", kv).succeeds(t, "wrote")
	if again := run("generate", "service", "kv", "--dir", kv); again.code == 0 || !strings.Contains(again.said, "is not empty") {
		t.Errorf("over an existing one: %+v", again)
	}
	run("validate", kv).succeeds(t, "kv/1.0.0 is valid: 2 plans, 0 warnings")
	run("package", kv, "-o", file).succeeds(t, "wrote")
	run("validate", file).succeeds(t, "is valid")
	shown := run("render", file, "--plan", "medium", "--params", `{"greeting":"good day"}`)
	shown.succeeds(t, `"greeting": "good day"`, `"password": "[redacted]"`, `"max_value": 1048576`)
	run("render", kv, "--plan", "small", "--format", "bosh").succeeds(t, `"password": "((password))"`, `"variables":`)
	if refused := run("render", kv, "--plan", "small", "--params", `{"greeting":"((/x/y))"}`); refused.code == 0 || !strings.Contains(refused.said, `"((" is not allowed`) {
		t.Errorf("a reference as a parameter: %+v", refused)
	}

	run("render", kv).refused(t, "which plan? Name it with --plan: kv-dedicated/small, kv-dedicated/medium")
	run("render", kv, "--plan", "large").refused(t, `has no plan "large"; it has kv-dedicated/small`)
	run("test", kv, "--plan", "large").refused(t, `has no plan "large"; it has kv-dedicated/small`)

	yml := filepath.Join(kv, "service.yml")
	text, err := os.ReadFile(yml)
	if err != nil {
		t.Fatal(err)
	}
	write := func(changes ...string) {
		if err := os.WriteFile(yml, []byte(strings.NewReplacer(changes...).Replace(string(text))), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("max_value: 1048576", "max_value: 2097152")
	run("diff", file, kv).succeeds(t, "kv-dedicated/medium:/instance_groups/kv/jobs/kv/properties/max_value")
	run("diff", file, file, "--json").succeeds(t, "[]")
	write("max_value: 1048576", "max_vlaue: 1048576")
	bad := run("validate", kv, "--json")
	var findings []struct{ Level, Where, Message string }
	if err := json.Unmarshal([]byte(bad.out), &findings); err != nil || bad.code != 1 || len(findings) == 0 || !strings.HasPrefix(findings[0].Where, "service.yml line") &&
		!strings.Contains(bad.out, "not found") {
		t.Errorf("a dropped stub key: %+v, %v", bad, err)
	}
	write("  parameters:", "  paramters:")
	if bad := run("validate", kv); bad.code != 1 || !strings.Contains(bad.said, `the key "paramters" is not known`) || !strings.Contains(bad.said, "line") {
		t.Errorf("an unknown key: %+v", bad)
	}
}

// TestWhatAnAuthorForgetsIsFoundBeforeItIsDeployed has mistakes in the source
// of a BOSH release.
func TestWhatAnAuthorForgetsIsFoundBeforeItIsDeployed(t *testing.T) {
	self := spec.Self(t)
	for name, test := range map[string]struct {
		file, replace, by string // by = "" and replace = "": the file is gone
		says              string
	}{
		"a package of the job":    {"bosh/jobs/kv/spec", "packages:\n- kv\n", "", "bosh/jobs/kv/templates/bpm.yml.erb line 3"},
		"the files of a package":  {"bosh/src/kv/server", "", "", "package kv has no file kv/server"},
		"monit":                   {"bosh/jobs/kv/monit", "", "", "job kv has no monit"},
		"a property of the spec":  {"bosh/jobs/kv/spec", "greeting:", "greting:", "does not know the property greeting"},
		"that YAML has no tabs":   {"templates/deployment.yml", "  instances: 1", "\tinstances: 1", "indented with spaces, not with tabs"},
		"one word, in every plan": {"templates/deployment.yml", "sf.pool.azs", "sf.pool.azz", "plan small on pool sample and 1 more"},
	} {
		dir := filepath.Join(t.TempDir(), "kv")
		if _, errs, code := self.Run(t, "generate", "service", "kv", "--dir", dir); code != 0 {
			t.Fatal(errs)
		}
		path := filepath.Join(dir, test.file)
		text, err := os.ReadFile(path)
		if err == nil && test.replace == "" {
			err = os.Remove(path)
		} else if err == nil {
			err = os.WriteFile(path, []byte(strings.Replace(string(text), test.replace, test.by, 1)), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		if out, errs, _ := self.Run(t, "validate", dir); !strings.Contains(out+errs, test.says) {
			t.Errorf("%s is forgotten, and validate does not say %q:\n%s%s", name, test.says, out, errs)
		}
	}
}

// TestConvert2014 writes a block of 2014 in the form of today.
func TestConvert2014(t *testing.T) {
	self, dir := spec.Self(t), t.TempDir()
	old := filepath.Join("..", "..", "releases", "testdata", "v1")
	out, errs, code := self.Run(t, "convert", old, filepath.Join(dir, "new"), "--network", filepath.Join(old, "pools", "warden.yml"), "--release", "kv=1")
	result{"convert", out, errs, code}.succeeds(t, "static_ips are gone", "wrote")
	out, errs, code = self.Run(t, "validate", filepath.Join(dir, "new"))
	result{"validate", out, errs, code}.succeeds(t, "is valid: 10 plans")
}
