package spec

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// The ids of 2014.
const (
	Service      = "b9698740-4810-4dc5-8da6-54581f5108c4"
	OneServer    = "6e8ece8c-4fe6-4d58-9aeb-497d6aeba113"
	ThreeServers = "1a448d0e-bc54-4a16-8d2f-ab701be20c40"
)

// Dev is a running `serviceforge dev`.
type Dev struct {
	Account Account
	State   string
	URL     string // of the broker

	t       testing.TB
	args    []string
	command *exec.Cmd
	output  *output
	ended   chan error
}

// output collects what a process prints.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// StartDev starts dev as the account on a folder of its own, with free ports;
// args are added. network is its part of 127.0.0.0/8: specs that may run at
// the same time use different ones.
func StartDev(t testing.TB, a Account, network string, args ...string) *Dev {
	t.Helper()
	state := filepath.Join(Folder(t), "s")
	if err := os.Chmod(filepath.Dir(state), 0o777); err != nil {
		t.Fatal(err)
	}
	d := &Dev{Account: a, State: state, t: t, args: append([]string{
		"dev", "--state", state, "--listen", "127.0.0.1:0", "--bosh-listen", "127.0.0.1:0", "--network", network,
	}, args...)}
	d.Start()
	return d
}

// StartEphemeral starts dev with a temporary folder of its own choice below
// $TMPDIR.
func StartEphemeral(t testing.TB, a Account, network string) *Dev {
	t.Helper()
	d := &Dev{Account: a, t: t, args: []string{
		"dev", "--ephemeral", "--listen", "127.0.0.1:0", "--bosh-listen", "127.0.0.1:0", "--network", network,
	}}
	d.Start()
	return d
}

// Start starts dev (again) and waits until it is ready.
func (d *Dev) Start() {
	d.t.Helper()
	d.output, d.ended = &output{}, make(chan error, 1)
	d.command = d.Account.Command(context.Background(), d.args...)
	d.command.Stdout, d.command.Stderr = d.output, d.output
	if err := d.command.Start(); err != nil {
		d.t.Fatal(err)
	}
	command, ended := d.command, d.ended
	go func() { ended <- command.Wait() }()
	d.t.Cleanup(func() { _ = command.Process.Kill() })
	Eventually(d.t, "dev starts", func() error {
		select {
		case err := <-ended:
			d.t.Fatalf("dev ended: %v\n%s", err, d.output)
		default:
		}
		if !strings.Contains(d.output.String(), "Ctrl-C") {
			return errors.New("it does not say that it is ready")
		}
		return nil
	})
	greeting := regexp.MustCompile(`broker +(http://\S+)[\s\S]*?state +(\S+)`).FindStringSubmatch(d.output.String())
	if greeting == nil {
		d.t.Fatalf("dev does not say where it is:\n%s", d.output)
	}
	d.URL, d.State = greeting[1], greeting[2]
}

// Output is what dev printed.
func (d *Dev) Output() string { return d.output.String() }

// Stop ends dev as Ctrl-C does and returns its exit code.
func (d *Dev) Stop() int { return d.end(syscall.SIGINT) }

// Kill ends dev with SIGKILL.
func (d *Dev) Kill() { d.end(syscall.SIGKILL) }

func (d *Dev) end(signal syscall.Signal) int {
	d.t.Helper()
	if err := d.command.Process.Signal(signal); err != nil {
		d.t.Fatal(err)
	}
	err := <-d.ended
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	return 0
}

// CLI runs a command of the CLI against this dev.
func (d *Dev) CLI(args ...string) (stdout, stderr string, code int) {
	d.t.Helper()
	return d.Account.Run(d.t, append(args, "--state", d.State)...)
}

// Call sends an OSB request as platform cc and decodes the answer into answer
// unless that is nil.
func (d *Dev) Call(method, path string, body, answer any) (status int) {
	d.t.Helper()
	status, err := d.TryCall(method, path, body, answer)
	if err != nil {
		d.t.Fatalf("%s %s: %v\n%s", method, path, err, d.output)
	}
	return status
}

// TryCall is Call for a broker that may be away.
func (d *Dev) TryCall(method, path string, body, answer any) (status int, err error) {
	var content bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&content).Encode(body); err != nil {
			return 0, err
		}
	}
	request, err := http.NewRequest(method, d.URL+path, &content)
	if err != nil {
		return 0, err
	}
	request.SetBasicAuth("cc", "secret")
	request.Header.Set("X-Broker-API-Version", "2.17")
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && answer != nil {
		err = json.Unmarshal(text, answer)
	}
	return response.StatusCode, err
}

// Create asks for an instance and returns its operation.
func (d *Dev) Create(id, plan string) string {
	d.t.Helper()
	var accepted struct{ Operation string }
	status := d.Call("PUT", instance(id)+"?accepts_incomplete=true", map[string]any{
		"service_id": Service, "plan_id": plan, "organization_guid": "o", "space_guid": "s"}, &accepted)
	if status != http.StatusAccepted {
		d.t.Fatalf("create %s: %d", id, status)
	}
	return accepted.Operation
}

// Delete asks for the end of an instance and returns its operation.
func (d *Dev) Delete(id string) string {
	d.t.Helper()
	var accepted struct{ Operation string }
	if status := d.Call("DELETE", instance(id)+"?accepts_incomplete=true", nil, &accepted); status != http.StatusAccepted {
		d.t.Fatalf("delete %s: %d", id, status)
	}
	return accepted.Operation
}

// Await polls until the operation has succeeded. The broker may be away meanwhile.
func (d *Dev) Await(id, operation string) {
	d.t.Helper()
	Eventually(d.t, "the operation on "+id+" succeeds", func() error {
		var last struct{ State, Description string }
		if _, err := d.TryCall("GET", instance(id)+"/last_operation?operation="+url.QueryEscape(operation), nil, &last); err != nil {
			return err
		}
		switch last.State {
		case "succeeded":
			return nil
		case "failed":
			d.t.Fatalf("%s failed: %s\n%s", id, last.Description, d.output)
		}
		return fmt.Errorf("%s: %s", last.State, last.Description)
	})
}

func instance(id string) string { return "/v2/service_instances/" + url.PathEscape(id) }

// Etcds lists the etcd processes of the services.
func (d *Dev) Etcds() []int {
	var pids []int
	for _, pid := range ProcessesOf(d.State) {
		command, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		program, _, _ := bytes.Cut(command, []byte{0})
		if filepath.Base(string(program)) == "etcd" {
			pids = append(pids, pid)
		}
	}
	return pids
}
