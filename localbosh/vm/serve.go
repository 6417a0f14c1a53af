package vm

import (
	"encoding/json"
	"net"
	"net/http"
	"strconv"
	"time"
)

// serve answers the protocol: JSON over HTTP, errors as text.
//
//	GET  /v1/status[?after=REVISION]   with after: waits for a later revision
//	POST /v1/apply                     State
//	POST /v1/start, /v1/stop
//	POST /v1/shutdown?grace=MS         answers at once
//	POST /v1/exec                      Exec; see exec
//	GET  /v1/logs                      a tar archive
func (s *supervisor) serve(l net.Listener) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", s.serveStatus)
	mux.HandleFunc("POST /v1/apply", func(w http.ResponseWriter, r *http.Request) {
		var st State
		if readBody(w, r, &st) {
			answer(w, s.apply(st))
		}
	})
	mux.HandleFunc("POST /v1/start", func(w http.ResponseWriter, r *http.Request) { s.start() })
	mux.HandleFunc("POST /v1/stop", func(w http.ResponseWriter, r *http.Request) { s.halt(time.Time{}) })
	mux.HandleFunc("POST /v1/shutdown", func(w http.ResponseWriter, r *http.Request) {
		ms, _ := strconv.Atoi(r.FormValue("grace"))
		go s.shutdown(time.Duration(ms) * time.Millisecond)
	})
	mux.HandleFunc("POST /v1/exec", s.serveExec)
	mux.HandleFunc("GET /v1/logs", s.serveLogs)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer s.later()
		mux.ServeHTTP(w, r)
	})}
	server.SetKeepAlivesEnabled(false)
	return server.Serve(l)
}

func (s *supervisor) serveStatus(w http.ResponseWriter, r *http.Request) {
	st, changed := s.status()
	if after, err := strconv.ParseUint(r.FormValue("after"), 10, 64); err == nil {
		for st.Revision <= after {
			select {
			case <-changed:
			case <-r.Context().Done():
				return
			}
			st, changed = s.status()
		}
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(st)
}

func readBody(w http.ResponseWriter, r *http.Request, v any) bool {
	if err := json.NewDecoder(r.Body).Decode(v); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return false
	}
	return true
}

func answer(w http.ResponseWriter, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
	}
}
