package cmd

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/admin"
	"github.com/serviceforge/serviceforge/spec/osb/scene"
)

// updated waits until an update runs, and ends it as the engine would have.
func (c *terminal) updated(id string, end func(i *serviceforge.Instance)) {
	deadline := time.After(30 * time.Second)
	for {
		i, err := c.Store.Instance(c.t.Context(), id)
		if err == nil && i.Busy() && i.Operation.Kind == serviceforge.Update {
			end(&i)
			err = c.Store.PutInstance(c.t.Context(), &i, 0)
		} else if err == nil {
			err = errors.New("no update runs")
		}
		if err == nil {
			return
		}
		select {
		case <-deadline:
			c.t.Error(err)
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func TestUpdateService(t *testing.T) {
	c := newTerminal(t)
	c.ok("create-service", "etcd-dedicated", "1-server", "a", "--no-wait")
	c.fails("the provision of service instance", "update-service", "a", "-p", "3-servers")
	c.Succeed(t, "a")
	c.fails("what is to be changed?", "update-service", "a")
	c.fails("is not a JSON object", "update-service", "a", "-c", "{")
	c.fails(`has no plan "9-servers"`, "update-service", "a", "-p", "9-servers")
	c.fails("plan 1-server cannot be changed to 5-servers; it can be changed to 3-servers", "update-service", "a", "-p", "5-servers")
	c.fails("snapshot_count must be at least 1000", "update-service", "a", "-c", `{"snapshot_count": 1}`)
	c.fails("there is no service instance", "update-service", "nope", "--upgrade")
	if out, _ := c.ok("update-service", "a", "-p", "1-server"); !strings.Contains(out, "a is so already: etcd-dedicated 1-server") {
		t.Errorf("out %q", out)
	}
	go c.updated("a", func(i *serviceforge.Instance) {
		i.Fulfil()
		i.Operation.State, i.Operation.Step = serviceforge.Succeeded, serviceforge.Ready
	})
	out, side := c.ok("update-service", "a", "-p", "3-servers", "-c", `{"snapshot_count": 5000}`)
	if !strings.Contains(out, "a is updated: etcd-dedicated 3-servers") || !strings.Contains(side, "succeeded after") {
		t.Errorf("out %q, side %q", out, side)
	}
	if i, err := c.Store.Instance(t.Context(), "a"); err != nil || i.PlanID != scene.ThreeServers || i.Parameters.Reveal() != `{"snapshot_count":5000}` {
		t.Errorf("%+v %v", i, err)
	}
	go c.updated("a", func(i *serviceforge.Instance) {
		i.Operation.State, i.Operation.Message = serviceforge.Failed, "It went wrong"
	})
	c.fails(`the update of "a" failed: It went wrong`, "update-service", "a", "-c", `{"snapshot_count": 6000}`)
	started, _ := c.ok("update-service", "a", "-c", `{"snapshot_count": 7000}`, "--no-wait", "--json")
	var accepted admin.Accepted
	if json.Unmarshal([]byte(started), &accepted) != nil || accepted.Operation == "" || accepted.Done {
		t.Errorf("JSON: %s", started)
	}
}
