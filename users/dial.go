package users

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"
)

const dialFor = 3 * time.Second

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
