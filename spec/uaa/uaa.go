// Package uaa is a small OAuth2 token server for specs, and the door of a
// director that takes its tokens, as a real one with a UAA was recorded.
package uaa

import (
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Client is who may get tokens.
type Client struct {
	Secret string
	Scopes []string // e.g. "bosh.teams.forge.admin"
}

// Server gives tokens out and knows whose they are.
type Server struct {
	URL, CA string
	// Life is how long a token is good.
	Life time.Duration
	// Now is the clock; nil = time.Now.
	Now func() time.Time

	clients map[string]Client
	mu      sync.Mutex
	tokens  map[string]token
	grants  int
	deaf    bool
	asking  int // requests for a token under way
	most    int // of them at once
}

type token struct {
	client string
	ends   time.Time
}

// Start starts a server for the length of the test.
func Start(t testing.TB, life time.Duration, now func() time.Time, clients map[string]Client) *Server {
	t.Helper()
	if now == nil {
		now = time.Now
	}
	s := &Server{Life: life, Now: now, clients: clients, tokens: map[string]token{}}
	server := httptest.NewTLSServer(http.HandlerFunc(s.token))
	t.Cleanup(server.Close)
	s.URL, s.CA = server.URL, authority(server)
	return s
}

func authority(server *httptest.Server) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
}

// token is POST /oauth/token of RFC 6749, 4.4: the client credentials grant.
func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.asking++
	s.most = max(s.most, s.asking)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.asking--
	}()
	w.Header().Set("Content-Type", "application/json")
	id := r.PostFormValue("client_id")
	client, known := s.clients[id]
	switch {
	case r.Method != http.MethodPost || r.URL.Path != "/oauth/token" || r.PostFormValue("grant_type") != "client_credentials" || r.URL.RawQuery != "":
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"error":"invalid_request","error_description":"not as the specification says"}`))
	case !known || client.Secret != r.PostFormValue("client_secret"):
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte(`{"error":"unauthorized","error_description":"Bad credentials"}`))
	default:
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": s.grant(id), "token_type": "bearer",
			"expires_in": s.Life / time.Second, "scope": strings.Join(client.Scopes, " ")})
	}
}

func (s *Server) grant(client string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.grants++
	text := "token-" + rand.Text()
	s.tokens[text] = token{client, s.Now().Add(s.Life)}
	return text
}

// Grants counts the tokens that were given out, AtOnce how many were asked for
// at the same time, at most.
func (s *Server) Grants() (grants, atOnce int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.grants, s.most
}

// Revoke ends all tokens, as a director's or UAA's new key does.
func (s *Server) Revoke() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.tokens)
}

// Distrust makes the director take no token at all.
func (s *Server) Distrust() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deaf = true
}

// Tokens lists all tokens that are good.
func (s *Server) Tokens() (texts []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for text := range s.tokens {
		texts = append(texts, text)
	}
	return texts
}

// whose returns whose token a request carries; "" = nobody's, or it is too old.
func (s *Server) whose(r *http.Request) string {
	scheme, text, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	s.mu.Lock()
	defer s.mu.Unlock()
	found, ok := s.tokens[text]
	if !ok || s.deaf || !strings.EqualFold(scheme, "bearer") || !s.Now().Before(found.ends) {
		return ""
	}
	return found.client
}

// Guard is the door of a director: /info is open to all and names the UAA,
// everything else wants a token with a scope that fits, with the director's
// words. behind sees the client's name as the user of basic authentication.
func (s *Server) Guard(behind http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		client := s.whose(r)
		switch {
		case r.URL.Path == "/info":
			s.info(w, client)
		case client == "":
			w.Header().Set("WWW-Authenticate", `Basic realm="BOSH Director"`)
			w.Header().Set("Content-Type", "text/html;charset=utf-8")
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprintf(w, "Not authorized: '%s'\n", r.URL.Path)
		case !slices.ContainsFunc(s.clients[client].Scopes, func(scope string) bool { return allows(scope, r.Method) }):
			w.Header().Set("Content-Type", "text/html;charset=utf-8")
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"code":600000,"description":"Require one of the scopes: bosh.admin, bosh.` + UUID + `.admin"}`))
		default:
			behind.ServeHTTP(w, r)
		}
	})
}

// UUID is the director's.
const UUID = "5d6f2f3c-3b53-4a1c-9a55-0f7b6c2f4a11"

func (s *Server) info(w http.ResponseWriter, client string) {
	var user any
	if client != "" {
		user = client
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"name": "guarded", "uuid": UUID, "version": "283.1.0 (00000000)", "user": user,
		"user_authentication": map[string]any{"type": "uaa", "options": map[string]any{"url": s.URL, "urls": []string{s.URL}}}})
}

// allows says whether a scope is enough; what belongs to a team is not looked at.
func allows(scope, method string) bool {
	if !strings.HasPrefix(scope, "bosh.") {
		return false
	}
	return strings.HasSuffix(scope, ".admin") || method == http.MethodGet && strings.HasSuffix(scope, ".read")
}
