// Package admin is the operators' face: /admin/v1 as an HTTP handler, and the
// Go client of it that the CLI speaks. Operators see every instance; what they
// create belongs to one platform.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/catalog"
	"github.com/serviceforge/serviceforge/orchestrator"
	"github.com/serviceforge/serviceforge/orchestrator/install"
	"github.com/serviceforge/serviceforge/store"
)

// Prefix is where an API is served.
const Prefix = "/admin/v1"

const (
	maxBody           = 128 << 10
	defaultRetryAfter = 5 * time.Second
)

// Options are what an API is made of. Engine, Store and Catalog are required.
type Options struct {
	Engine  *orchestrator.Engine
	Store   *store.Store // for the operator tokens and the quotas
	Catalog func() *catalog.Catalog
	// Observe is told of every answer; nil = nobody. route is a pattern, "" = none.
	Observe func(method, route string, status int, took time.Duration)
	// Installer installs service releases; nil = this broker installs none.
	Installer *install.Installer
	// Platform owns what operators create; "" = "cc".
	Platform string
	// Log gets one line per request and the causes of server errors; nil = discarded.
	Log *slog.Logger
}

// API serves /admin/v1. Like broker.Broker it reads the escaped path, so it
// must not stand behind http.ServeMux.
type API struct {
	engine   *orchestrator.Engine
	catalog  func() *catalog.Catalog
	store    *store.Store
	door     *door
	observe  func(method, route string, status int, took time.Duration)
	platform string
	install  *install.Installer
	log      *slog.Logger
	router   chi.Router
}

// New makes an API. It does no I/O.
func New(o Options) *API {
	a := &API{engine: o.Engine, store: o.Store, catalog: o.Catalog, platform: o.Platform, install: o.Installer, log: o.Log}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	if a.platform == "" {
		a.platform = "cc"
	}
	if a.observe = o.Observe; a.observe == nil {
		a.observe = func(string, string, int, time.Duration) {}
	}
	a.door = newDoor(o.Store, a.log.Warn)
	r := chi.NewRouter()
	r.NotFound(a.handle(Route{Role: viewer, serve: func(*API, *request) (any, error) {
		return nil, serviceforge.Errorf(serviceforge.NotFound, "there is no such endpoint")
	}}))
	r.MethodNotAllowed(a.handle(Route{Role: viewer, serve: func(_ *API, q *request) (any, error) {
		return nil, &statusError{http.StatusMethodNotAllowed, serviceforge.Errorf(serviceforge.Invalid, "this endpoint does not take %s", q.Method)}
	}}))
	for _, route := range routes {
		r.MethodFunc(route.Method, Prefix+route.Pattern, a.handle(route))
	}
	a.router = r
	return a
}

// request is an authenticated request.
type request struct {
	*http.Request
	caller serviceforge.Caller // an operator: sees all platforms
	role   serviceforge.Role
	route  *chi.Context
	writer http.ResponseWriter
}

// status and error of an answer that no code stands for.
type statusError struct {
	status int
	error
}

// ServeHTTP answers one request.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	started := time.Now()
	route := chi.NewRouteContext()
	seen := &statusWriter{ResponseWriter: w}
	r.URL.RawPath = r.URL.EscapedPath() // chi routes by it: ids stay escaped until idOf
	a.router.ServeHTTP(seen, r.WithContext(context.WithValue(r.Context(), chi.RouteCtxKey, route)))
	a.observe(r.Method, route.RoutePattern(), seen.status, time.Since(started))
	a.log.LogAttrs(r.Context(), slog.LevelInfo, "request",
		slog.String("method", r.Method), slog.String("route", route.RoutePattern()),
		slog.Int("status", seen.status), slog.Duration("duration", time.Since(started)),
		slog.String("instance_id", route.URLParam("instance")))
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

// Unwrap is for http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader keeps the status for the log.
func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// handle lets in whom a route is for, serves it and encodes what it returns.
func (a *API) handle(route Route) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		who, err := a.door.enter(r.Context(), tokenOf(r), sourceOf(r))
		if err != nil {
			a.fail(w, r, err)
			return
		}
		q := &request{Request: r, caller: serviceforge.Caller{Actor: who.actor}, role: who.role, route: chi.RouteContext(r.Context()), writer: w}
		answer, err := any(nil), q.needs(route.Role)
		if err == nil {
			answer, err = route.serve(a, q)
		}
		if err != nil {
			a.fail(w, r, err)
			return
		}
		if long, ok := answer.(streamed); ok {
			a.stream(w, long)
			return
		}
		write(w, http.StatusOK, answer)
	}
}

// Guard lets those through to next who show a token of at least a role.
func (a *API) Guard(least serviceforge.Role, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, err := a.door.enter(r.Context(), tokenOf(r), sourceOf(r))
		if err == nil {
			err = (&request{caller: serviceforge.Caller{Actor: who.actor}, role: who.role}).needs(least)
		}
		if err != nil {
			a.fail(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// tokenOf reads "Authorization: Bearer <token>" or "token <token>"; "" = none.
func tokenOf(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") && !strings.EqualFold(scheme, "token") {
		return ""
	}
	return strings.TrimSpace(token)
}

func write(w http.ResponseWriter, status int, answer any) {
	encoded, err := json.Marshal(answer)
	if err != nil {
		status, encoded = http.StatusInternalServerError, []byte(`{"code":"internal","message":"internal error"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(encoded, '\n'))
}

func (a *API) fail(w http.ResponseWriter, r *http.Request, err error) {
	code := serviceforge.CodeOf(err)
	status := statusOf(code)
	if other, ok := errors.AsType[*statusError](err); ok {
		status, err = other.status, other.error
		code = serviceforge.CodeOf(err)
	}
	if status >= http.StatusInternalServerError {
		a.log.Error("an admin request failed", "status", status, "cause", serviceforge.DetailOf(err))
	}
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="ServiceForge"`)
	}
	if after := retryAfter(err, status); after > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((after+time.Second-1)/time.Second)))
	}
	write(w, status, Failure{Code: code, Message: serviceforge.MessageOf(err)})
}

func retryAfter(err error, status int) time.Duration {
	if e, ok := errors.AsType[*serviceforge.Error](err); ok && e.RetryAfter > 0 {
		return e.RetryAfter
	}
	if status == http.StatusServiceUnavailable {
		return defaultRetryAfter
	}
	return 0
}

func statusOf(code serviceforge.Code) int {
	switch code {
	case serviceforge.Invalid:
		return http.StatusBadRequest
	case serviceforge.Unauthorized:
		return http.StatusUnauthorized
	case serviceforge.Forbidden:
		return http.StatusForbidden
	case serviceforge.NotFound:
		return http.StatusNotFound
	case serviceforge.Conflict:
		return http.StatusConflict
	case serviceforge.Gone:
		return http.StatusGone
	case serviceforge.TimedOut:
		return http.StatusRequestTimeout
	case serviceforge.TooLarge:
		return http.StatusRequestEntityTooLarge
	case serviceforge.Busy, serviceforge.NotReady, serviceforge.AsyncRequired, serviceforge.Unprocessable, serviceforge.Exhausted:
		return http.StatusUnprocessableEntity
	case serviceforge.TooMany:
		return http.StatusTooManyRequests
	case serviceforge.Unavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// id returns a path parameter, unescaped once and checked.
func (q *request) id(name string) (string, error) {
	what := "the service " + name + " id"
	id, err := url.PathUnescape(q.route.URLParam(name))
	if err != nil {
		return "", serviceforge.Wrap(err, serviceforge.Invalid, "%s is not correctly percent-encoded", what)
	}
	return id, serviceforge.CheckID(what, id)
}

// ids returns the instance's and the binding's id.
func (q *request) ids() (instanceID, bindingID string, err error) {
	if instanceID, err = q.id("instance"); err != nil {
		return "", "", err
	}
	bindingID, err = q.id("binding")
	return instanceID, bindingID, err
}

// decode reads the body strictly: an operator's typing error is told, not ignored.
func (q *request) decode(into any) error {
	content, err := io.ReadAll(http.MaxBytesReader(nil, q.Body, maxBody))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return serviceforge.Errorf(serviceforge.TooLarge, "the request body is larger than %d KiB", maxBody>>10)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return serviceforge.Wrap(err, serviceforge.TimedOut, "the request body did not arrive in time")
	}
	if err != nil {
		return serviceforge.Wrap(err, serviceforge.Invalid, "the request body ended too early")
	}
	decoder := json.NewDecoder(strings.NewReader(string(content)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return serviceforge.Wrap(err, serviceforge.Invalid, "the request body is not the JSON object that is needed")
	}
	return nil
}
