package orchestrator_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/serviceforge/serviceforge"
)

// web is a server that is ill until it is healed.
func web(t *testing.T) (host, port string, well *atomic.Bool) {
	t.Helper()
	well = &atomic.Bool{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !well.Load() {
			w.WriteHeader(http.StatusBadGateway)
		}
	}))
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	must(t, err)
	return u.Hostname(), u.Port(), well
}

// A service answers when its release says so: a connection is enough for tcp,
// http wants an answer that is no error; one that stays silent for longer than
// it may fails.
func TestWhatAServiceThatAnswersIs(t *testing.T) {
	t.Parallel()
	host, port, well := web(t)
	h := newHouseOf(t, withErrands(fmt.Sprintf("  endpoints: [{host: %s, ports: [%q]}]\n  check: {driver: tcp}\n", host, port)))
	stop := h.run()
	h.until("a", h.create("a").Operation, serviceforge.Succeeded)
	stop()

	h = newHouseOf(t, withErrands(fmt.Sprintf("  endpoints: [{host: %s, ports: [%q]}]\n  check: {driver: http, timeout: 60s}\n", host, port)))
	h.options.PostTimeout = time.Second // how long it is asked at a time
	later := h.clock()
	h.run()
	silent := h.create("a")
	h.awaitProgress("a", silent.Operation, "Checking that the service answers")
	later(2 * time.Minute)
	h.until("a", silent.Operation, serviceforge.Failed)
	p, err := h.LastOperation(t.Context(), cc, "a", silent.Operation)
	must(t, err)
	if p.Description != "The service does not answer within 1m0s" {
		t.Errorf("told %q", p.Description)
	}
	well.Store(true)
	h.until("a", h.repair("a").Operation, serviceforge.Succeeded)
}

// Where an errand says whether the service answers, an update that it does not
// survive leaves it unusable.
func TestAnErrandThatChecks(t *testing.T) {
	t.Parallel()
	h := newHouseOf(t, withErrands("  check: {via: errand, errand: migrate}\n  errands: {post_deploy: [{name: smoke}]}\n"))
	h.run()
	h.until("a", h.create("a").Operation, serviceforge.Succeeded)
	h.director.errands.exits["migrate"] = []int{1}
	failed := h.change("a", toLarge)
	h.until("a", failed.Operation, serviceforge.Failed)
	p, err := h.LastOperation(t.Context(), cc, "a", failed.Operation)
	must(t, err)
	if !p.Unusable || p.Description != "The errand migrate failed: exit code 1 on node" {
		t.Errorf("told %q, %+v", p.Description, p.Aftermath)
	}
	if ran := fmt.Sprint(h.director.ran()); ran != "[migrate node/0=id-0 smoke node/0=id-0 migrate node/0=id-0]" {
		t.Errorf("ran %s", ran)
	}
	h.until("a", h.change("a", toLarge).Operation, serviceforge.Succeeded)
}
