package store

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/serviceforge/serviceforge"
)

// Cluster says how to reach an external etcd cluster. Files are PEM; a CA, or
// certificate and key, may be left out.
type Cluster struct {
	Endpoints     []string
	CA, Cert, Key string // files
	Username      string
	Password      serviceforge.Secret
}

// Dial makes a client of an external cluster; it connects when it is used, but
// a user logs in at once. Errors: Invalid, Unavailable (nobody answers the login).
func Dial(c Cluster) (*Client, error) {
	config := clientv3.Config{
		Endpoints: c.Endpoints, Username: c.Username, Password: c.Password.Reveal(), DialTimeout: requestTimeout,
		DialKeepAliveTime: 5 * time.Second, DialKeepAliveTimeout: 3 * time.Second, Logger: zap.NewNop(),
	}
	if c.CA != "" || c.Cert != "" {
		var err error
		if config.TLS, err = c.tls(); err != nil {
			return nil, err
		}
	}
	client, err := clientv3.New(config)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, serviceforge.Wrap(err, serviceforge.Unavailable, "the etcd cluster %v does not answer", c.Endpoints)
	}
	if err != nil {
		return nil, serviceforge.Wrap(err, serviceforge.Invalid, "the etcd cluster %v cannot be used: %v", c.Endpoints, err)
	}
	return client, nil
}

func (c Cluster) tls() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CA != "" {
		pem, err := os.ReadFile(c.CA)
		if err != nil {
			return nil, serviceforge.Wrap(err, serviceforge.Invalid, "the etcd CA %s cannot be read", c.CA)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, serviceforge.Errorf(serviceforge.Invalid, "the etcd CA %s is not a PEM certificate", c.CA)
		}
	}
	if c.Cert != "" {
		pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
		if err != nil {
			return nil, serviceforge.Wrap(err, serviceforge.Invalid, "the etcd client certificate %s cannot be used", c.Cert)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}
