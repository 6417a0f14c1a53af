package config_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/config"
)

// samples gives a value for every setting that is not its default.
var samples = map[string]string{
	"state": "/tmp/x", "ephemeral": "true", "bootstrap": "false", "keys": "k", "lost_key": "1", "log.level": "debug", "log.format": "json",
	"broker.listen": "127.0.0.1:1", "broker.url": "https://b", "broker.username": "u", "broker.password": "canary",
	"broker.platforms": "p.yml", "broker.cert": "bc", "broker.key": "bk", "broker.client_ca": "bca", "broker.rate_limit": "7",
	"broker.header_timeout": "3s", "broker.body_timeout": "4s", "broker.idle_timeout": "5s", "broker.drain": "6s",
	"broker.require_api_version": "true", "bosh.listen": "127.0.0.1:2", "bosh.network": "127.9.0.0/24",
	"bosh.username": "bu", "bosh.password": "canary", "bosh.config_server": "false", "bosh.local_dns": "true", "bosh.workers": "9",
	"etcd.endpoints": "https://a,https://b", "etcd.ca": "ca", "etcd.cert": "cert", "etcd.key": "key",
	"etcd.username": "eu", "etcd.password": "canary", "etcd.listen": "127.0.0.1:3", "pools": "a.yml,b.yml", "install": "a,b.tgz",
	"engine.lease": "3s", "engine.director_timeout": "2s", "engine.sweep": "9m",
	"quotas": "broker/instances=7,plan:etcd-dedicated/3-servers/ips=9",
}

func load(t *testing.T, args ...string) (config.Config, error) {
	t.Helper()
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	config.AddFlags(flags, config.Dev())
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return config.Load(flags, config.Dev())
}

// show prints every setting, secrets too, to compare configurations.
func show(c config.Config) string {
	return fmt.Sprintf("%+v", c) + c.Broker.Password.Reveal() + c.BOSH.Password.Reveal() + c.Etcd.Password.Reveal()
}

func TestEverySettingWorksInFileEnvironmentAndFlag(t *testing.T) {
	defaults, err := load(t)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range config.Keys() {
		t.Run(key, func(t *testing.T) {
			value, ok := samples[key]
			if !ok {
				t.Fatalf("no sample for setting %s: add one", key)
			}
			flag := "--" + strings.NewReplacer(".", "-", "_", "-").Replace(key) + "=" + value
			byFlag, err := load(t, flag)
			if err != nil {
				t.Fatal(err)
			}
			if show(byFlag) == show(defaults) {
				t.Errorf("%s changed nothing", flag)
			}
			byFile, err := load(t, "--config", file(t, key, value))
			if err != nil || show(byFile) != show(byFlag) {
				t.Errorf("by file: %v\n%s\nby flag:\n%s", err, show(byFile), show(byFlag))
			}
			t.Setenv("SERVICEFORGE_"+strings.ToUpper(strings.ReplaceAll(key, ".", "_")), value)
			byVariable, err := load(t)
			if err != nil || show(byVariable) != show(byFlag) {
				t.Errorf("by variable: %v\n%s\nby flag:\n%s", err, show(byVariable), show(byFlag))
			}
		})
	}
}

// file writes a settings file with one key.
func file(t *testing.T, key, value string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "serviceforge.yml")
	text, indent := "", ""
	parts := strings.Split(key, ".")
	for _, p := range parts[:len(parts)-1] {
		text += indent + p + ":\n"
		indent += "  "
	}
	if key == "etcd.endpoints" || key == "pools" || key == "quotas" || key == "install" {
		value = "[" + value + "]"
	}
	text += indent + parts[len(parts)-1] + ": " + value + "\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAFlagBeatsTheEnvironmentWhichBeatsTheFile(t *testing.T) {
	path := file(t, "broker.username", "file")
	t.Setenv("SERVICEFORGE_BROKER_USERNAME", "variable")
	c, err := load(t, "--config", path)
	if err != nil || c.Broker.Username != "variable" {
		t.Errorf("environment over file: %q, %v", c.Broker.Username, err)
	}
	c, err = load(t, "--config", path, "--broker-username", "flag")
	if err != nil || c.Broker.Username != "flag" {
		t.Errorf("flag over environment: %q, %v", c.Broker.Username, err)
	}
	c, err = load(t, "--listen", "127.0.0.1:7")
	if err != nil || c.Broker.Listen != "127.0.0.1:7" {
		t.Errorf("short flag: %q, %v", c.Broker.Listen, err)
	}
}

func TestWhatIsWrongWithAFileOrAVariableIsSaid(t *testing.T) {
	for content, says := range map[string]string{
		"brokr: {url: x}":        ": there is no setting brokr.url (",
		"broker: x":              ": broker holds settings such as broker.listen",
		"broker:\n\tlisten: x\n": ": yaml: line 2: found character that cannot start any token (YAML is indented with spaces, not with tabs)",
	} {
		path := filepath.Join(t.TempDir(), "settings.yml")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := load(t, "--config", path); serviceforge.CodeOf(err) != serviceforge.Invalid || !strings.HasPrefix(err.Error(), "the settings file "+path) || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", content, err)
		}
	}
	if _, err := load(t, "--config", "/nowhere"); err == nil || err.Error() != "the settings file /nowhere cannot be read: no such file or directory" {
		t.Errorf("no file: %v", err)
	}
	t.Setenv("SERVICEFORGE_BROKER_REQUIRE_API_VERSION", "maybe")
	const says = "setting broker.require_api_version: maybe is not of the kind of true (--broker-require-api-version, SERVICEFORGE_BROKER_REQUIRE_API_VERSION, or in the file)"
	if _, err := load(t); err == nil || err.Error() != says {
		t.Errorf("a variable: %v", err)
	}
}

func TestBadSettingsAreRefusedWithTheirName(t *testing.T) {
	if _, err := load(t, "--config", file(t, "broker.usrname", "x")); serviceforge.CodeOf(err) != serviceforge.Invalid || !strings.Contains(err.Error(), "usrname") {
		t.Errorf("an unknown key: %v", err)
	}
	for _, bad := range []string{"--state=", "--network=10.0.0.0/8", "--network=127.0.0.0/30", "--broker-username=",
		"--broker-password=", "--broker-cert=x", "--broker-key=x", "--broker-client-ca=x", "--broker-rate-limit=-1", "--broker-header-timeout=0s",
		"--broker-body-timeout=1s", "--broker-idle-timeout=0s", "--broker-drain=-1s", "--log-format=xml", "--log-level=loud", "--listen=5000", "--bosh-workers=0", "--quotas=organization=10", "--quotas=broker/instances=1,broker/instances=2", "--quotas=" + manyQuotas(), "--engine-lease=1ms", "--engine-director-timeout=1m"} {
		c, err := load(t, bad)
		if err == nil {
			err = c.Validate()
		}
		if serviceforge.CodeOf(err) != serviceforge.Invalid {
			t.Errorf("%s: %v", bad, err)
		}
	}
	c, err := load(t)
	if err != nil || c.Validate() != nil {
		t.Errorf("the defaults of dev: %v, %v", err, c.Validate())
	}
}

func TestPlatforms(t *testing.T) {
	all, err := config.ParsePlatforms([]byte("platforms:\n- {name: cc, username: u, password: canary-1}\n- {name: cc, username: u, password: canary-2}\n- {name: k8s, username: k, password: canary-3}\n"))
	if err != nil || len(all) != 3 || all[1].Name != "cc" || all[1].Password.Reveal() != "canary-2" {
		t.Errorf("%v %v", all, err)
	}
	for _, bad := range []string{"", "platforms: []", "[]", "platforms: canary", "platform: [{name: cc, username: u, password: canary}]",
		"platforms: [{name: cc, username: u, passwort: canary}]", "platforms: [{name: '', username: u, password: canary}]", "platforms: [{name: a/b, username: u, password: canary}]",
		"platforms: [{name: cc, username: '', password: canary}]", "platforms: [{name: cc, username: u}]", "platforms: [{name: cc, username: u, password: [canary]}]",
		"platforms: [{name: a, username: u, password: canary}, {name: b, username: u, password: canary-2}]"} {
		_, err := config.ParsePlatforms([]byte(bad))
		if serviceforge.CodeOf(err) != serviceforge.Invalid || strings.Contains(serviceforge.DetailOf(err), "canary") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// TestAFileIsAppliedWhenItChanges also leaves what was in force when the new content is bad.
func TestAFileIsAppliedWhenItChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	write := func(content string) {
		t.Helper()
		temporary := path + ".new"
		if err := os.WriteFile(temporary, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(temporary, path); err != nil {
			t.Fatal(err)
		}
	}
	applied := make(chan string, 10)
	f := &config.File{Paths: []string{path}, Private: true, Apply: func(contents [][]byte) error {
		applied <- string(contents[0])
		return nil
	}}
	if err := f.Read(); serviceforge.CodeOf(err) != serviceforge.Unprocessable {
		t.Errorf("no file: %v", err)
	}
	write("one")
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := f.Read(); serviceforge.CodeOf(err) != serviceforge.Unprocessable || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a file for everybody: %v", err)
	}
	write("one")
	if err := f.Read(); err != nil || <-applied != "one" {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		config.Follow(ctx, slog.New(slog.DiscardHandler), f)
	}()
	for _, next := range []string{"two", "three"} {
		write(next)
		if got := <-applied; got != next {
			t.Errorf("%q, want %q", got, next)
		}
	}
	cancel()
	<-done
}

// manyQuotas are more limits than one instance may be concerned by.
func manyQuotas() string {
	var all []string
	for n := range 21 {
		all = append(all, fmt.Sprintf("broker/r%d=1", n))
	}
	return strings.Join(all, ",")
}
