package orchestrator_test

import (
	"maps"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator"
)

// requiring has two pools, one and two, and a service that needs more of them.
func (h *house) requiring(needs string) map[string]*scripted {
	h.t.Helper()
	directors := h.pooled("", "  name: one\n", "  name: two\n  weight: 0\n")
	files := maps.Clone(plain)
	files["service.yml"] = &fstest.MapFile{Data: []byte(strings.Replace(string(plain["service.yml"].Data), "  plans:\n", "  requires_pool: "+needs+"\n  plans:\n", 1))}
	h.sell(files, nil)
	h.Engine = orchestrator.New(h.options)
	return directors
}

// A new instance goes to a pool whose director has what its service needs, and
// nothing is asked to be deployed elsewhere; where none has, the operator is
// told which lacks what.
func TestWhatAServiceNeedsOfItsDirector(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	directors := h.requiring("{config_server: true, network: manual}")
	for _, d := range directors {
		d.inventory.info.User = "serviceforge"
		d.inventory.cloud = []string{"networks: [{name: default, type: manual}]"}
	}
	directors["two"].inventory.info.ConfigServer = true
	h.run()
	h.until("a", h.create("a").Operation, serviceforge.Succeeded)
	i, err := h.Instance(t.Context(), cc, "a")
	must(t, err)
	if i.Pool != "two" || directors["one"].count("Deploy") > 0 {
		t.Errorf("it is in pool %s; %d deploys in the other one", i.Pool, directors["one"].count("Deploy"))
	}
	findings, err := h.CheckPool(t.Context(), "one")
	must(t, err)
	told := ""
	for _, f := range findings {
		if f.What == "plans" && strings.Contains(f.Says, "plain/small") {
			told = f.Says
		}
	}
	if told != "cannot take plain/small: it has a director without a config server" {
		t.Errorf("told: %s", told)
	}

	directors["two"].inventory.cloud = []string{"networks: [{name: default, type: dynamic}]"}
	failed := h.create("b")
	h.until("b", failed.Operation, serviceforge.Failed)
	if i, err = h.Instance(t.Context(), cc, "b"); err != nil || i.State != serviceforge.FailedCreation || i.Pool != "" {
		t.Errorf("%s in pool %q, %v", i.State, i.Pool, err)
	}
	if want := "pool two: the infrastructure is not ready for plan small: pool two has the network default, which is no manual one"; i.Operation.Cause != want {
		t.Errorf("cause %q, want %q", i.Operation.Cause, want)
	}
}
