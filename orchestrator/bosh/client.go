// Package bosh is the client of BOSH directors: bosh-cli's requests and types
// over a transport of our own, one HTTP request a call, never repeated.
package bosh

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/url"
	"time"

	"github.com/cloudfoundry/bosh-cli/v7/director"
	"github.com/cloudfoundry/bosh-utils/httpclient"
	boshlog "github.com/cloudfoundry/bosh-utils/logger"

	"github.com/serviceforge/serviceforge"
)

const (
	// connections bounds what one director has to hold open for us.
	connections = 8
	idleFor     = 5 * time.Minute
)

// Options say how to reach a director.
type Options struct {
	URL      string // https://host:port
	CA       string // PEM; empty = the system's
	Username string
	Password serviceforge.Secret
}

// Client talks to one director. It is safe for concurrent use.
type Client struct {
	endpoint string
	username string
	password serviceforge.Secret
	http     *http.Client
	quiet    boshlog.Logger // bosh-cli's debug log dumps bodies: it gets none
}

// New makes a client; no request is made. Errors: Invalid.
func New(o Options) (*Client, error) {
	u, err := url.Parse(o.URL)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return nil, serviceforge.Wrap(err, serviceforge.Invalid, "the director's URL must look like https://host:25555")
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CA != "" {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM([]byte(o.CA)) {
			return nil, serviceforge.Errorf(serviceforge.Invalid, "the CA of director %s is not a PEM certificate", u.Host)
		}
	}
	return &Client{
		endpoint: "https://" + u.Host, username: o.Username, password: o.Password,
		http: &http.Client{
			Transport: &http.Transport{
				Proxy: http.ProxyFromEnvironment, TLSClientConfig: config,
				MaxConnsPerHost: connections, MaxIdleConnsPerHost: connections, IdleConnTimeout: idleFor,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		quiet: boshlog.NewLogger(boshlog.LevelNone),
	}, nil
}

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// call prepares one request with ctx; what came back is kept in the transport.
func (c *Client) call(ctx context.Context, contextID string) (director.ClientRequest, *transport) {
	t := &transport{ctx: ctx, client: c}
	return director.NewClientRequest(c.endpoint, httpclient.NewHTTPClient(t, c.quiet),
		director.NewNoopFileReporter(), c.quiet).WithContext(contextID), t
}
