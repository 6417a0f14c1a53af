// Package docs_test runs what the documentation tells its reader to run, as it
// is written there, and looks for what the documentation promises.
package docs_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge/spec"
)

type promise struct {
	command string
	keeps   func(output string) error
}

// promises say what the README lets a reader expect of a command, by how the
// command begins. Commands without a row must only succeed.
var promises = []promise{
	{"go run ./cmd/serviceforge demo", has("create", "3-servers", "bind", "use", "crash", "unbind", "delete", "nothing left", "The demo took")},
	{"serviceforge catalog", has("etcd-dedicated", "1-server", "3-servers")},
	{"serviceforge create-service etcd-dedicated 3-servers my-etcd", has("my-etcd runs")},
	{"serviceforge services", has("my-etcd", "3-servers", "running")},
	{"serviceforge bind my-etcd my-app", has(`"username"`, `"password"`, `"host"`)},
	{"serviceforge update-service my-etcd", has("my-etcd is updated")},
	{"serviceforge quota", times(1, `(?m)^broker +- +ips +3 +6$`)},
	{"serviceforge delete-service", has("my-etcd is deleted")},

	{"serviceforge install releases/redis", has("redis/1.0.0")},
	{"serviceforge create-service redis-dedicated 2-servers my-redis", has("my-redis runs")},
	{"serviceforge bind my-redis my-app", has(`"uri": "rediss://`, `"server_name"`)},
	{"serviceforge delete-service -f my-redis", has("my-redis is deleted")},

	// Without a terminal the bosh CLI prints rows, no headers.
	{"bosh env", has("serviceforge", "283.", "config_server: enabled", "admin")},
	{"bosh deployments", has("etcd-my-etcd", "bpm/", "etcd-service/", "bosh-local-ubuntu-jammy")},
	{"bosh vms", times(3, `(?m)^etcd/\S+\s+running\s`)},
	{"bosh instances --ps", times(6, `(?m)^etcd/\S+\s+(-|etcd)\s+running\s`)}, // an instance and its process
	{"bosh tasks --recent", has("done", "etcd-my-etcd", "create deployment")},
	{"bosh task 1", times(3, `Task 1 .*\| Creating missing vms: etcd/\S+ \(\d\) \(\d`, "Compiling packages: etcd/", "executing post-start: etcd/")},
	{"bosh -d etcd-my-etcd manifest", has(`"name": "etcd-my-etcd"`, `"instance_groups":`)},

	{"curl -XGET -u cc:secret http://localhost:5000/v2/catalog", answers("services")},
	{"curl -XPUT -u cc:secret -F service_id=b9698740-4810-4dc5-8da6-54581f5108c4 -F plan_id=6e8ece8c-4fe6-4d58-9aeb-497d6aeba113 http://localhost:5000/v2/service_instances/my-etdc-server/service_bindings/", answers("credentials")},
	{"curl -XPUT -u cc:secret -F service_id=b9698740-4810-4dc5-8da6-54581f5108c4 -F plan_id=5cfa57fc-1474-4eb9-9afb ", has(`"description"`, "the limit of 6 ips for the broker is used up")},
	{"curl -XPUT", answers("dashboard_url")},
	{"curl -XGET -u cc:secret http://localhost:5000/service_instances/my-etdc-server", answers("state", "service_instance_id")},
	{"curl -XPATCH", answers("operation")},
	{"curl -XGET -u cc:secret http://localhost:5000/v2/service_instances/my-etdc-server/last_operation", answers("state")},
	{"curl -XPUT -u cc:secret -d '{\"service_id\"", answers("operation")},
	{"curl -u cc:secret http://localhost:5000/v2/service_instances/my-etdc-server/service_bindings/app/last_operation", answers("state")},
	{"curl -u cc:secret http://localhost:5000/v2/service_instances/my-etdc-server/service_bindings/app", answers("credentials", "endpoints")},
	{"curl -XPUT -u cc:secret -d '{\"predecessor", answers("credentials", "endpoints")},
	{"curl -XDELETE", answers()},
}

// until says what a reader waits for, by how the prose before a block begins:
// the last command of the block before is run again until it says so.
var until = map[string]string{
	"When its `state` is `running`":   `"state": ?"running"`,
	"The server becomes three":        `"state": ?"succeeded"`,
	"When its `state` is `succeeded`": `"state": ?"succeeded"`,
}

// has wants all words in the output.
func has(words ...string) func(string) error {
	return func(output string) error {
		for _, word := range words {
			if !strings.Contains(output, word) {
				return fmt.Errorf("it does not say %q", word)
			}
		}
		return nil
	}
}

// times wants n matches of the pattern, and all words.
func times(n int, pattern string, words ...string) func(string) error {
	return func(output string) error {
		if got := len(regexp.MustCompile(pattern).FindAllString(output, -1)); got != n {
			return fmt.Errorf("it says %s %d times, want %d", pattern, got, n)
		}
		return has(words...)(output)
	}
}

// answers wants a JSON object that is no error and has the keys.
func answers(keys ...string) func(string) error {
	return func(output string) error {
		var got map[string]any
		if err := json.Unmarshal([]byte(output), &got); err != nil {
			return fmt.Errorf("it is no JSON object: %w", err)
		}
		if got["error"] != nil || got["description"] != nil && got["state"] == nil { // an instance has a description too
			return fmt.Errorf("it is an error")
		}
		for _, key := range keys {
			if got[key] == nil {
				return fmt.Errorf("it has no %q", key)
			}
		}
		return nil
	}
}

// TestEveryCommandOfTheReadme is a reader who types all of README.md, from top
// to bottom.
func TestEveryCommandOfTheReadme(t *testing.T) { typed(t, "README.md", promises, until) }

// typed types all commands of a document as its reader does, from top to bottom,
// and wants what they promise.
func typed(t *testing.T, document string, promises []promise, until map[string]string) {
	t.Helper()
	if _, err := exec.LookPath("curl"); err != nil {
		spec.Skip(t, document+" needs curl, which is not here; its commands were NOT run")
	}
	for _, address := range []string{"127.0.0.1:5000", "127.0.0.1:25555"} {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatalf("the commands of %s use %s, which is taken: end what listens there (%v)", document, address, err)
		}
		_ = listener.Close()
	}
	checkout := root(t)
	text := readFile(t, filepath.Join(checkout, document))
	_, environment := home(t)
	reader := terminal(t, checkout, environment)
	interrupt := func() {}
	kept, commands, last := map[string]bool{}, 0, ""
	for _, b := range blocks(text) {
		for start, wanted := range until {
			if strings.HasPrefix(strings.TrimSpace(b.prose), start) {
				kept[start] = true
				await(t, reader, last, regexp.MustCompile(wanted))
			}
		}
		for _, line := range b.lines {
			commands++
			switch b.info {
			case "sh long":
				notRun(t, checkout, document, line)
			case "sh dev":
				interrupt = background(t, checkout, environment, line)
			case "sh redis", "sh":
				if b.info == "sh redis" && lacks(t, "/usr/bin/redis-server") {
					kept[promised(promises, line).command] = true
					continue
				}
				t.Logf("$ %s", line)
				output := reader.run(line)
				if p := promised(promises, line); p.keeps != nil {
					kept[p.command] = true
					if err := p.keeps(output); err != nil {
						t.Errorf("%s: %v\n%s", line, err, output)
					}
				}
				last = line
			default:
				t.Fatalf("a block of kind %q; this spec knows sh, sh redis, sh dev and sh long", b.info)
			}
		}
	}
	await(t, reader, "serviceforge services", regexp.MustCompile("No service instances")) // nothing is left of the session
	interrupt()
	for _, p := range promises {
		if !kept[p.command] {
			t.Errorf("%s has no command %q any more; this spec has a row for it", document, p.command)
		}
	}
	for start := range until {
		if !kept[start] {
			t.Errorf("%s has no %q any more", document, start)
		}
	}
	t.Logf("%d commands", commands)
}

// promised finds the row of a command: the longest one it begins with.
func promised(promises []promise, line string) (found promise) {
	for _, p := range promises {
		if strings.HasPrefix(line, p.command) && len(p.command) > len(found.command) {
			found = p
		}
	}
	return found
}

// await repeats a command, as a reader does, until its output matches.
func await(t *testing.T, s *shell, line string, wanted *regexp.Regexp) {
	t.Helper()
	spec.Eventually(t, line, func() error {
		if output := s.run(line); !wanted.MatchString(output) {
			return fmt.Errorf("%s", output)
		}
		return nil
	})
}

// lacks says, loudly, whether a program is missing that a block needs.
func lacks(t *testing.T, program string) bool {
	t.Helper()
	if _, err := os.Stat(program); err == nil {
		return false
	}
	if os.Getenv("SERVICEFORGE_REQUIRE") == "all" {
		t.Fatalf("NOT TESTED: there is no %s", program)
	}
	_, _ = fmt.Fprintf(os.Stderr, "SKIP %s: commands that need %s\n", t.Name(), program)
	return true
}

// notRun looks only whether Go knows the packages that a command names.
func notRun(t *testing.T, checkout, document, line string) {
	t.Run(line, func(t *testing.T) {
		packages, found := strings.CutPrefix(line, "go test ")
		if !found {
			t.Fatal("this spec does not know how to look at it without running it")
		}
		list := exec.Command("go", "list", packages)
		list.Dir = checkout
		if out, err := list.CombinedOutput(); err != nil || strings.Count(string(out), "\n") < 20 {
			t.Fatalf("%v\n%s", err, out)
		}
		t.Logf("%q is in %s; this spec is a part of it", line, document)
	})
}
