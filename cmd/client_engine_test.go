package cmd

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/admin"
)

func TestHistoryCommand(t *testing.T) {
	c := newTerminal(t)
	c.ok("create-service", "etcd-dedicated", "1-server", "a", "--no-wait")
	c.Fail(t, "a", "It failed", "the cause\nin two lines")
	out, _ := c.ok("history", "a")
	for _, want := range []string{"time", "provision in progress", "provision failed", "token 1", "initialized → failed_deployment", "the cause\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	var changes []admin.Change
	if out, _ = c.ok("history", "a", "--json"); json.Unmarshal([]byte(out), &changes) != nil || len(changes) != 2 {
		t.Errorf("JSON: %s", out)
	}
	c.fails("nothing is known", "history", "nope")
}

func TestExplainCommand(t *testing.T) {
	c := newTerminal(t)
	c.ok("create-service", "etcd-dedicated", "1-server", "a", "--no-wait")
	if out, _ := c.ok("explain", "a"); !strings.Contains(out, "the engine\n") {
		t.Errorf("%s", out)
	}
	c.Fail(t, "a", "It failed", "task 7: Failed to reserve IP for 'x': no more available")
	out, _ := c.ok("explain", "a")
	for _, want := range []string{"failed_deployment", "provision failed", "ips_exhausted", "It failed", "delete failed deployments"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	var x admin.Explanation
	if out, _ = c.ok("explain", "a", "--json"); json.Unmarshal([]byte(out), &x) != nil || x.Class != "ips_exhausted" {
		t.Errorf("JSON: %s", out)
	}
	c.fails("there is no service instance", "explain", "nope")
}

func TestEngineCommand(t *testing.T) {
	c := newTerminal(t)
	if out, _ := c.ok("engine", "status"); !strings.Contains(out, "at work") || !strings.Contains(out, "nobody at the moment") {
		t.Errorf("%s", out)
	}
	if out, _ := c.ok("engine", "pause", "--reason", "a new director"); !strings.Contains(out, "paused") || !strings.Contains(out, "by token 1") {
		t.Errorf("%s", out)
	}
	c.ok("create-service", "etcd-dedicated", "1-server", "a", "--no-wait") // accepted all the same
	if out, _ := c.ok("explain", "a"); !strings.Contains(out, "a new director") || !strings.Contains(out, "engine resume") {
		t.Errorf("%s", out)
	}
	var status admin.Engine
	if out, _ := c.ok("engine", "resume", "--json"); json.Unmarshal([]byte(out), &status) != nil || status.Paused || status.Actor != "token 1" {
		t.Errorf("JSON: %s", out)
	}
}

func TestRepairCommand(t *testing.T) {
	c := newTerminal(t)
	c.ok("create-service", "etcd-dedicated", "1-server", "a", "--no-wait")
	c.fails("is in progress: `serviceforge explain`", "repair", "a")
	c.Fail(t, "a", "It failed", "cause")
	var accepted admin.Accepted
	if out, _ := c.ok("repair", "a", "--no-wait", "--json"); json.Unmarshal([]byte(out), &accepted) != nil || accepted.Kind != serviceforge.Provision {
		t.Errorf("JSON: %s", out)
	}
	c.Succeed(t, "a")
	if _, side := c.ok("repair", "a", "--no-wait"); !strings.Contains(side, "repair of a started") {
		t.Errorf("side %q", side)
	}
	c.Succeed(t, "a")
	go func() {
		for c.t.Context().Err() == nil {
			i, err := c.Store.Instance(c.t.Context(), "a")
			if err == nil && i.Busy() {
				c.Fail(t, "a", "The deployment etcd-a is gone", "cause")
				return
			}
		}
	}()
	c.fails(`the repair of "a" failed: The deployment etcd-a is gone`, "repair", "a")
	c.fails("there is no service instance", "repair", "nope")
}
