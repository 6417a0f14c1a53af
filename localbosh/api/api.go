// Package api is the director's HTTP face: it translates requests of BOSH
// clients to tasks and reads, in the codes and words of a real director behind
// its nginx.
package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"log/slog"
	"net/http"
	"strings"

	"github.com/go-chi/chi/v5"

	"github.com/serviceforge/serviceforge/localbosh/blobs"
	"github.com/serviceforge/serviceforge/localbosh/deploy"
	"github.com/serviceforge/serviceforge/localbosh/tasks"
)

// Options is what the API speaks for; all but Log are required.
type Options struct {
	Tasks  *tasks.Queue
	Engine *deploy.Engine
	Blobs  *blobs.Store
	Info   Info
	// User and Password are the one client and its secret.
	User, Password string
	Log            *slog.Logger
}

// Info is what GET /info tells of the director.
type Info struct {
	Name, UUID, Version    string
	ConfigServer, LocalDNS bool
}

type server struct {
	Options
	tasks *tasks.Queue
}

// maxText is the greatest manifest or config, in bytes.
const maxText = 16 << 20

// New returns the handler of the API.
func New(o Options) http.Handler {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &server{Options: o, tasks: o.Tasks}
	r := chi.NewRouter()
	r.NotFound(s.notFound)
	r.MethodNotAllowed(s.notFound)
	r.Get("/info", s.info)
	r.Group(func(r chi.Router) {
		r.Use(s.authenticate)
		s.taskRoutes(r)
		s.blobRoutes(r)
		s.configRoutes(r)
		s.deploymentRoutes(r)
		s.otherRoutes(r)
	})
	return r
}

// segments are the first parts of paths that the director knows.
var segments = []string{
	"info", "tasks", "task", "releases", "packages", "stemcells", "stemcell_uploads", "cloud_configs", "configs",
	"runtime_configs", "cpi_configs", "deployments", "deployment_configs", "resources", "events", "locks", "cleanup",
	"disks", "orphaned_vms", "vms", "networks", "director", "resurrection", "link_providers", "links", "link_address",
}

// notFound answers for what is not built, as the director does for what it does
// not know: in one way below a path it knows, in another elsewhere.
func (s *server) notFound(w http.ResponseWriter, r *http.Request) {
	first, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	for _, known := range segments {
		if first == known {
			s.authenticate(http.HandlerFunc(noEndpoint)).ServeHTTP(w, r)
			return
		}
	}
	text(w, http.StatusNotFound, "text/plain", "Not Found: "+r.URL.Path)
}

func noEndpoint(w http.ResponseWriter, r *http.Request) {
	text(w, http.StatusNotFound, "text/plain", "Endpoint '"+r.URL.Path+"' not found.")
}

// authenticate lets the one client pass; every answer names the realm.
func (s *server) authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Www-Authenticate", `Basic realm="BOSH Director"`)
		if !s.authentic(r) {
			text(w, http.StatusUnauthorized, htmlType, "Not authorized: '"+r.URL.Path+"'\n")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *server) authentic(r *http.Request) bool {
	user, password, ok := r.BasicAuth()
	return ok && same(user, s.User)&same(password, s.Password) == 1
}

// same compares in constant time, whatever the lengths.
func same(a, b string) int {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:])
}

// consumes lets only requests with this content type reach the handler; to the
// director another one is another endpoint.
func consumes(mime string, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		got, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
		if strings.TrimSpace(got) != mime {
			noEndpoint(w, r)
			return
		}
		next(w, r)
	}
}

// info is GET /info, the one thing that needs no credentials.
func (s *server) info(w http.ResponseWriter, r *http.Request) {
	var user any
	if s.authentic(r) {
		user = s.User
	}
	status := func(on bool, extras map[string]any) map[string]any {
		return map[string]any{"status": on, "extras": extras}
	}
	writeJSON(w, http.StatusOK, jsonType, map[string]any{
		"name": s.Info.Name, "uuid": s.Info.UUID, "version": s.Info.Version, "user": user,
		"cpi": "serviceforge", "stemcell_os": "-", "stemcell_version": "-",
		"user_authentication": map[string]any{"type": "basic", "options": map[string]any{}},
		"features": map[string]any{
			"local_dns":     status(s.Info.LocalDNS, map[string]any{"domain_name": "bosh"}),
			"snapshots":     map[string]any{"status": false},
			"config_server": status(s.Info.ConfigServer, map[string]any{"urls": []string{}}),
		},
	})
}
