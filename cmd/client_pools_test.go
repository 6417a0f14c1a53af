package cmd

import (
	"strings"
	"testing"
)

func TestPoolCommands(t *testing.T) {
	c := newTerminal(t)
	out, _ := c.ok("pools")
	if !strings.Contains(out, "local") || !strings.Contains(out, "active") || !strings.Contains(out, "no director is configured") {
		t.Errorf("pools: %s", out)
	}
	c.fails("--reason", "cordon", "local")
	c.fails(`there is no infrastructure pool "nope" (`+"`serviceforge pools` lists them)", "drain", "nope", "--reason", "x")
	if out, _ := c.ok("cordon", "local", "--reason", "new racks"); out != "local takes no new instances\n" {
		t.Errorf("cordon: %s", out)
	}
	if out, _ := c.ok("pools"); !strings.Contains(out, "cordoned: new racks (token 1)") {
		t.Errorf("pools: %s", out)
	}
	c.fails("no infrastructure pool can take plan 1-server now", "create-service", "etcd-dedicated", "1-server", "a", "--no-wait")
	if out, _ := c.ok("drain", "local", "--reason", "it goes away", "--json"); !strings.Contains(out, `"state": "draining"`) {
		t.Errorf("drain --json: %s", out)
	}
	if out, _ := c.ok("pools", "--json"); !strings.Contains(out, `"state": "draining"`) || !strings.Contains(out, `"reason": "it goes away"`) {
		t.Errorf("pools --json: %s", out)
	}
	c.ok("uncordon", "local")
	c.ok("create-service", "etcd-dedicated", "1-server", "a", "--no-wait")
	c.fails("1 of 1 checks failed", "pools", "check")
	c.fails("there is no infrastructure pool", "pools", "check", "nope")
}

func TestOrphanCommands(t *testing.T) {
	c := newTerminal(t)
	c.fails("not everything could be looked at: pool local: the infrastructure pool local has no director", "orphans")
	c.fails("name the deployments", "orphans", "delete")
	c.fails("has no director", "orphans", "delete", "--i-own", "etcd-x")
}
