// Package dev_test holds the specs of `serviceforge dev`: what survives, what
// is refused, and what it tells.
package dev_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge/spec"
)

func TestServicesOutliveDev(t *testing.T) {
	dev := spec.StartDev(t, spec.Self(t), "127.233.0.0/24")
	dev.Await("i", dev.Create("i", spec.OneServer))
	before := dev.Etcds()
	if len(before) != 1 {
		t.Fatalf("%d etcd processes, want 1", len(before))
	}
	if code := dev.Stop(); code != 0 {
		t.Fatalf("exit code %d after an interrupt\n%s", code, dev.Output())
	}
	if now := dev.Etcds(); !slices.Equal(now, before) {
		t.Fatalf("the service did not outlive dev: %v, then %v", before, now)
	}
	dev.Start()
	if now := dev.Etcds(); !slices.Equal(now, before) {
		t.Errorf("the service was interrupted: %v, then %v", before, now)
	}
	out, _, code := dev.CLI("services")
	if code != 0 || !strings.Contains(out, "running") {
		t.Errorf("services (%d):\n%s", code, out)
	}
	dev.Await("i", dev.Delete("i"))
	if left := dev.Etcds(); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
	dev.Stop()
}

func TestEveryCreateFinishesOnceAfterKill9(t *testing.T) {
	dev := spec.StartDev(t, spec.Self(t), "127.234.0.0/24")
	dev.Await("old", dev.Create("old", spec.OneServer))
	old := dev.Etcds()
	operations := map[string]string{}
	for n := range 3 { // one just accepted, others somewhere in the middle
		id := fmt.Sprint("new", n)
		operations[id] = dev.Create(id, spec.OneServer)
		if n < 2 {
			dev.Kill()
			dev.Start()
		}
	}
	for id, operation := range operations {
		dev.Await(id, operation)
	}
	now := dev.Etcds()
	if len(now) != 4 || !slices.Contains(now, old[0]) {
		t.Errorf("processes %v; want 4, the first of them %v", now, old)
	}
	deployments, err := os.ReadDir(filepath.Join(dev.State, "bosh", "vms"))
	if err != nil || len(deployments) != 4 {
		t.Errorf("%d VMs, want 4: %v", len(deployments), err)
	}
	for id := range operations {
		dev.Await(id, dev.Delete(id))
	}
	if now := dev.Etcds(); !slices.Equal(now, old) {
		t.Errorf("after the deletes %v run, want %v", now, old)
	}
}

func TestEphemeralLeavesNothing(t *testing.T) {
	temporary := spec.Folder(t)
	t.Setenv("TMPDIR", temporary)
	dev := spec.StartEphemeral(t, spec.Self(t), "127.235.0.0/24")
	dev.Await("i", dev.Create("i", spec.OneServer))
	if code := dev.Stop(); code != 0 {
		t.Errorf("exit code %d\n%s", code, dev.Output())
	}
	if left := spec.ProcessesOf(temporary); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
	if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
		t.Errorf("folders are left: %v, %v", left, err)
	}
}

func TestABadStartSaysWhatToDo(t *testing.T) {
	self := spec.Self(t)
	dev := spec.StartDev(t, self, "127.236.0.0/24")
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := filepath.Join(spec.Folder(t), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	free := []string{"--listen", "127.0.0.1:0", "--bosh-listen", "127.0.0.1:0", "--network", "127.237.0.0/24"}
	for name, c := range map[string]struct {
		args []string
		says string
	}{
		"a taken port":          {[]string{"--state", filepath.Join(spec.Folder(t), "s"), "--listen", taken.Addr().String()}, "--listen"},
		"a taken director port": {[]string{"--state", filepath.Join(spec.Folder(t), "s"), "--bosh-listen", taken.Addr().String()}, "--bosh-listen"},
		"no folder":             {[]string{"--state", filepath.Join(file, "s")}, "--state"},
		"a second dev":          {[]string{"--state", dev.State}, "--state"},
		"no network":            {[]string{"--state", filepath.Join(spec.Folder(t), "s"), "--network", "10.0.0.0/8"}, "(--network, "},
		"an unknown level":      {[]string{"--log-level", "loud"}, "--log-level"},
		"an unknown flag":       {[]string{"--unknown"}, "--unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			out, errs, code := self.Run(t, append(append([]string{"dev"}, free...), c.args...)...)
			if code != 1 || strings.Count(strings.TrimSpace(errs), "\n") > 0 || !strings.Contains(errs, c.says) {
				t.Errorf("exit code %d, want 1 and one line with %q:\n%s%s", code, c.says, out, errs)
			}
		})
	}
	if status := dev.Call("GET", "/v2/catalog", nil, nil); status != 200 {
		t.Errorf("the running dev was disturbed: %d", status)
	}
}

func TestAKernelWithoutUserNamespaces(t *testing.T) {
	// A user namespace in which no further ones may be made.
	script := `echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin "$@"`
	command := exec.Command("unshare", append([]string{"--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"},
		spec.Program(t), "dev", "--state", filepath.Join(spec.Folder(t), "s"), "--listen", "127.0.0.1:0", "--bosh-listen", "127.0.0.1:0")...)
	out, err := command.CombinedOutput()
	if err == nil || command.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), "namespaces") || strings.Count(string(out), "\n") != 1 {
		t.Errorf("%v; want exit code 1 and one line that speaks of namespaces:\n%s", err, out)
	}
}

func TestEnvGivesOtherProgramsWhatTheyNeed(t *testing.T) {
	dev := spec.StartDev(t, spec.Self(t), "127.238.0.0/24")
	out, errs, code := dev.CLI("env")
	if code != 0 {
		t.Fatal(errs)
	}
	script := out + `
for v in BOSH_ENVIRONMENT BOSH_CA_CERT BOSH_CLIENT BOSH_CLIENT_SECRET SB_BROKER_URL SB_BROKER_USERNAME SB_BROKER_PASSWORD SERVICEFORGE_TOKEN; do
  eval "value=\$$v"; [ -n "$value" ] || { echo "$v is empty"; exit 1; }
done
[ -f "$BOSH_CA_CERT" ] || { echo "$BOSH_CA_CERT is no file"; exit 1; }
` + spec.Program(t) + ` catalog`
	text, err := exec.Command("sh", "-c", script).CombinedOutput()
	if err != nil || !strings.Contains(string(text), "3-servers") {
		t.Errorf("%v\n%s", err, text)
	}
	for _, name := range []string{"token", "broker.key", "broker.json", "director.json"} {
		info, err := os.Stat(filepath.Join(dev.State, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v; want 0600", name, info.Mode(), err)
		}
	}
	if _, errs, code := spec.Self(t).Run(t, "env", "--state", "/nonexistent"); code != 1 || !strings.Contains(errs, "serviceforge dev") {
		t.Errorf("env without a dev (%d): %s", code, errs)
	}
}
