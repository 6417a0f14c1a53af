// Package broker is the Open Service Broker face (OSB 2.17): it translates
// between HTTP and the engine's requests, and decides nothing. One file per verb.
//
// brokerapi serves the verbs. What it answers differently from the
// specification is put right at the edge (edge.go, body.go), before it sees the
// request; the catalog is answered before it, from pre-encoded bytes.
package broker

import (
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/pivotal-cf/brokerapi/v10"

	"github.com/serviceforge/serviceforge/catalog"
	"github.com/serviceforge/serviceforge/orchestrator"
)

// MaxBody is the largest request body taken, in bytes, unless Options say otherwise.
const MaxBody = 128 << 10

// Options are what a Broker is made of. Engine, Catalog and Credentials are required.
type Options struct {
	Engine *orchestrator.Engine
	// Catalog returns the present catalog. A changed catalog is another pointer;
	// the value behind a pointer never changes.
	Catalog func() *catalog.Catalog
	// Credentials are the platforms that may call at first (SetCredentials). Each
	// sees only instances made through it.
	Credentials []Credential
	// RateLimit is how many requests a second each credential may make; 0 = any number.
	RateLimit int
	// RequireAPIVersion refuses requests without X-Broker-API-Version, and
	// DELETE requests without service_id, plan_id and accepts_incomplete. Without
	// it they pass, as in 2014.
	RequireAPIVersion bool
	// DashboardURL returns the page of an instance, without credentials; nil = none.
	DashboardURL func(instanceID string) string
	// Log gets one line per request and the causes of server errors; never
	// bodies, parameters or credentials. nil = discarded.
	Log *slog.Logger
	// Observe is told of every answer; nil = nobody. route is a pattern, "" = none.
	Observe func(method, route string, status int, took time.Duration)
	// MaxBody is the largest request body in bytes; 0 = the constant MaxBody.
	MaxBody int64
}

// Broker serves /v2. It takes ids as they are escaped in the request, so it
// must not stand behind http.ServeMux, which rewrites paths with "..", "//".
type Broker struct {
	engine            *orchestrator.Engine
	catalog           func() *catalog.Catalog
	platforms         atomic.Pointer[platforms]
	rateLimit         int
	requireAPIVersion bool
	dashboardURL      func(string) string
	log               *slog.Logger
	observe           func(method, route string, status int, took time.Duration)
	maxBody           int64

	router chi.Router
	menu   atomic.Pointer[menu]
}

// New makes a Broker. It does no I/O and starts nothing.
func New(o Options) *Broker {
	b := &Broker{
		engine:            o.Engine,
		catalog:           o.Catalog,
		rateLimit:         o.RateLimit,
		requireAPIVersion: o.RequireAPIVersion,
		dashboardURL:      o.DashboardURL,
		log:               o.Log,
		observe:           o.Observe,
		maxBody:           o.MaxBody,
	}
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	if b.maxBody == 0 {
		b.maxBody = MaxBody
	}
	if b.dashboardURL == nil {
		b.dashboardURL = func(string) string { return "" }
	}
	b.SetCredentials(o.Credentials)
	router := chi.NewRouter()
	router.NotFound(b.noRoute)
	router.MethodNotAllowed(b.wrongMethod)
	brokerapi.AttachRoutes(router, verbs{b}, newLager(b.log))
	b.router = router
	return b
}

// Route is one endpoint: Pattern is chi's.
type Route struct{ Method, Pattern string }

// Routes lists every endpoint.
func (b *Broker) Routes() []Route {
	all := []Route{{http.MethodGet, catalogPath}}
	_ = chi.Walk(b.router, func(method, pattern string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		if pattern != catalogPath { // brokerapi's own, which nobody reaches
			all = append(all, Route{method, pattern})
		}
		return nil
	})
	return all
}

// verbs is the Broker as brokerapi calls it: one method per OSB endpoint, each
// in the file of its verb.
type verbs struct{ *Broker }

var _ brokerapi.ServiceBroker = verbs{}
