package cmd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/config"
)

const (
	// stopTimeout bounds how long requests under way are waited for.
	stopTimeout = 30 * time.Second
	// answerTimeout is how long a request may take, with its answer: longer than
	// the minute after which platforms give up.
	answerTimeout  = 2 * time.Minute
	maxHeaderBytes = 32 << 10
)

// identity is what the broker proves itself with over HTTPS, and whom it lets
// in. Both are replaced while it serves: each handshake takes the present ones.
type identity struct {
	certificate atomic.Pointer[tls.Certificate]
	clients     atomic.Pointer[x509.CertPool] // nil = clients need no certificate
}

// identify reads the certificates of the settings; nil where there are none,
// and the broker speaks plain HTTP.
func (a *App) identify() (*identity, error) {
	b := a.config.Broker
	if b.Cert == "" {
		return nil, nil
	}
	id := &identity{}
	err := a.follow(&config.File{Paths: []string{b.Cert, b.Key}, Apply: func(pem [][]byte) error {
		pair, err := tls.X509KeyPair(pem[0], pem[1])
		if err != nil {
			return serviceforge.Wrap(err, serviceforge.Unprocessable, "%s and %s are not a certificate and its key", b.Cert, b.Key)
		}
		id.certificate.Store(&pair)
		return nil
	}})
	if err != nil || b.ClientCA == "" {
		return id, err
	}
	return id, a.follow(&config.File{Paths: []string{b.ClientCA}, Apply: func(pem [][]byte) error {
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem[0]) {
			return serviceforge.Errorf(serviceforge.Unprocessable, "%s holds no certificate of a CA", b.ClientCA)
		}
		id.clients.Store(pool)
		return nil
	}})
}

// settings are those of one handshake.
func (id *identity) settings(*tls.ClientHelloInfo) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*id.certificate.Load()}}
	if clients := id.clients.Load(); clients != nil {
		c.ClientCAs, c.ClientAuth = clients, tls.RequireAndVerifyClientCert
	}
	return c, nil
}

// follow reads a file of settings, and again whenever it changes.
func (a *App) follow(f *config.File) error {
	a.files = append(a.files, f)
	return f.Read()
}

// followFiles applies changes of the followed files until Stop.
func (a *App) followFiles() {
	if len(a.files) == 0 {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		config.Follow(ctx, a.log.With("part", "settings"), a.files...)
	}()
	a.onStop(func(context.Context) error { cancel(); <-done; return nil })
}

// serveHTTP serves the faces until Stop. Then /readyz says no for a while, so
// that nobody sends more, and requests under way are finished.
func (a *App) serveHTTP(listener net.Listener, faces http.Handler, id *identity) {
	b := a.config.Broker
	server := &http.Server{
		Handler: faces, ReadHeaderTimeout: b.HeaderTimeout, ReadTimeout: b.BodyTimeout, WriteTimeout: answerTimeout,
		IdleTimeout: b.IdleTimeout, MaxHeaderBytes: maxHeaderBytes, Protocols: &http.Protocols{},
		ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
	}
	server.Protocols.SetHTTP1(true)
	serve := server.Serve
	if id != nil {
		server.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: id.settings}
		serve = func(l net.Listener) error { return server.ServeTLS(l, "", "") }
	}
	go func() {
		if err := serve(listener); !errors.Is(err, http.ErrServerClosed) {
			a.serverError <- serviceforge.Wrap(err, serviceforge.Internal, "the broker's HTTP server ended: %v", err)
		}
	}()
	a.onStop(func(ctx context.Context) error {
		a.draining.Store(true)
		select {
		case <-time.After(b.Drain):
		case <-ctx.Done():
		}
		ctx, cancel := context.WithTimeout(ctx, stopTimeout)
		defer cancel()
		if server.Shutdown(ctx) != nil {
			return server.Close()
		}
		return nil
	})
}

// readiness remembers for a second whether the store answers, so that it is not
// strangers who decide how often it is asked.
type readiness struct {
	mu    sync.Mutex
	asked time.Time
	good  bool
}

const readyMemory = time.Second

func (r *readiness) of(ctx context.Context, answers func(context.Context) error) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.asked) >= readyMemory {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readyMemory)
		defer cancel()
		r.good = answers(ctx) == nil
		r.asked = time.Now()
	}
	return r.good
}

// serveReady tells a load balancer whether to send requests here: not while the
// broker stops, nor while the store does not answer.
func (a *App) serveReady(w http.ResponseWriter, r *http.Request) {
	reason := ""
	switch {
	case a.draining.Load():
		reason = "stopping"
	case !a.ready.of(r.Context(), a.store.Ping):
		reason = "the store does not answer"
	}
	w.Header().Set("Cache-Control", "no-store")
	if reason != "" {
		w.Header().Set("Retry-After", "1")
		http.Error(w, reason, http.StatusServiceUnavailable)
		return
	}
	_, _ = w.Write([]byte("ready\n"))
}
