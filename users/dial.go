package users

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"time"
)

const dialFor = 3 * time.Second

// checkEndpoints checks that all endpoints are URLs like an example, of one of
// the schemes. They are not repeated: somebody may have written a login into one.
func checkEndpoints(s Service, like string, schemes ...string) error {
	for n, endpoint := range s.Endpoints {
		u, err := url.Parse(endpoint)
		switch {
		case err != nil || !slices.Contains(schemes, u.Scheme) || u.Hostname() == "" || u.Port() == "" || u.User != nil || u.RawQuery+u.Fragment != "":
			return fmt.Errorf("endpoint %d is not a URL like %s", n+1, like)
		case s.CA != "" && (u.Scheme == "redis" || u.Scheme == "http"):
			return fmt.Errorf("endpoint %d is without TLS, but a CA is given", n+1)
		}
	}
	return nil
}

// tlsOf returns how the service's certificates are checked; without a CA of its
// own against those of the machine.
func tlsOf(s Service) (*tls.Config, error) {
	config := &tls.Config{ServerName: s.ServerName, MinVersion: tls.VersionTLS12}
	if s.CA == "" {
		return config, nil
	}
	config.RootCAs = x509.NewCertPool()
	if !config.RootCAs.AppendCertsFromPEM([]byte(s.CA)) {
		return nil, errors.New("the service's CA holds no certificate")
	}
	return config, nil
}

// dial connects; with a config by TLS, where a server that cannot show the
// right certificate gives ErrForeign.
func dial(ctx context.Context, address string, config *tls.Config) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: dialFor}
	if config == nil {
		return dialer.DialContext(ctx, "tcp", address)
	}
	conn, err := (&tls.Dialer{NetDialer: dialer, Config: config}).DialContext(ctx, "tcp", address)
	return conn, foreign(err, address)
}

// foreign adds ErrForeign to the error of a TLS handshake that shows a wrong
// server.
func foreign(err error, address string) error {
	_, wrongName := errors.AsType[*tls.CertificateVerificationError](err)
	_, noTLS := errors.AsType[tls.RecordHeaderError](err)
	if wrongName || noTLS {
		return fmt.Errorf("%w: %s: %w", ErrForeign, address, err)
	}
	return err
}

// first opens all endpoints at once, and returns what the first opened; the
// others are closed. Without one the error holds those of all.
func first[T connection](ctx context.Context, endpoints []string, open func(context.Context, string) (T, error)) (opened T, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		opened T
		err    error
	}
	answers := make(chan answer, len(endpoints))
	for _, endpoint := range endpoints {
		go func() {
			var a answer
			a.opened, a.err = open(ctx, endpoint)
			answers <- a
		}()
	}
	var found bool
	var errs []error
	for range endpoints {
		switch a := <-answers; {
		case a.err != nil:
			errs = append(errs, a.err)
		case found:
			a.opened.close()
		default:
			opened, found = a.opened, true
			cancel() // the others need not answer any more
		}
	}
	if found {
		return opened, nil
	}
	return opened, errors.Join(errs...)
}
