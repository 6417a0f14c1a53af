// Package dashboard is the face for people and scripts that look at one
// instance: JSON with the keys of the 2014 ServiceForge for programs, a page
// for browsers. It shows no credentials.
package dashboard

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator"
)

// Prefix is where a Dashboard is served: "/service_instances/<id>".
const Prefix = "/service_instances/"

// Options are what a Dashboard is made of. Engine and Authenticate are required.
type Options struct {
	Engine *orchestrator.Engine
	// Authenticate returns the platform that asks; broker.Broker has such a method.
	Authenticate func(*http.Request) (platform string, ok bool)
	// Log gets the causes of server errors; nil = discarded.
	Log *slog.Logger
}

// Dashboard serves GET /service_instances/:id. Like broker.Broker it reads the
// escaped path, so it must not stand behind http.ServeMux.
type Dashboard struct {
	engine       *orchestrator.Engine
	authenticate func(*http.Request) (string, bool)
	log          *slog.Logger
}

// New makes a Dashboard. It does no I/O.
func New(o Options) *Dashboard {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Dashboard{engine: o.Engine, authenticate: o.Authenticate, log: o.Log}
}

// ServeHTTP answers one request.
func (d *Dashboard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("Vary", "Accept")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
	header.Set("Referrer-Policy", "no-referrer")
	platform, ok := d.authenticate(r)
	if !ok {
		header.Set("WWW-Authenticate", `Basic realm="ServiceForge", charset="UTF-8"`)
		d.fail(w, r, serviceforge.Errorf(serviceforge.Unauthorized, "wrong or missing user name and password"))
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		header.Set("Allow", "GET, HEAD")
		d.write(w, r, http.StatusMethodNotAllowed, failure{"this page is only for reading"})
		return
	}
	id, err := idOf(r)
	if err != nil {
		d.fail(w, r, err)
		return
	}
	shown, err := d.look(r.Context(), serviceforge.Caller{Platform: platform, Actor: "platform " + platform}, id)
	if err != nil {
		d.fail(w, r, err)
		return
	}
	if shown.Busy {
		header.Set("Retry-After", strconv.Itoa(refreshSeconds))
	}
	d.write(w, r, http.StatusOK, shown)
}

// idOf takes the id out of the path, unescaped once.
func idOf(r *http.Request) (string, error) {
	escaped, found := strings.CutPrefix(r.URL.EscapedPath(), Prefix)
	if !found || strings.Contains(escaped, "/") {
		return "", serviceforge.Errorf(serviceforge.NotFound, "there is no such page")
	}
	return unescape(escaped)
}

// look asks the engine for what is shown: record and progress, both without a
// director.
func (d *Dashboard) look(ctx context.Context, caller serviceforge.Caller, id string) (shown, error) {
	instance, err := d.engine.Instance(ctx, caller, id)
	if err != nil {
		return shown{}, err
	}
	progress, err := d.engine.LastOperation(ctx, caller, id, "")
	if err != nil {
		if serviceforge.CodeOf(err) == serviceforge.Gone { // it went between the two questions
			err = serviceforge.Errorf(serviceforge.NotFound, "there is no service instance %q", id)
		}
		return shown{}, err
	}
	offering, plan := d.names(&instance)
	return newShown(&instance, progress, offering, plan), nil
}

// names returns the names of offering and plan, "" where no release has them any more.
func (d *Dashboard) names(i *serviceforge.Instance) (offering, plan string) {
	o, p, err := d.engine.Shelf.Known(i.ServiceID, i.PlanID)
	if err != nil {
		return "", ""
	}
	return o.Name, p.Name
}

// failure is the JSON of an error.
type failure struct {
	Description string `json:"description"`
}

func (d *Dashboard) fail(w http.ResponseWriter, r *http.Request, err error) {
	status := http.StatusInternalServerError
	switch serviceforge.CodeOf(err) {
	case serviceforge.Invalid:
		status = http.StatusBadRequest
	case serviceforge.Unauthorized:
		status = http.StatusUnauthorized
	case serviceforge.NotFound, serviceforge.Gone:
		status = http.StatusNotFound
	case serviceforge.Unavailable:
		status = http.StatusServiceUnavailable
		w.Header().Set("Retry-After", "5")
	}
	if status >= http.StatusInternalServerError && !errors.Is(r.Context().Err(), context.Canceled) {
		d.log.Error("a dashboard request failed", "status", status, "cause", serviceforge.DetailOf(err))
	}
	d.write(w, r, status, failure{serviceforge.MessageOf(err)})
}

// write answers a browser with a page, anybody else with JSON.
func (d *Dashboard) write(w http.ResponseWriter, r *http.Request, status int, content any) {
	if wantsPage(r) {
		d.writePage(w, status, content)
		return
	}
	encoded, err := json.Marshal(content)
	if err != nil { // strings and numbers only
		encoded, status = []byte(`{"description":"internal error"}`), http.StatusInternalServerError
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(encoded, '\n'))
}

// wantsPage tells a browser from a program: browsers name text/html before
// anything else, curl and scripts say */* or nothing.
func wantsPage(r *http.Request) bool {
	for accept := range strings.SplitSeq(r.Header.Get("Accept"), ",") {
		media, _, _ := strings.Cut(accept, ";")
		switch strings.TrimSpace(media) {
		case "text/html":
			return true
		case "application/json":
			return false
		}
	}
	return false
}

// timestamp is how times are shown to programs.
func timestamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
