package orchestrator_test

import (
	"slices"
	"testing"

	"github.com/serviceforge/serviceforge"
)

// The order of what is posted: an organization that orders much does not keep
// the others waiting, whichever replica leads.
func TestOrganizationsTakeTurns(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	director := h.pooled("", "  name: lab\n  max_in_flight: 1\n")["lab"]
	director.hold = true
	operations := map[string]string{}
	for _, id := range []string{"a1", "a2", "a3", "a4", "b1", "b2", "c1"} {
		r := order(id)
		r.OrganizationGUID = id[:1]
		accepted, err := h.Provision(t.Context(), r)
		must(t, err)
		operations[id] = accepted.Operation
	}
	stop := h.run()
	director.awaitRunning(t, 1)
	stop()
	h.run() // another leader finds the line as it was
	director.finish()
	for id, operation := range operations {
		h.until(id, operation, serviceforge.Succeeded)
	}
	var got []string
	for _, task := range director.tasks {
		got = append(got, task.Deployment)
	}
	// The new leader does not know whose turn was last: the rotation begins anew.
	if want := []string{"plain-a1", "plain-a2", "plain-b1", "plain-c1", "plain-a3", "plain-b2", "plain-a4"}; !slices.Equal(got, want) {
		t.Errorf("posted %v, want %v", got, want)
	}
}
