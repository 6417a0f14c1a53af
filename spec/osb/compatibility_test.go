package osb_test

import (
	"bytes"
	"encoding/json"
	"mime/multipart"
	"os/exec"
	"strings"
	"testing"
)

// The commands of the README of 2014, word by word (issue 2).
const (
	curlCatalog   = `curl -XGET -u cc:secret http://localhost:5000/v2/catalog`
	curlProvision = `curl -XPUT -u cc:secret -F service_id=b9698740-4810-4dc5-8da6-54581f5108c4 -F plan_id=6e8ece8c-4fe6-4d58-9aeb-497d6aeba113 http://localhost:5000/v2/service_instances/my-etdc-server`
	curlInstance  = `curl -XGET -u cc:secret http://localhost:5000/service_instances/my-etdc-server`
	curlBind      = `curl -XPUT -u cc:secret -F service_id=b9698740-4810-4dc5-8da6-54581f5108c4 -F plan_id=6e8ece8c-4fe6-4d58-9aeb-497d6aeba113 http://localhost:5000/v2/service_instances/my-etdc-server/service_bindings/my-etcd-server-user-1`
	curlUnbind    = `curl -XDELETE -u cc:secret http://localhost:5000/v2/service_instances/my-etdc-server/service_bindings/my-etcd-server-user-1`
	curlDelete    = `curl -XDELETE -u cc:secret http://localhost:5000/v2/service_instances/my-etdc-server`
)

// curl runs a command of 2014 against this broker: by curl where there is one,
// else by sending what curl sends. It returns the status and the JSON.
func (p *platform) curl(t *testing.T, command string) (int, map[string]any) {
	t.Helper()
	command = strings.Replace(command, "http://localhost:5000", p.url, 1)
	if _, err := exec.LookPath("curl"); err == nil {
		return runCurl(t, strings.Fields(command))
	}
	return p.likeCurl(t, strings.Fields(command))
}

func runCurl(t *testing.T, words []string) (int, map[string]any) {
	t.Helper()
	out, err := exec.Command(words[0], append(words[1:], "-sS", "-w", "\n%{http_code}")...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", words, err, out)
	}
	text := strings.TrimSpace(string(out))
	at := strings.LastIndexByte(text, '\n')
	var status int
	if json.Unmarshal([]byte(text[at+1:]), &status) != nil {
		t.Fatalf("%v: %s", words, out)
	}
	return status, object(t, text[:at])
}

func object(t *testing.T, text string) map[string]any {
	t.Helper()
	var o map[string]any
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		t.Fatalf("no JSON object: %v: %s", err, text)
	}
	return o
}

// likeCurl sends what curl sends: a multipart form, Expect: 100-continue, and
// no header of OSB.
func (p *platform) likeCurl(t *testing.T, words []string) (int, map[string]any) {
	t.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	r := row{header: map[string]string{"X-Broker-API-Version": "", "X-Broker-API-Request-Identity": "", "Content-Type": ""}}
	for i, word := range words {
		switch {
		case strings.HasPrefix(word, "-X"):
			r.method = word[2:]
		case word == "-F":
			name, value, _ := strings.Cut(words[i+1], "=")
			if err := form.WriteField(name, value); err != nil {
				t.Fatal(err)
			}
			r.header["Content-Type"], r.header["Expect"] = form.FormDataContentType(), "100-continue"
		case strings.HasPrefix(word, "http://"):
			path, found := strings.CutPrefix(word, p.url+"/v2")
			if !found {
				path = "/.." + strings.TrimPrefix(word, p.url)
			}
			r.path = path
		}
	}
	if r.header["Expect"] != "" {
		_ = form.Close()
		r.body = body.String()
	}
	a := p.send(t, r)
	return a.status, a.json
}

// TestCommandsOf2014 runs the session of the old README.
func TestCommandsOf2014(t *testing.T) {
	t.Parallel()
	p := startBroker(t, false)
	if status, catalog := p.curl(t, curlCatalog); status != 200 || catalog["services"] == nil {
		t.Fatalf("catalog: %d %v", status, catalog)
	}
	status, made := p.curl(t, curlProvision)
	if url, _ := made["dashboard_url"].(string); status != 202 || url != p.url+"/service_instances/my-etdc-server" {
		t.Fatalf("provision: %d %v", status, made)
	}
	status, refused := p.curl(t, curlBind)
	says, _ := refused["error"].(string)
	state, found := strings.CutPrefix(says, "Service Instance not ready for binding; state ")
	if status != 403 || !found || len(refused) != 1 || state != "initialized" && state != "deploying" {
		t.Fatalf("bind too early: %d %v", status, refused)
	}
	var shown map[string]any
	eventually(t, "the instance is running", func() bool {
		status, shown = p.curl(t, curlInstance)
		if status != 200 {
			t.Fatalf("instance: %d %v", status, shown)
		}
		switch shown["state"] {
		case "initialized", "deploying":
			return false
		case "running":
			return true
		}
		t.Fatalf("state %v: %v", shown["state"], shown)
		return true
	})
	for key, want := range map[string]any{
		"service_id": service, "service_instance_id": "my-etdc-server", "service_plan_id": oneServer, "deployment_name": "etcd-my-etdc-server",
	} {
		if shown[key] != want {
			t.Errorf("%s: %v, want %v", key, shown[key], want)
		}
	}
	if task, _ := shown["latest_bosh_deployment_task_id"].(string); task == "" || shown["infrastructure_network"] == nil {
		t.Errorf("%v", shown)
	}
	status, bound := p.curl(t, curlBind)
	credentials, _ := bound["credentials"].(map[string]any)
	if status != 201 || credentials["host"] == nil || credentials["password"] == nil {
		t.Fatalf("bind: %d %v", status, bound)
	}
	if status, again := p.curl(t, curlBind); status != 200 {
		t.Errorf("bind again: %d %v", status, again)
	}
	if status, done := p.curl(t, curlUnbind); status != 200 || len(done) != 0 {
		t.Errorf("unbind: %d %v", status, done)
	}
	if status, done := p.curl(t, curlDelete); status != 202 {
		t.Errorf("delete: %d %v", status, done)
	}
	eventually(t, "the instance is gone", func() bool {
		status, shown = p.curl(t, curlInstance)
		return status == 404
	})
}
