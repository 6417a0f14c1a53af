package orchestrator_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator/director"
	"github.com/serviceforge/serviceforge/orchestrator/ownership"
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
		d.task(director.Task{State: director.TaskError, Deployment: name, ContextID: contextID, Description: "create deployment"})
	}
}

// strays are all of them; every director answers.
func (h *house) strays() []ownership.Stray {
	h.t.Helper()
	strays, silent, err := h.Strays(h.t.Context())
	must(h.t, err)
	if len(silent) > 0 {
		h.t.Fatalf("silent: %v", silent)
	}
	return strays
}

// Three groups, with and without a manifest. What has an instance, and what has
// another name, is in none of them.
func TestWhoseADeploymentIs(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.run()
	d := h.director
	h.until("running", h.create("running").Operation, serviceforge.Succeeded)
	stamp := func(broker, instance, operation string) string {
		return fmt.Sprintf("# serviceforge broker=%s instance=%s operation=%s\n\"name\": \"x\"\n", broker, instance, operation)
	}
	ours := h.store.BrokerID()
	stamped := h.deleted("gone")
	h.deleted("gone-earlier")
	gone := h.deleted("gone-null")
	h.deleted("gone-foreign")
	d.stands("plain-gone", stamp(ours, "gone", stamped), "")
	d.stands("plain-gone-earlier", stamp(ours, "gone-earlier", "o"), "") // of another one of that id
	d.stands("plain-gone-null", "", gone+".deploy.0")
	d.stands("plain-gone-foreign", "", "somebody.deploy.0")
	d.stands("plain-lost", stamp(ours, "lost", "o"), "")
	d.stands("plain-lost-null", "", "01ARZ3NDEKTSV4RRFFQ69G5FAV.deploy.0") // nothing says that it was ours
	d.stands("plain-second", stamp("another-broker", "second", "o"), "")
	d.stands("plain-by-hand", "name: plain-by-hand\n", "")
	d.stands("plain-never", "", "")
	d.stands("cf", "name: cf\n", "")
	var got []string
	for _, s := range h.strays() {
		got = append(got, fmt.Sprintf("%s %s %s %v %v", s.Deployment, s.Group, s.Instance, s.Deployed, !s.DeletedAt.IsZero()))
	}
	want := []string{
		"plain-by-hand foreign  true false",
		"plain-gone orphan gone true true",
		"plain-gone-earlier unknown gone-earlier true false",
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
	t, operator := h.t, serviceforge.Caller{Actor: "token 1"}
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
	left := h.strays()
	if len(left) != len(strays)-2 {
		t.Errorf("left: %v", left)
	}
	for _, s := range left {
		if s.Group == ownership.Orphan {
			t.Errorf("%s is still there", s.Deployment)
		}
		_, err := h.DeleteStray(t.Context(), operator, "", s.Deployment, time.Hour, true)
		must(t, err)
	}
	if left := h.strays(); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	if d := h.director.deployments; len(d) != 2 || d["cf"] == nil || d["plain-running"] == nil {
		t.Errorf("deployments %v", d)
	}
}

// An orphan whose id was taken again may hold what is not the new instance's to
// read: it is neither deployed over nor deleted, and an orphan again after that.
func TestAnOrphanWhoseInstanceIsBackIsLeftAlone(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	stop := h.run()
	operation := h.deleted("a")
	stop()
	h.director.stands("plain-a", fmt.Sprintf("# serviceforge broker=%s instance=a operation=%s\n", h.store.BrokerID(), operation), "")
	created := h.create("a") // accepted; no engine runs
	for _, own := range []bool{false, true} {
		_, err := h.DeleteStray(t.Context(), serviceforge.Caller{}, "", "plain-a", 0, own)
		code(t, err, serviceforge.Conflict)
	}
	h.run()
	h.until("a", created.Operation, serviceforge.Failed)
	h.until("a", h.remove("a").Operation, serviceforge.Succeeded)
	if left := h.strays(); len(left) != 1 || left[0].Group != ownership.Orphan || h.director.deployments["plain-a"].posts != 0 {
		t.Errorf("left: %+v", left)
	}
	_, err := h.DeleteStray(t.Context(), serviceforge.Caller{}, "", "plain-a", 0, false)
	must(t, err)
}

// A request of an earlier instance reaches the director when its id is taken
// again and the new one's deploy has failed: all of it is this broker's, nothing
// keeps the new one from being deleted. What somebody else posts does.
func TestAnEarlierInstancesLateRequestKeepsNobodyFromDeleting(t *testing.T) {
	t.Parallel()
	const somebodys = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
	for _, deployed := range []bool{false, true} {
		for _, test := range []struct {
			who  string
			want serviceforge.OperationState
		}{{"the earlier one", serviceforge.Succeeded}, {"somebody else", serviceforge.Failed}} {
			t.Run(fmt.Sprintf("%s, deployed: %v", test.who, deployed), func(t *testing.T) {
				t.Parallel()
				h := newHouse(t)
				h.run()
				operation := h.deleted("a")
				if test.want == serviceforge.Failed {
					operation = somebodys
				}
				h.director.outcome = []string{director.TaskError, director.TaskError}
				h.until("a", h.create("a").Operation, serviceforge.Failed)
				manifest := ""
				if deployed {
					manifest = fmt.Sprintf("# serviceforge broker=%s instance=a operation=%s\n", h.store.BrokerID(), operation)
				}
				h.director.stands("plain-a", manifest, operation+".deploy.0")
				h.until("a", h.remove("a").Operation, test.want)
				if left := len(h.director.deployments); (left == 0) != (test.want == serviceforge.Succeeded) {
					t.Errorf("%d deployments are left", left)
				}
			})
		}
	}
}

func TestOneNameOnTwoDirectors(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	directors := h.pooled("", "  name: one\n  director: {url: 'https://a'}\n", "  name: two\n  director: {url: 'https://b'}\n", "  name: three\n  director: {url: 'https://a'}\n")
	directors["one"].stands("plain-x", "name: plain-x\n", "")
	directors["two"].stands("plain-x", "name: plain-x\n", "")
	directors["three"].stands("plain-not-asked", "name: x\n", "") // one and three share a director
	if strays := h.strays(); len(strays) != 2 {
		t.Errorf("%v", strays)
	}
	_, err := h.DeleteStray(t.Context(), serviceforge.Caller{}, "", "plain-x", 0, true)
	code(t, err, serviceforge.Invalid)
	_, err = h.DeleteStray(t.Context(), serviceforge.Caller{}, "two", "plain-x", 0, true)
	must(t, err)
	if len(directors["one"].deployments) != 1 || len(directors["two"].deployments) != 0 {
		t.Error("the wrong one was deleted")
	}
}

// A director that is away, or goes away half way, does not hide what the others have.
func TestStraysOfTheDirectorsThatAnswer(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	directors := h.pooled("", "  name: one\n", "  name: two\n", "  name: three\n")
	for _, d := range directors {
		d.stands("plain-a", "name: a\n", "")
		d.stands("plain-b", "name: b\n", "")
	}
	directors["one"].fault = func(_, call string) error { return lost(call) }
	looks := 0
	directors["two"].fault = func(when, call string) error {
		if call == "Manifest" && when == "before" {
			if looks++; looks == 2 {
				return lost(call)
			}
		}
		return nil
	}
	strays, silent, err := h.Strays(t.Context())
	must(t, err)
	var got []string
	for _, s := range strays {
		got = append(got, s.Pool+" "+s.Deployment)
	}
	for _, s := range silent {
		got = append(got, s.Pool+" silent: "+s.Cause)
	}
	want := []string{"two plain-a", "three plain-a", "three plain-b", "one silent: the answer to Deployments is lost", "two silent: the answer to Manifest is lost"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	_, err = h.DeleteStray(t.Context(), serviceforge.Caller{}, "", "plain-a", 0, true)
	code(t, err, serviceforge.Unavailable) // another director may have the name too
	_, err = h.DeleteStray(t.Context(), serviceforge.Caller{}, "three", "plain-a", 0, true)
	must(t, err)
}
