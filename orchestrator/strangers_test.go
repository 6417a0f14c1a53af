package orchestrator_test

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator/director"
	"github.com/serviceforge/serviceforge/orchestrator/ownership"
)

// Deployments that are not ours to touch, with a manifest and without one: every
// command leaves them alone, but for `orphans delete --i-own NAME`.
func TestWhatIsNotOursIsLeftAloneByEveryCommand(t *testing.T) {
	t.Parallel()
	const nobodys = "01ARZ3NDEKTSV4RRFFQ69G5FAV.deploy.0"
	for _, test := range []struct {
		name     string
		manifest func(broker string) string
		posted   string // the context id of the task that posted it
		group    ownership.Group
	}{
		{"foreign, with our prefix", func(string) string { return "name: plain-x\n" }, "", ownership.Foreign},
		{"foreign, with our prefix, never deployed", nil, "by-hand", ownership.Foreign},
		{"foreign, with our prefix, no task is known", nil, "", ownership.Foreign},
		{"a second broker's", func(string) string {
			return "# serviceforge broker=01SECOND instance=x operation=01SECONDOPERATION\n"
		}, "01SECONDOPERATION.deploy.0", ownership.Foreign},
		{"a second broker's, never deployed", nil, "01SECONDOPERATION.deploy.0", ownership.Foreign},
		{"ours, its record was lost", func(broker string) string {
			return "# serviceforge broker=" + broker + " instance=x operation=01ARZ3NDEKTSV4RRFFQ69G5FAV\n"
		}, nobodys, ownership.Unknown},
		{"ours, its record was lost, never deployed", nil, nobodys, ownership.Foreign},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			manifest := ""
			if test.manifest != nil {
				manifest = test.manifest(h.store.BrokerID())
			}
			h.director.stands("plain-x", manifest, test.posted)
			if left := h.strays(); len(left) != 1 || left[0].Group != test.group {
				t.Errorf("strays: %+v", left)
			}
			h.run()
			h.until("x", h.create("x").Operation, serviceforge.Failed)
			h.until("x", h.repair("x").Operation, serviceforge.Failed)
			h.until("x", h.remove("x").Operation, serviceforge.Succeeded)
			h.takenOverWhilePlaced("x")
			_, err := h.DeleteStray(t.Context(), serviceforge.Caller{}, "", "plain-x", 0, false)
			code(t, err, serviceforge.Forbidden)
			if h.director.count("Deploy") != 0 || h.director.count("Delete") != 0 || h.director.count("Cancel") != 0 {
				t.Fatal("it was not left alone")
			}
			_, err = h.DeleteStray(t.Context(), serviceforge.Caller{}, "", "plain-x", 0, true)
			must(t, err)
			if h.director.count("Delete") != 1 || len(h.director.deployments) != 0 {
				t.Error("who owns it could not delete it")
			}
		})
	}
}

// takenOverWhilePlaced creates an instance and deletes it while its name cannot
// be looked up.
func (h *house) takenOverWhilePlaced(id string) {
	h.t.Helper()
	var away atomic.Bool
	away.Store(true)
	h.director.mu.Lock()
	h.director.fault = func(_, call string) error {
		if call == "Manifest" && away.Load() {
			return lost(call)
		}
		return nil
	}
	h.director.mu.Unlock()
	h.create(id)
	eventually(h.t, func() (int, error) {
		if i, err := h.store.Instance(h.t.Context(), id); err != nil || i.Operation.Repeats == 0 {
			return 0, errors.New("its name was not looked up yet")
		}
		return 0, nil
	})
	removed := h.remove(id)
	away.Store(false)
	h.until(id, removed.Operation, serviceforge.Succeeded)
}

// Between the look and the deletion somebody makes a deployment of the same
// name anew: it is left alone.
func TestAnOrphanThatBecomesSomebodyElsesIsLeftAlone(t *testing.T) {
	t.Parallel()
	orphaned := func(t *testing.T) (*house, func(state string)) {
		h := newHouse(t)
		stop := h.run()
		operation := h.deleted("a")
		stop()
		h.director.stands("plain-a", "", operation+".deploy.0")
		return h, func(state string) {
			h.director.mu.Lock()
			defer h.director.mu.Unlock()
			h.director.task(director.Task{State: director.TaskDone, Deployment: "plain-a", Description: "delete deployment plain-a"})
			h.director.task(director.Task{State: state, Deployment: "plain-a", Description: "create deployment"})
		}
	}
	for _, test := range []struct {
		name, at string
		when     string
		nth      int
		state    string
		want     serviceforge.Code
		deletes  int
	}{
		{"before the first look", "Manifest", "before", 1, director.TaskError, serviceforge.Forbidden, 0},
		{"between the looks", "Tasks", "before", 2, director.TaskError, serviceforge.Conflict, 0},
		{"between the looks, and it runs", "Tasks", "before", 2, director.TaskProcessing, serviceforge.NotReady, 0},
		{"after the last look", "Delete", "before", 1, director.TaskProcessing, serviceforge.Conflict, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h, anew := orphaned(t)
			calls, deletes := 0, h.director.count("Delete")
			h.director.fault = func(when, call string) error {
				if when == test.when && call == test.at {
					if calls++; calls == test.nth {
						anew(test.state)
					}
				}
				return nil
			}
			_, err := h.DeleteStray(t.Context(), serviceforge.Caller{}, "", "plain-a", 0, false)
			h.director.live()
			code(t, err, test.want)
			if got := h.director.count("Delete") - deletes; got != test.deletes || h.director.deployments["plain-a"] == nil {
				t.Errorf("%d deletions; deployments %v", got, h.director.deployments)
			}
		})
	}
	// Nobody comes between: it goes, and who makes the name anew is left alone.
	h, _ := orphaned(t)
	_, err := h.DeleteStray(t.Context(), serviceforge.Caller{}, "", "plain-a", 0, false)
	must(t, err)
	h.director.stands("plain-a", "", "somebody.deploy.0")
	_, err = h.DeleteStray(t.Context(), serviceforge.Caller{}, "", "plain-a", 0, false)
	code(t, err, serviceforge.Forbidden)
}
