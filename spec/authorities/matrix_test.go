package authorities_test

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/serviceforge/serviceforge/admin"
	"github.com/serviceforge/serviceforge/broker"
	"github.com/serviceforge/serviceforge/cmd"
	"github.com/serviceforge/serviceforge/dashboard"
	"github.com/serviceforge/serviceforge/spec"
)

// Who is let in.
const (
	anybody   = "nobody stranger revoked expired platform viewer operator admin"
	platforms = "platform"
	viewers   = "viewer operator admin"
	operators = "operator admin"
	admins    = "admin"
)

// matrix says for every route which authorities may use it.
var matrix = map[string]string{
	"GET /healthz":                anybody,
	"GET /metrics":                viewers,
	"GET /readyz":                 anybody,
	"GET /service_instances/{id}": platforms,

	"GET /v2/catalog":                                                                      platforms,
	"GET /v2/service_instances/{instance_id}":                                              platforms,
	"PUT /v2/service_instances/{instance_id}":                                              platforms,
	"PATCH /v2/service_instances/{instance_id}":                                            platforms,
	"DELETE /v2/service_instances/{instance_id}":                                           platforms,
	"GET /v2/service_instances/{instance_id}/last_operation":                               platforms,
	"GET /v2/service_instances/{instance_id}/service_bindings/{binding_id}":                platforms,
	"PUT /v2/service_instances/{instance_id}/service_bindings/{binding_id}":                platforms,
	"DELETE /v2/service_instances/{instance_id}/service_bindings/{binding_id}":             platforms,
	"GET /v2/service_instances/{instance_id}/service_bindings/{binding_id}/last_operation": platforms,

	"GET /admin/v1/catalog":                                    viewers,
	"GET /admin/v1/engine":                                     viewers,
	"PUT /admin/v1/engine":                                     operators,
	"GET /admin/v1/releases":                                   viewers,
	"POST /admin/v1/releases":                                  admins,
	"DELETE /admin/v1/releases/{release}":                      admins,
	"POST /admin/v1/pools/{pool}/releases":                     admins,
	"GET /admin/v1/pools":                                      viewers,
	"PUT /admin/v1/pools/{pool}":                               operators,
	"GET /admin/v1/pools/{pool}/check":                         viewers,
	"GET /admin/v1/orphans":                                    viewers,
	"DELETE /admin/v1/orphans/{deployment}":                    operators,
	"GET /admin/v1/instances":                                  viewers,
	"PUT /admin/v1/instances/{instance}":                       operators,
	"PATCH /admin/v1/instances/{instance}":                     operators,
	"GET /admin/v1/instances/{instance}":                       viewers,
	"DELETE /admin/v1/instances/{instance}":                    operators,
	"GET /admin/v1/instances/{instance}/operation":             viewers,
	"POST /admin/v1/instances/{instance}/repair":               operators,
	"GET /admin/v1/instances/{instance}/explanation":           viewers,
	"GET /admin/v1/instances/{instance}/history":               viewers,
	"GET /admin/v1/instances/{instance}/bindings":              viewers,
	"PUT /admin/v1/instances/{instance}/bindings/{binding}":    operators,
	"GET /admin/v1/instances/{instance}/bindings/{binding}":    operators,
	"DELETE /admin/v1/instances/{instance}/bindings/{binding}": operators,
	"GET /admin/v1/quota":                                      viewers,
	"POST /admin/v1/quota/recount":                             operators,
	"GET /admin/v1/sweeps":                                     viewers,
	"POST /admin/v1/instances/{instance}/reset":                admins,
	"GET /admin/v1/keys":                                       admins,
	"POST /admin/v1/keys/rotation":                             admins,
	"GET /admin/v1/tokens":                                     admins,
	"POST /admin/v1/tokens":                                    admins,
	"DELETE /admin/v1/tokens/{token}":                          admins,
}

// routes lists what the routers serve.
func routes() []string {
	var all []string
	for _, r := range admin.Routes() {
		all = append(all, r.Method+" "+admin.Prefix+r.Pattern)
	}
	for _, r := range broker.New(broker.Options{}).Routes() {
		all = append(all, r.Method+" "+r.Pattern)
	}
	for _, path := range cmd.Faces {
		switch path {
		case admin.Prefix:
		case dashboard.Prefix:
			all = append(all, "GET "+path+"{id}")
		default:
			all = append(all, "GET "+path)
		}
	}
	return all
}

func TestEveryRouteHasARow(t *testing.T) {
	all := routes()
	for _, route := range all {
		if matrix[route] == "" {
			t.Errorf("%s has no row in the matrix: who may use it?", route)
		}
	}
	for route := range matrix {
		if !slices.Contains(all, route) {
			t.Errorf("the row %s is for nothing", route)
		}
	}
}

// TestWhoMayDoWhat asks every route as everybody. What is let in meets names
// that do not exist and bodies that say nothing, so that nothing is changed.
func TestWhoMayDoWhat(t *testing.T) {
	t.Parallel()
	r := newHouse(t).serve("a")
	revoked, expired := r.token("admin", "1h"), r.token("admin", "1ms")
	number, _, _ := strings.Cut(revoked, "-")
	if _, errs, code := r.Account.Run(t, "token", "revoke", number, "--state", r.state); code != 0 {
		t.Fatal(errs)
	}
	r.eventually(bearer(revoked), "GET", "/admin/v1/catalog", http.StatusUnauthorized)
	r.eventually(bearer(expired), "GET", "/admin/v1/catalog", http.StatusUnauthorized)
	viewer := r.token("viewer", "1h")
	callers := map[string]caller{
		"nobody": nobody, "stranger": basic("cc", "wrong"), "revoked": bearer(revoked), "expired": bearer(expired),
		"platform": basic("cc", canaryBasic), "viewer": bearer(viewer), "operator": bearer(r.token("operator", "1h")), "admin": bearer(r.admin()),
	}
	parameter := regexp.MustCompile(`\{[a-z_]+\}`)
	for _, route := range slices.Sorted(maps.Keys(matrix)) {
		method, pattern, _ := strings.Cut(route, " ")
		path := parameter.ReplaceAllString(pattern, "999999")
		for _, name := range slices.Sorted(maps.Keys(callers)) {
			status, _, text := r.ask(callers[name], method, path, nil)
			refused := status == http.StatusUnauthorized || status == http.StatusForbidden ||
				status == http.StatusTooManyRequests // the revoked token was shown too often
			if may := slices.Contains(strings.Fields(matrix[route]), name); may == refused || status == http.StatusInternalServerError {
				t.Errorf("%s as %s: %d %s", route, name, status, text)
			}
		}
	}
	for name, who := range map[string]caller{"a token as password": basic("operator", viewer), "a token at /v2": bearer(viewer),
		"a path around": func(q *http.Request) { q.SetBasicAuth("cc", canaryBasic); q.URL.Path = "/v2/../admin/v1/tokens" }} {
		if status, _, text := r.ask(who, "GET", "/v2/catalog", nil); status < 400 {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
	for role, want := range map[string]int{"operator": http.StatusForbidden, "admin": http.StatusNotFound} {
		if status, _, text := r.ask(callers[role], "DELETE", "/admin/v1/orphans/nope?own=true", nil); (status == http.StatusForbidden) != (want == http.StatusForbidden) {
			t.Errorf("--i-own as %s: %d %s", role, status, text)
		}
	}
}

// TestAPlatformSeesOnlyItsOwn has a second platform try everything with the
// first one's instance.
func TestAPlatformSeesOnlyItsOwn(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	r := h.serve("a", "--broker-platforms", h.write("platforms.yml", "platforms:\n- {name: k8s, username: kube, password: other}\n"))
	cc, k8s := basic("cc", canaryBasic), basic("kube", "other")
	instance := "/v2/service_instances/mine"
	if status, _, text := r.ask(cc, "PUT", instance+"?accepts_incomplete=true", order(spec.OneServer)); status != http.StatusAccepted {
		t.Fatalf("%d %s", status, text)
	}
	if status, _, _ := r.ask(cc, "GET", "/service_instances/mine", nil); status != http.StatusOK {
		t.Errorf("its own page: %d", status)
	}
	plan := "service_id=" + spec.Service + "&plan_id=" + spec.OneServer
	for _, test := range []struct {
		method, path string
		body         any
	}{
		{"GET", "/service_instances/mine", nil},
		{"GET", instance, nil},
		{"PATCH", instance + "?accepts_incomplete=true", map[string]any{"service_id": spec.Service}},
		{"GET", instance + "/last_operation", nil},
		{"PUT", instance + "/service_bindings/b", map[string]any{"service_id": spec.Service, "plan_id": spec.OneServer}},
		{"GET", instance + "/service_bindings/b", nil},
		{"DELETE", instance + "/service_bindings/b?" + plan, nil},
		{"DELETE", instance + "?accepts_incomplete=true&" + plan, nil},
	} {
		status, _, text := r.ask(k8s, test.method, test.path, test.body)
		nothing, _, says := r.ask(k8s, test.method, strings.Replace(test.path, "mine", "none", 1), test.body)
		if status != nothing || status < 400 || strings.ReplaceAll(text, "mine", "none") != says {
			t.Errorf("%s %s: %d %s; where there is nothing: %d %s", test.method, test.path, status, text, nothing, says)
		}
	}
	if status, _, text := r.ask(k8s, "PUT", instance+"?accepts_incomplete=true", order(spec.OneServer)); status != http.StatusConflict {
		t.Errorf("the same id: %d %s", status, text)
	}
	if status, _, text := r.ask(cc, "GET", instance+"/last_operation", nil); status != http.StatusOK || !strings.Contains(text, "in progress") {
		t.Errorf("it was touched: %d %s", status, text)
	}
}

// TestAPasswordChangesWithoutDowntime goes from one password to the next; at
// every moment the platform has one that is let in.
func TestAPasswordChangesWithoutDowntime(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	file := func(passwords ...string) string {
		text := "platforms:\n"
		for _, p := range passwords {
			text += fmt.Sprintf("- {name: k8s, username: kube, password: %s}\n", p)
		}
		return h.write("platforms.yml", text)
	}
	r := h.serve("a", "--broker-platforms", file("one"))
	one, two := basic("kube", "one"), basic("kube", "two")
	always := func(who caller) {
		t.Helper()
		if status, _, text := r.ask(who, "GET", "/v2/catalog", nil); status != http.StatusOK {
			t.Errorf("not let in: %d %s", status, text)
		}
	}
	always(one)
	file("one", "two")
	r.eventually(two, "GET", "/v2/catalog", http.StatusOK)
	always(one)
	file("two")
	r.eventually(one, "GET", "/v2/catalog", http.StatusUnauthorized)
	always(two)
	h.write("platforms.yml", "platforms: canary")
	spec.Eventually(t, "a bad file is told of", func() error {
		always(two)
		if !strings.Contains(r.Output(), "is not in force") {
			return fmt.Errorf("the log does not say so")
		}
		return nil
	})
	always(two)
}

// TestARevokedTokenIsRefusedByAllReplicas uses a token at two brokers until
// the revocation at one has reached the other.
func TestARevokedTokenIsRefusedByAllReplicas(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	a := h.serve("a")
	h.shareKeys("a", "b")
	b := h.serve("b")
	token := a.token("viewer", "1h")
	for _, r := range []*replica{a, b} {
		if status, _, text := r.ask(bearer(token), "GET", "/admin/v1/catalog", nil); status != http.StatusOK {
			t.Fatalf("%d %s", status, text)
		}
	}
	number, _, _ := strings.Cut(token, "-")
	if _, errs, code := a.Account.Run(t, "token", "revoke", number, "--state", a.state); code != 0 {
		t.Fatal(errs)
	}
	revoked := time.Now()
	for _, r := range []*replica{a, b} {
		r.eventually(bearer(token), "GET", "/admin/v1/catalog", http.StatusUnauthorized)
	}
	t.Logf("refused everywhere %s after the revocation", time.Since(revoked).Round(time.Millisecond))
}

// TestServeMakesATokenOnlyWhenAsked also keeps the one there is.
func TestServeMakesATokenOnlyWhenAsked(t *testing.T) {
	t.Parallel()
	r := newHouse(t).serve("a", "--bootstrap=false")
	if out, errs, code := r.Account.Run(t, "catalog", "--state", r.state); code == 0 || !strings.Contains(errs, "--bootstrap") {
		t.Errorf("%d %s %s", code, out, errs)
	}
	r.Stop()
	other := r.house.serve("a")
	first := other.admin()
	other.Stop()
	if again := r.house.serve("a").admin(); again != first {
		t.Error("a second token was made")
	}
}
