package director_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	boshcli "github.com/serviceforge/serviceforge/spec/bosh"
)

// bosh runs the real CLI against the director and returns what it printed.
func (d *director) bosh(args ...string) (string, error) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, boshcli.CLI(d.t), append([]string{"--non-interactive", "--no-color", "--tty"}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+d.options.State, "BOSH_ENVIRONMENT="+d.URL(), "BOSH_CA_CERT="+d.CAFile(),
		"BOSH_CLIENT="+d.user, "BOSH_CLIENT_SECRET="+d.secret)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

// must runs the CLI, which must succeed and print all of wants.
func (d *director) must(args []string, wants ...string) string {
	d.t.Helper()
	out, err := d.bosh(args...)
	if err != nil {
		d.t.Fatalf("bosh %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	for _, want := range wants {
		if !strings.Contains(out, want) {
			d.t.Errorf("bosh %s does not print %q:\n%s", strings.Join(args, " "), want, out)
		}
	}
	return out
}

func words(s string) []string { return strings.Fields(s) }

// file writes text to a file of the test.
func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file.yml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestCLI walks the life of a deployment with the real bosh CLI.
func TestCLI(t *testing.T) {
	d := start(t)
	if err := d.EnsureCloudConfig(context.Background()); err != nil {
		t.Fatal(err)
	}
	d.must(words("env"), "serviceforge", "283.1.0", "admin")
	d.must([]string{"upload-release", webRelease(t)}, "web/1", "Succeeded")
	d.must(words("releases"), "web", "bpm", "0123abc")
	d.must(words("stemcells"), "ubuntu-jammy")
	d.must(words("cloud-config"), "127.231.0.0/24", "vm_types")
	d.must(words("inspect-release web/1"), "web", "check")

	manifest := file(t, webManifest("web-1", 3, "greeting: hello"))
	begin := time.Now()
	d.must([]string{"-d", "web-1", "deploy", manifest}, "Compiling packages: web/", "Creating missing vms: web/", "Updating instance web: web/", "Succeeded")
	t.Logf("first deploy of 3 VMs, with compilation: %v", time.Since(begin))
	d.must(words("deployments"), "web-1", "web/1", "bpm/1.4.0")
	d.must(words("-d web-1 vms"), "running", "127.231.0.2", "127.231.0.3", "127.231.0.4", "3 vms")
	d.must(words("-d web-1 instances --ps"), "web", "running")
	d.must(words("-d web-1 instances --details --vitals"), "started", "3 instances")
	d.must(words("-d web-1 manifest"), "greeting: hello", "canary_watch_time: 10-30000")
	tasks := d.must(words("tasks --recent"), "create deployment", "/deployments/web-1", "create release")
	id := regexp.MustCompile(`(?m)^(\d+)\s.*create deployment`).FindStringSubmatch(tasks)
	if id == nil {
		t.Fatalf("no deploy among the tasks:\n%s", tasks)
	}
	d.must(words("task "+id[1]), "Updating instance web", "done", "Succeeded")
	d.must(words("task --debug "+id[1]), "packaging")
	d.must(words("locks"), "0 locks")
	d.must(words("-d web-1 errands"), "check")
	d.must(words("-d web-1 variables"), "0 variables")

	out := d.must([]string{"-d", "web-1", "deploy", manifest}, "Succeeded")
	if strings.Contains(out, "Updating instance") || strings.Contains(out, "Creating") {
		t.Errorf("the same manifest again touches instances:\n%s", out)
	}
	d.must(words("-d web-1 run-errand check"), "checked", "noise")
	logs := t.TempDir()
	d.must([]string{"-d", "web-1", "logs", "--dir", logs}, "Succeeded")
	if found, _ := filepath.Glob(logs + "/*.tgz"); len(found) != 1 {
		t.Errorf("logs: %v", found)
	}
	d.must(words("-d web-1 stop web/0"), "Succeeded")
	d.must(words("-d web-1 instances --details"), "stopped")
	d.must(words("-d web-1 start web/0"), "Succeeded")
	d.must(words("-d web-1 restart web/1"), "Succeeded")
	d.must(words("-d web-1 recreate web/2"), "Succeeded")
	d.must(words("-d web-1 stop --hard web/2"), "Succeeded")
	d.must(words("-d web-1 instances --details"), "detached")
	d.must(words("-d web-1 start web/2"), "Succeeded")
	d.must(words("-d web-1 vms"), "3 vms")

	d.must([]string{"-d", "web-1", "deploy", file(t, webManifest("web-1", 2, "greeting: two"))}, "Deleting unneeded instances", "Succeeded")
	d.must(words("-d web-1 vms"), "2 vms")
	d.must(words("-d web-1 delete-deployment"), "Deleting instances", "Destroying deployment", "Succeeded")
	d.must(words("deployments"), "0 deployments")
	if left := processes(t, d.options.State); len(left) > 1 { // the renderer's warm child may be there
		t.Errorf("processes are left after delete-deployment: %v", left)
	}
	for _, dir := range []string{"vms", "disks"} {
		if left, _ := filepath.Glob(filepath.Join(d.options.State, dir, "*")); len(left) > 0 {
			t.Errorf("folders are left after delete-deployment: %v", left)
		}
	}
	d.must(words("delete-release web/1"), "Succeeded")
	d.must(words("clean-up --all"), "Succeeded")
}

// web deploys n instances of web and returns the director.
func web(t *testing.T, n int) *director {
	d := start(t)
	if err := d.EnsureCloudConfig(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := d.EnsureRelease(context.Background(), webRelease(t), nil); err != nil {
		t.Fatal(err)
	}
	d.deploy(webManifest("web-1", n, "greeting: hello"), "done")
	eventually(t, "all processes of web are there", func() bool { return len(d.shells()) == n })
	return d
}

// shells are the processes of the deployed job, by id.
func (d *director) shells() map[int]bool {
	out := map[int]bool{}
	for _, p := range processes(d.t, d.options.State) {
		id, cmd, _ := strings.Cut(p, " ")
		if n, err := strconv.Atoi(id); err == nil && strings.HasPrefix(cmd, "sleep 987654") {
			out[n] = true
		}
	}
	return out
}

// TestKill proves that a dead process comes back, and a dead VM too, with its
// data.
func TestKill(t *testing.T) {
	d := web(t, 1)
	before := d.shells()
	for pid := range before {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the process comes back", func() bool { now := d.shells(); return len(now) == 1 && !now[pid] })
	}
	before = d.shells()
	for _, p := range processes(t, d.options.State) {
		id, cmd, _ := strings.Cut(p, " ")
		if pid, _ := strconv.Atoi(id); strings.Contains(cmd, " __vm ") {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
	}
	eventually(t, "the VM comes back", func() bool {
		now := d.shells()
		for pid := range before {
			if now[pid] {
				return false
			}
		}
		return len(now) == 1
	})
	d.deploy(webManifest("web-1", 1, "greeting: hello"), "done")
}

// TestRestart proves that the VMs outlive the director and that the next one
// takes them over; and that two cannot have the same folder.
func TestRestart(t *testing.T) {
	d := web(t, 2)
	before := d.shells()
	other := *d
	other.options.Listen = ""
	if twin, err := newDirector(other.options); err != nil {
		t.Fatal(err)
	} else if err := twin.Start(context.Background()); err == nil || !strings.Contains(err.Error(), "another director uses the state folder") {
		t.Errorf("a second director on the folder: %v", err)
	}
	secret := d.secret
	d.stop()
	if now := d.shells(); len(now) != 2 {
		t.Errorf("after the director's end: %v, before: %v", now, before)
	}
	d.start()
	if d.secret != secret {
		t.Error("the director forgot its password")
	}
	text := webManifest("web-1", 2, "greeting: hello")
	var stored struct{ Manifest string }
	if err := json.Unmarshal([]byte(d.get("/deployments/web-1").body), &stored); err != nil || stored.Manifest != text {
		t.Errorf("the manifest is not kept byte for byte: %q, %v", stored.Manifest, err)
	}
	got := d.deploy(text, "done")
	if events := d.get(fmt.Sprintf("/tasks/%d/output?type=event", got.ID)).body; strings.Contains(events, "Updating instance") {
		t.Errorf("the same manifest after a restart touches instances:\n%s", events)
	}
	now := d.shells()
	for pid := range before {
		if !now[pid] {
			t.Errorf("process %d was interrupted by the restart; now %v", pid, now)
		}
	}

	d.stop()
	for _, p := range processes(t, d.options.State) { // as a reboot would
		id, cmd, _ := strings.Cut(p, " ")
		if pid, _ := strconv.Atoi(id); strings.Contains(cmd, " __vm ") {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
	}
	eventually(t, "everything is dead", func() bool { return len(d.shells()) == 0 })
	d.start()
	eventually(t, "the dead VMs are back", func() bool { return len(d.shells()) == 2 })
}

// TestFailingDeploy proves what a deploy that fails leaves behind, and that the
// next good one mends it.
func TestFailingDeploy(t *testing.T) {
	d := web(t, 0)
	broken := strings.ReplaceAll(webManifest("web-2", 1, "greeting: hello, broken: true"), "10-30000", "10-1500")
	got := d.deploy(broken, "error")
	if want := "is not running after update. Review logs for failed jobs: web"; !strings.Contains(*got.Result, want) {
		t.Errorf("result %q, want %q", *got.Result, want)
	}
	if events := d.get(fmt.Sprintf("/tasks/%d/output?type=event", got.ID)).body; !strings.Contains(events, `"error":{"code":400001,`) {
		t.Errorf("events: %s", events)
	}
	if got := d.get("/deployments/web-2").body; got != `{"manifest":null}` {
		t.Errorf("manifest after a first deploy that failed: %s", got)
	}
	if got := d.get("/deployments/web-2/vms").body; !strings.Contains(got, `"cid":`) {
		t.Errorf("vms after a deploy that failed: %s", got)
	}
	d.deploy(webManifest("web-2", 1, "greeting: hello"), "done")
	d.deploy(broken, "error")
	if got := d.get("/deployments/web-2").body; strings.Contains(got, "broken") {
		t.Errorf("manifest after a failed update: %s", got)
	}
	missing := d.deploy(webManifest("web-3", 1, ""), "error")
	if !strings.Contains(*missing.Result, "Unable to render instance groups for deployment.") {
		t.Errorf("result %q", *missing.Result)
	}
	if got := d.get("/deployments/web-3/vms").body; got != "[]" {
		t.Errorf("a template that cannot be rendered left VMs: %s", got)
	}
}
