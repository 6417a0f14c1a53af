package orchestrator_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge"
	pools "github.com/serviceforge/serviceforge/infrastructure_pools"
	"github.com/serviceforge/serviceforge/orchestrator"
	"github.com/serviceforge/serviceforge/orchestrator/director"
)

func (h *house) status(pool string) orchestrator.PoolStatus {
	h.t.Helper()
	all, err := h.engine().PoolStatuses(h.t.Context())
	must(h.t, err)
	for _, s := range all {
		if s.Name == pool {
			return s
		}
	}
	h.t.Fatalf("%s is not among %v", pool, all)
	return orchestrator.PoolStatus{}
}

func TestPoolStatuses(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	directors := h.pooled("", "  name: lab\n  max_in_flight: 1\n"+slots(4), "  name: open\n  state: cordoned\n", "  name: away\n  state: cordoned\n")
	directors["lab"].inventory.info = director.Info{Name: "lab", User: "serviceforge"}
	directors["away"].fault = func(_, call string) error { return lost(call) }
	directors["lab"].hold = true
	h.run()
	first, second := h.create("a"), h.create("b")
	eventually(t, func() (int, error) {
		if s := h.status("lab"); s.InFlight != 1 || s.Queued != 1 {
			return 0, fmt.Errorf("%+v", s)
		}
		return 0, nil
	})
	if s := h.status("lab"); s.Instances != 2 || s.Size != 4 || s.Free != 2 || s.State != pools.Active || !s.Healthy || s.MaxInFlight != 1 {
		t.Errorf("lab: %+v", s)
	}
	if s := h.status("open"); s.Limited || s.State != pools.Cordoned || s.Healthy || !strings.Contains(s.Health, "credentials") {
		t.Errorf("open: %+v", s)
	}
	if s := h.status("away"); s.Healthy || s.Health == "" {
		t.Errorf("away: %+v", s)
	}
	directors["lab"].finish()
	h.until("a", first.Operation, serviceforge.Succeeded)
	h.until("b", second.Operation, serviceforge.Succeeded)
	eventually(t, func() (int, error) {
		if s := h.status("lab"); s.InFlight != 0 || s.Queued != 0 || s.Free != 2 {
			return 0, fmt.Errorf("%+v", s)
		}
		return 0, nil
	})
}

func TestOperatorsOpenAndClosePools(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.pooled("", "  name: one\n", "  name: two\n  state: cordoned\n")
	operator := serviceforge.Caller{Actor: "token 1"}
	code(t, h.SetPoolState(t.Context(), operator, "one", string(pools.Cordoned), ""), serviceforge.Invalid)
	code(t, h.SetPoolState(t.Context(), operator, "one", "drunk", "x"), serviceforge.Invalid)
	code(t, h.SetPoolState(t.Context(), operator, "none", string(pools.Cordoned), "x"), serviceforge.NotFound)
	code(t, h.SetPoolState(t.Context(), operator, "one", string(pools.Cordoned), strings.Repeat("x", 2000)), serviceforge.TooLarge)
	must(t, h.SetPoolState(t.Context(), operator, "one", string(pools.Draining), "it goes away"))
	if s := h.status("one"); s.State != pools.Draining || s.Reason != "it goes away" || s.Actor != "token 1" || s.Since.IsZero() {
		t.Errorf("%+v", s)
	}
	_, err := h.Provision(t.Context(), order("a"))
	code(t, err, serviceforge.Exhausted)
	must(t, h.SetPoolState(t.Context(), operator, "two", string(pools.Active), "")) // against its file
	h.run()
	h.until("a", h.create("a").Operation, serviceforge.Succeeded)
	must(t, h.SetPoolState(t.Context(), operator, "one", string(pools.Active), ""))
	if s := h.status("one"); s.State != pools.Active || s.Actor != "" {
		t.Errorf("%+v", s)
	}
	if s := h.status("two"); s.State != pools.Active || s.Instances != 1 || s.Actor != "token 1" {
		t.Errorf("%+v", s)
	}
}

// Another replica learns of a decision by its watch.
func TestAllReplicasHonourACordon(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.pooled("", "  name: one\n")
	other := h.replica()
	must(t, h.SetPoolState(t.Context(), serviceforge.Caller{}, "one", string(pools.Cordoned), "x"))
	tries := 0
	eventually(t, func() (int, error) {
		tries++ // a repeated order would be answered as the first was
		_, err := other.Provision(t.Context(), order(fmt.Sprint("a", tries)))
		if serviceforge.CodeOf(err) != serviceforge.Exhausted {
			return 0, errors.New("the other replica takes instances")
		}
		return 0, nil
	})
	must(t, h.SetPoolState(t.Context(), serviceforge.Caller{}, "one", string(pools.Active), ""))
	eventually(t, func() (int, error) {
		_, err := other.Provision(t.Context(), order("b"))
		return 0, err
	})
}

func token(scopes ...string) director.Info {
	return director.Info{User: "forge", UUID: "u-1", UAA: true, Scopes: scopes}
}

func TestScopes(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	d := h.pooled("", "  name: lab\n")["lab"]
	for want, scopes := range map[string][]string{
		"good: forge has bosh.teams.a.admin, which is enough":                                                                  {"bosh.teams.a.admin", "uaa.none"},
		"warning: forge may do anything on the director (bosh.admin): give it the authority bosh.teams.NAME.admin instead":     {"bosh.admin"},
		"warning: forge may do anything on the director (bosh.u-1.admin): give it the authority bosh.teams.NAME.admin instead": {"bosh.u-1.admin", "bosh.teams.a.admin"},
		"bad: forge may only read (bosh.u-1.read): give it the authority bosh.teams.NAME.admin":                                {"bosh.u-1.read", "bosh.teams.a.read"},
		"bad: forge has none of this director's: give it the authority bosh.teams.NAME.admin":                                  {"bosh.u-2.admin"},
	} {
		d.inventory.info = token(scopes...)
		findings, err := h.CheckPool(t.Context(), "lab")
		must(t, err)
		for _, f := range findings {
			if f.What != "scopes" {
				continue
			}
			got := "bad"
			switch {
			case f.Good && f.Warning:
				got = "warning"
			case f.Good:
				got = "good"
			}
			if got += ": " + f.Says; got != want {
				t.Errorf("%v: %s", scopes, got)
			}
		}
	}
}

func TestCheckPool(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	d := h.pooled("", "  name: lab\n")["lab"]
	check := func() string {
		findings, err := h.CheckPool(t.Context(), "lab")
		must(t, err)
		var bad []string
		plans := ""
		for _, f := range findings {
			if f.Pool != "lab" || f.Says == "" {
				t.Errorf("%+v", f)
			}
			if f.What == "plans" {
				plans = f.Says
			}
			if !f.Good {
				bad = append(bad, f.Says)
			}
		}
		if plans != "cannot take plain/huge: it has no vm type huge" {
			t.Errorf("of plans it is told: %q", plans)
		}
		return strings.Join(bad, "; ")
	}
	good := inventory{
		info:     director.Info{User: "serviceforge"},
		cloud:    []string{"azs: [{name: z1}]\nnetworks: [{name: default}]", "vm_types: [{name: tiny}]"},
		releases: map[string][]string{"plain": {"0.9", "1"}}, stemcells: map[string][]string{"ubuntu-jammy": {"1"}},
	}
	for _, test := range []struct {
		want   string
		change func(i *inventory)
	}{
		{"", func(*inventory) {}},
		{"the director does not take our credentials", func(i *inventory) { i.info.User = "" }},
		{"the director does not take our credentials; it has a UAA: name a client of it in the pool file (director.uaa)",
			func(i *inventory) { i.info.User, i.info.UAA = "", true }},
		{"", func(i *inventory) { i.info = token("bosh.teams.forge.admin", "bosh.read") }},
		{"", func(i *inventory) { i.info = token("bosh.admin") }}, // a warning: TestScopes
		{"forge may only read (bosh.read): give it the authority bosh.teams.NAME.admin", func(i *inventory) { i.info = token("bosh.read") }},
		{"there is no network default; there is no vm type tiny", func(i *inventory) { i.cloud = []string{"azs: [{name: z1}]"} }},
		{"there is none, or our client may not read it (a team's client): the names of the pool file are not checked", func(i *inventory) { i.cloud = nil }},
		{"plain/1 is not on the director", func(i *inventory) { i.releases = map[string][]string{"plain": {"2"}} }},
		{"ubuntu-jammy/1 is not on the director", func(i *inventory) { i.stemcells = nil }},
	} {
		d.inventory = good
		test.change(&d.inventory)
		if got := check(); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
	d.fault = func(_, call string) error { return lost(call) }
	if got := check(); !strings.Contains(got, "lost") {
		t.Errorf("got %q", got)
	}
	_, err := h.CheckPool(t.Context(), "none")
	code(t, err, serviceforge.NotFound)
}
