package orchestrator_test

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/serviceforge/serviceforge"
	pools "github.com/serviceforge/serviceforge/infrastructure_pools"
	"github.com/serviceforge/serviceforge/orchestrator"
	"github.com/serviceforge/serviceforge/orchestrator/bindings"
	"github.com/serviceforge/serviceforge/orchestrator/install"
	"github.com/serviceforge/serviceforge/store"
)

// withoutLarge is a version of plain that gave its larger plan up.
func withoutLarge() fstest.MapFS {
	files := maps.Clone(plain)
	text := regexp.MustCompile(`(?m)^  - \{id: large.*\n`).ReplaceAllString(string(plain["service.yml"].Data), "")
	text = strings.NewReplacer("update_to: [large, huge]", "update_to: [huge]", `version: "1.0.0"`, `version: "2.0.0"`).Replace(text)
	files["service.yml"] = &fstest.MapFile{Data: []byte(text)}
	return files
}

// A plan that no version on offer has can be bound, updated and deleted, as the
// instance's version has it; it cannot be ordered, nor changed to.
func TestRetiredPlans(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	stop := h.run()
	h.until("a", h.create("a").Operation, serviceforge.Succeeded)
	h.until("b", h.create("b").Operation, serviceforge.Succeeded)
	h.until("a", h.change("a", toLarge).Operation, serviceforge.Succeeded)
	stop()
	h.sellBoth(plain, withoutLarge())
	h.Engine = orchestrator.New(h.options)
	h.run()

	large := order("c")
	large.PlanID = "large"
	_, err := h.Provision(t.Context(), large)
	code(t, err, serviceforge.Invalid)
	_, err = h.tryChange("b", toLarge)
	code(t, err, serviceforge.Invalid)
	_, err = h.tryChange("a", func(r *orchestrator.UpdateRequest) { r.Upgrade = true })
	code(t, err, serviceforge.Unprocessable)

	if _, err = h.Bind(t.Context(), bindings.BindRequest{Caller: cc, InstanceID: "a", BindingID: "x", ServiceID: "service", PlanID: "large"}); err != nil {
		t.Errorf("a bind to a retired plan: %v", err)
	}
	h.until("a", h.change("a", func(r *orchestrator.UpdateRequest) {
		r.PlanID, r.Parameters = "large", json.RawMessage(`{"level": 5}`)
	}).Operation, serviceforge.Succeeded)
	if i := h.instance("a"); i.Release != "plain/1.0.0" || i.PlanID != "large" {
		t.Errorf("instance = %+v", i)
	}
	if posted := string(h.director.lastPosted()); !strings.Contains(posted, `"level": 5`) || !strings.Contains(posted, `"instances": 2`) {
		t.Errorf("deployed is\n%s", posted)
	}
	if o, p, err := h.Shelf.Known("service", "large"); err != nil || o.Name != "plain" || p.Name != "large" {
		t.Errorf("the retired plan is called %q %q, %v", o.Name, p.Name, err)
	}
	h.until("a", h.remove("a").Operation, serviceforge.Succeeded)
	h.until("b", h.remove("b").Operation, serviceforge.Succeeded)
}

// A pool whose director is away is left out of an install while it is cordoned;
// it gets what it lacks later, and only then new instances go there.
func TestAPoolThatIsSyncedLater(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	directors := h.pooled("", "  name: one\n", "  name: two\n")
	for _, d := range directors {
		d.inventory.stemcells = map[string][]string{"ubuntu-jammy": {"1"}}
	}
	heal := directors["two"].failing(lost)
	r := h.installer(h.store)
	files := extra(t, "1.0.0")
	code(t, r.put(t.Context(), files), serviceforge.Unprocessable)
	must(t, h.store.MarkPool(t.Context(), "two", store.PoolMark{State: string(pools.Cordoned)}))
	done, err := r.Install(t.Context(), "a test", files, func(install.Step) {})
	must(t, err)
	if len(done.Without) != 1 || !strings.HasPrefix(done.Without[0], "two: ") {
		t.Errorf("left out: %q", done.Without)
	}
	heal()
	must(t, h.store.UnmarkPool(t.Context(), "two"))
	ready := func() []string {
		t.Helper()
		must(t, r.Refresh(t.Context()))
		e, err := r.Edition("extra/1.0.0")
		must(t, err)
		return e.Pools
	}
	if got := ready(); !slices.Equal(got, []string{"one"}) {
		t.Fatalf("ready are %q", got)
	}
	synced, err := r.Sync(t.Context(), "two", nil, func(install.Step) {})
	must(t, err)
	if len(synced.Lacking) != 1 || len(synced.Ready) != 0 || len(directors["two"].uploads.sent) != 0 {
		t.Errorf("without a file: %+v", synced)
	}
	if synced, err = r.Sync(t.Context(), "two", files, func(install.Step) {}); err != nil || !slices.Equal(synced.Ready, []string{"extra/1.0.0"}) {
		t.Errorf("%+v, %v", synced, err)
	}
	if got := ready(); !slices.Equal(got, []string{"one", "two"}) || !slices.Equal(directors["two"].uploads.sent, []string{"plain/1.0.0"}) {
		t.Errorf("ready are %q, sent %q", got, directors["two"].uploads.sent)
	}
	heal = directors["two"].failing(lost)
	_, err = r.Sync(t.Context(), "two", nil, func(install.Step) {})
	code(t, err, serviceforge.Unavailable)
	heal()
	if got := ready(); !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("a director that is away has lost nothing; ready are %q", got)
	}
	directors["two"].inventory.stemcells = nil
	if synced, err = r.Sync(t.Context(), "two", nil, func(install.Step) {}); err != nil || len(synced.Lacking) != 1 || !slices.Equal(ready(), []string{"one"}) {
		t.Errorf("a director that lost a stemcell: %+v, %v; ready are %q", synced, err, ready())
	}
	asked := directors["one"].total() + directors["two"].total()
	h.create("a")
	if n := directors["one"].total() + directors["two"].total() - asked; n != 0 {
		t.Errorf("to accept an order %d calls were made", n)
	}
	_, err = r.Sync(t.Context(), "two", extra(t, "3.0.0"), func(install.Step) {})
	code(t, err, serviceforge.NotFound)
	_, err = r.Sync(t.Context(), "nowhere", nil, func(install.Step) {})
	code(t, err, serviceforge.NotFound)
}
