package orchestrator_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator"
)

// deleted makes an instance and deletes it: what remains is a tombstone, and
// the id of its first operation.
func (h *house) deleted(id string) (operation string) {
	h.t.Helper()
	h.until(id, h.create(id).Operation, serviceforge.Succeeded)
	i, err := h.Instance(h.t.Context(), cc, id)
	must(h.t, err)
	h.until(id, h.remove(id).Operation, serviceforge.Succeeded)
	return i.Operations[0]
}

// stands puts a deployment onto a director; an empty manifest is one that was
// never deployed, with a task of that context id.
func (d *scripted) stands(name, manifest, contextID string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.deployments[name] = &deployment{manifest: []byte(manifest)}
	if contextID != "" {
		d.task(orchestrator.Task{State: orchestrator.TaskError, Deployment: name, ContextID: contextID})
	}
}

// Three groups, with and without a manifest. What has an instance, and what has
// another name, is in none of them.
func TestWhoseADeploymentIs(t *testing.T) {
	h := newHouse(t)
	h.run()
	d := h.director
	h.until("running", h.create("running").Operation, serviceforge.Succeeded)
	stamp := func(broker, instance string) string {
		return fmt.Sprintf("# serviceforge broker=%s instance=%s operation=o\n\"name\": \"x\"\n", broker, instance)
	}
	ours := h.store.BrokerID()
	h.deleted("gone")
	gone := h.deleted("gone-null")
	h.deleted("gone-foreign")
	d.stands("plain-gone", stamp(ours, "gone"), "")
	d.stands("plain-gone-null", "", gone+".deploy.0")
	d.stands("plain-gone-foreign", "", "somebody.deploy.0")
	d.stands("plain-lost", stamp(ours, "lost"), "")
	d.stands("plain-lost-null", "", "01ARZ3NDEKTSV4RRFFQ69G5FAV.deploy.0") // nothing says that it was ours
	d.stands("plain-second", stamp("another-broker", "second"), "")
	d.stands("plain-by-hand", "name: plain-by-hand\n", "")
	d.stands("plain-never", "", "")
	d.stands("cf", "name: cf\n", "")
	strays, err := h.Strays(t.Context())
	must(t, err)
	var got []string
	for _, s := range strays {
		got = append(got, fmt.Sprintf("%s %s %s %v %v", s.Deployment, s.Group, s.Instance, s.Deployed, !s.DeletedAt.IsZero()))
	}
	want := []string{
		"plain-by-hand foreign  true false",
		"plain-gone orphan gone true true",
		"plain-gone-foreign foreign  false false",
		"plain-gone-null orphan gone-null false true",
		"plain-lost unknown lost true false",
		"plain-lost-null foreign  false false",
		"plain-never foreign  false false",
		"plain-second foreign  true false",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	h.deletesOnlyOrphans(want)
}

// deletesOnlyOrphans tries to delete all strays: orphans go after the grace
// period, the others only when somebody answers for them.
func (h *house) deletesOnlyOrphans(strays []string) {
	t, operator := h.t, orchestrator.Caller{Actor: "token 1"}
	t.Helper()
	before := h.director.count("Delete")
	for _, stray := range strays {
		words := strings.Split(stray, " ")
		want := serviceforge.Forbidden
		if words[1] == "orphan" {
			want = serviceforge.NotReady
		}
		_, err := h.DeleteStray(t.Context(), operator, "", words[0], time.Hour, false)
		code(t, err, want)
	}
	for name, want := range map[string]serviceforge.Code{"plain-running": serviceforge.Conflict, "plain-nothing": serviceforge.NotFound} {
		for _, own := range []bool{false, true} {
			_, err := h.DeleteStray(t.Context(), operator, "", name, 0, own)
			code(t, err, want)
		}
	}
	if h.director.count("Delete") != before {
		t.Fatal("something was deleted that was to be left alone")
	}
	for _, stray := range strays {
		words := strings.Split(stray, " ")
		if words[1] == "orphan" {
			_, err := h.DeleteStray(t.Context(), operator, "local", words[0], 0, false)
			must(t, err)
		}
	}
	left, err := h.Strays(t.Context())
	must(t, err)
	if len(left) != len(strays)-2 {
		t.Errorf("left: %v", left)
	}
	for _, s := range left {
		if s.Group == orchestrator.Orphan {
			t.Errorf("%s is still there", s.Deployment)
		}
		_, err := h.DeleteStray(t.Context(), operator, "", s.Deployment, time.Hour, true)
		must(t, err)
	}
	if left, err := h.Strays(t.Context()); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	if d := h.director.deployments; len(d) != 2 || d["cf"] == nil || d["plain-running"] == nil {
		t.Errorf("deployments %v", d)
	}
}

// An orphan whose id was taken again is the new instance's: it is not deleted.
func TestAnOrphanWhoseInstanceIsBackIsLeftAlone(t *testing.T) {
	h := newHouse(t)
	stop := h.run()
	h.deleted("a")
	stop()
	h.director.stands("plain-a", fmt.Sprintf("# serviceforge broker=%s instance=a operation=o\n", h.store.BrokerID()), "")
	h.create("a") // accepted; no engine runs
	for _, own := range []bool{false, true} {
		_, err := h.DeleteStray(t.Context(), orchestrator.Caller{}, "", "plain-a", 0, own)
		code(t, err, serviceforge.Conflict)
	}
	h.run()
	eventually(t, func() (int, error) {
		p, err := h.LastOperation(t.Context(), cc, "a", "")
		if err == nil && p.State != serviceforge.Succeeded {
			err = fmt.Errorf("%+v", p)
		}
		return 0, err
	})
}

func TestOneNameOnTwoDirectors(t *testing.T) {
	h := newHouse(t)
	directors := h.pooled("", "  name: one\n  director: {url: 'https://a'}\n", "  name: two\n  director: {url: 'https://b'}\n", "  name: three\n  director: {url: 'https://a'}\n")
	directors["one"].stands("plain-x", "name: plain-x\n", "")
	directors["two"].stands("plain-x", "name: plain-x\n", "")
	directors["three"].stands("plain-not-asked", "name: x\n", "") // one and three share a director
	if strays, err := h.Strays(t.Context()); err != nil || len(strays) != 2 {
		t.Errorf("%v, %v", strays, err)
	}
	_, err := h.DeleteStray(t.Context(), orchestrator.Caller{}, "", "plain-x", 0, true)
	code(t, err, serviceforge.Invalid)
	_, err = h.DeleteStray(t.Context(), orchestrator.Caller{}, "two", "plain-x", 0, true)
	must(t, err)
	if len(directors["one"].deployments) != 1 || len(directors["two"].deployments) != 0 {
		t.Error("the wrong one was deleted")
	}
	directors["one"].fault = func(_, call string) error { return lost(call) }
	_, err = h.Strays(t.Context())
	code(t, err, serviceforge.Unavailable)
}
