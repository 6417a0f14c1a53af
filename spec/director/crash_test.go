package director_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/serviceforge/serviceforge/localbosh"
)

// directorMain runs a director in a process of its own: the arguments are the
// state folder and the program. It is killed, it does not end.
func directorMain(args []string) int {
	d, err := localbosh.New(localbosh.Options{State: args[0], Program: args[1], Network: "127.231.0.0/24"})
	if err == nil {
		err = d.Start(context.Background())
	}
	if err == nil {
		err = d.EnsureCloudConfig(context.Background())
	}
	if err == nil {
		err = d.EnsureRelease(context.Background(), args[2], nil)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(d.URL())
	select {}
}

// TestCrash kills a director with SIGKILL at many moments of a deploy. The next
// one finds a task that is not running, VMs that are whole or gone, and makes of
// them what the same manifest says.
func TestCrash(t *testing.T) {
	release := webRelease(t)
	text := webManifest("web-1", 3, "greeting: hello")
	for n := range 12 {
		t.Run(fmt.Sprintf("after %d lines of events", n*5), func(t *testing.T) {
			t.Parallel()
			crash(t, release, text, n*5)
		})
	}
}

func crash(t *testing.T, release, text string, lines int) {
	d := prepareOnly(t)
	child := exec.Command(os.Args[0], "__director", d.options.State, d.options.Program, release)
	child.Stderr = t.Output()
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	kill := func() {
		if !ended {
			ended = true
			_ = child.Process.Kill()
			_ = child.Wait()
		}
	}
	defer kill()
	ready := bufio.NewScanner(stdout)
	if !ready.Scan() {
		t.Fatal("the director does not start")
	}
	d.connect(ready.Text(), d.options.State)
	posted := d.send("POST", "/deployments", strings.NewReader(text), yamlType)
	task := posted.header.Get("Location")[strings.Index(posted.header.Get("Location"), "/tasks/"):]
	eventually(t, "enough events", func() bool {
		return strings.Count(d.get(task+"/output?type=event").body, "\n") >= lines || strings.Contains(d.get(task).body, `"done"`)
	})
	kill()

	d.start()
	got := d.wait("https://" + d.Addr() + task)
	switch {
	case got.State == "done":
	case got.State == "timeout" && *got.Result == "director restarted":
		for line := range strings.Lines(d.get(task + "/output?type=event").body) {
			if !json.Valid([]byte(line)) {
				t.Errorf("half an event line: %q", line)
			}
		}
	default:
		t.Errorf("after the crash: %+v", got)
	}
	d.deploy(text, "done")
	eventually(t, "three processes", func() bool { return len(d.shells()) == 3 })
	vms, err := filepath.Glob(filepath.Join(d.options.State, "vms", "*"))
	if err != nil || len(vms) != 3 {
		t.Errorf("VM folders: %v, %v", vms, err)
	}
	disks, err := filepath.Glob(filepath.Join(d.options.State, "disks", "*"))
	if err != nil || len(disks) != 3 {
		t.Errorf("disks: %v, %v", disks, err)
	}
	if gone := d.run("DELETE", "/deployments/web-1", "", nil); gone.State != "done" {
		t.Errorf("delete: %+v", gone)
	}
}

// TestCancel cancels a deploy in the middle of a script.
func TestCancel(t *testing.T) {
	d := web(t, 0)
	text := webManifest("web-2", 1, "greeting: hello, slow: 600")
	posted := d.send("POST", "/deployments", strings.NewReader(text), yamlType)
	location := posted.header.Get("Location")
	task := location[strings.Index(location, "/tasks/"):]
	eventually(t, "the script runs", func() bool {
		return strings.Contains(d.get(task+"/output?type=event").body, "executing pre-start")
	})
	var locks []struct {
		Type     string
		Resource []string
		Timeout  string
		TaskID   string `json:"task_id"`
	}
	if err := json.Unmarshal([]byte(d.get("/locks").body), &locks); err != nil || len(locks) != 1 || locks[0].Resource[0] != "web-2" || locks[0].TaskID != filepath.Base(task) {
		t.Errorf("locks %+v, %v", locks, err)
	}
	if list := d.get("/deployments").body; !strings.Contains(list, `"name":"web-2","teams":[],"cloud_config":"none"`) || !strings.Contains(list, `"locked":true`) {
		t.Errorf("deployments %s", list)
	}
	if a := d.send("DELETE", "/task/"+filepath.Base(task), nil, nil); a.status != 204 || a.body != "" {
		t.Errorf("cancel: %+v", a)
	}
	if got := d.wait(location); got.State != "cancelled" || *got.Result != "task cancelled" {
		t.Errorf("cancelled task: %+v", got)
	}
	if a := d.send("DELETE", "/task/"+filepath.Base(task), nil, nil); a.status != 400 || a.body != "Cannot cancel task "+filepath.Base(task)+": invalid state (cancelled)" {
		t.Errorf("cancel again: %+v", a)
	}
	if gone := d.run("DELETE", "/deployments/web-2", "", nil); gone.State != "done" {
		t.Errorf("delete: %+v", gone)
	}
}

// TestWaiting proves our own `Prefer: wait=N`: the answer comes when a task ends.
func TestWaiting(t *testing.T) {
	d := web(t, 0)
	prefer := map[string]string{"Prefer": "wait=50"}
	const active = "/tasks?state=queued,processing,cancelling"
	if a := d.send("GET", active, nil, prefer); a.body != "[]" || a.header.Get("Preference-Applied") != "wait=50" {
		t.Errorf("nothing to wait for: %+v", a)
	}
	posted := d.send("POST", "/deployments", strings.NewReader(webManifest("web-2", 2, "greeting: hello")), yamlType)
	begin := time.Now()
	for {
		a := d.send("GET", active, nil, prefer)
		if a.body == "[]" {
			break
		}
		prefer["If-None-Match"] = a.header.Get("Etag")
	}
	if waited := time.Since(begin); waited > 45*time.Second {
		t.Errorf("the end of the task was told after %v", waited)
	}
	if got := d.wait(posted.header.Get("Location")); got.State != "done" {
		t.Errorf("%+v", got)
	}
}

// TestRefusals are requests that never become a task.
func TestRefusals(t *testing.T) {
	d := web(t, 1)
	for _, c := range []struct {
		method, path, mime, body string
		status                   int
		want                     string
	}{
		{"POST", "/deployments", "application/json", "{}", 404, "Endpoint '/deployments' not found."},
		{"POST", "/deployments", "text/yaml", "a: [", 400, `"code":440001`},
		{"POST", "/deployments", "text/yaml", "name: 'a/b'\n", 500, ""},
		{"POST", "/deployments", "text/yaml", "name: '..'\n", 302, ""},
		{"PUT", "/deployments/web-1/jobs/web/9?state=stopped", "text/yaml", "", 404, `"code":70001`},
		{"PUT", "/deployments/web-1/jobs/web?state=dancing", "text/yaml", "", 400, "dancing"},
		{"GET", "/deployments/web-1/jobs/web/9/logs", "", "", 404, `"code":70001`},
		{"GET", "/resources/..%2Fidentity", "", "", 404, `"code":100002`},
		{"GET", "/tasks/x", "", "", 404, `"code":10000`},
		{"GET", "/releases/nope", "", "", 404, `{"code":30005,"description":"Release 'nope' doesn't exist"}`},
		{"DELETE", "/releases/web?version=9", "", "", 404, `"code":30006`},
		{"DELETE", "/configs?type=cloud&name=nope", "", "", 404, ""},
		{"GET", "/configs/99", "", "", 404, `"code":440012`},
		{"POST", "/cloud_configs", "text/yaml", "- a\n", 400, `{"code":440001,"description":"Manifest should be a hash"}`},
		{"POST", "/deployments/web-1/ssh", "application/json", "{}", 400, "no SSH server"},
		{"GET", "/links", "", "", 404, "Endpoint '/links' not found."},
		{"GET", "/nonsense", "", "", 404, "Not Found: /nonsense"},
	} {
		a := d.send(c.method, c.path, strings.NewReader(c.body), map[string]string{"Content-Type": c.mime})
		if a.status != c.status || !strings.Contains(a.body, c.want) {
			t.Errorf("%s %s: %d %s; want %d %s", c.method, c.path, a.status, a.body, c.status, c.want)
		}
	}
	a := d.send("POST", "/deployments", strings.NewReader(webManifest("web-1", 1, "greeting: hello")),
		map[string]string{"Content-Type": "text/yaml", "X-Bosh-Context-Id": strings.Repeat("x", 65)})
	if a.status != 400 {
		t.Errorf("a context id that is too long: %+v", a)
	}
	secret := d.secret
	d.secret = "wrong"
	if a := d.get("/tasks"); a.status != 401 || a.body != "Not authorized: '/tasks'\n" {
		t.Errorf("wrong password: %+v", a)
	}
	d.secret = secret
}

// TestErrandThatFails: its exit code is the result, the task is done.
func TestErrandThatFails(t *testing.T) {
	d := web(t, 0)
	d.deploy(strings.Replace(webManifest("web-2", 2, "greeting: hello"), "name: check, ", "name: check, properties: {exit: 3}, ", 1), "done")
	got := d.run("POST", "/deployments/web-2/errands/check/runs", `{"keep-alive":false,"instances":[{"group":"web","id":"1"}]}`,
		map[string]string{"Content-Type": "application/json"})
	if got.State != "done" || *got.Result != "0 succeeded, 1 errored, 0 canceled" {
		t.Errorf("%+v", got)
	}
	out := d.get(fmt.Sprintf("/tasks/%d/output?type=result", got.ID)).body
	if !strings.Contains(out, `"errand_name":"check","exit_code":3,"stdout":"checked `) || strings.Count(out, "\n") != 1 {
		t.Errorf("result %s", out)
	}
}
