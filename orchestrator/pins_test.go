package orchestrator_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge"
	pools "github.com/serviceforge/serviceforge/infrastructure_pools"
	"github.com/serviceforge/serviceforge/orchestrator"
)

// A pool file that is edited moves no instance: updates render with what it was
// made with. An upgrade moves types and stemcells, and never zones and network.
func TestAnEditedPoolFileMovesNobody(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	stop := h.run()
	h.until("a", h.create("a").Operation, serviceforge.Succeeded)
	made := string(h.director.lastPosted())
	stop()
	pool, err := h.options.Pools.Pool("local")
	must(t, err)
	pool.AZs, pool.Network = []string{"z9"}, "elsewhere"
	pool.VMTypes, pool.Stemcells = map[string]string{"small": "bigger", "large": "large"}, map[string]string{"ubuntu-jammy": "9.9"}
	h.options.Pools, err = pools.NewSet(pool)
	must(t, err)
	h.Engine = orchestrator.New(h.options)
	h.run()
	for _, step := range []struct {
		name string
		edit func(*orchestrator.UpdateRequest)
		has  []string
	}{
		{"update", parameters(`{"level": 7}`), []string{`"z1"`, `"default"`, `"vm_type": "small"`, `"version": "1.0"`}},
		{"upgrade", func(r *orchestrator.UpdateRequest) { r.Upgrade = true }, []string{`"z1"`, `"default"`, `"vm_type": "bigger"`, `"version": "9.9"`}},
	} {
		h.until("a", h.change("a", step.edit).Operation, serviceforge.Succeeded)
		posted := string(h.director.lastPosted())
		for _, want := range step.has {
			if !strings.Contains(posted, want) {
				t.Errorf("%s: no %s in\n%s\nbefore it was\n%s", step.name, want, posted, made)
			}
		}
		if strings.Contains(posted, "z9") || strings.Contains(posted, "elsewhere") {
			t.Errorf("%s moved the instance:\n%s", step.name, posted)
		}
	}
	h.until("b", h.create("b").Operation, serviceforge.Succeeded)
	if posted := string(h.director.lastPosted()); !strings.Contains(posted, `"z9"`) || !strings.Contains(posted, "elsewhere") {
		t.Errorf("a new instance is not as the file says:\n%s", posted)
	}
}

// A manifest that would lose data is refused before it is sent.
func TestAnUpdateThatWouldLoseDataIsNotSent(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.run()
	h.until("a", h.create("a").Operation, serviceforge.Succeeded)
	d := h.director
	d.mu.Lock()
	stamp, _, _ := strings.Cut(string(d.deployments["plain-a"].manifest), "\n")
	d.deployments["plain-a"].manifest = fmt.Appendf(nil, "%s\ninstance_groups: [{name: node, instances: 1, persistent_disk_type: small}]\n", stamp)
	d.mu.Unlock()
	posts := d.count("Deploy")
	h.until("a", h.change("a", parameters(`{"level": 7}`)).Operation, serviceforge.Failed)
	i := h.instance("a")
	if d.count("Deploy") != posts || i.State != serviceforge.Running || !strings.Contains(i.Operation.Message, "must not lose its persistent disk") {
		t.Errorf("%d posts; %s: %+v", d.count("Deploy")-posts, i.State, i.Operation)
	}
}
