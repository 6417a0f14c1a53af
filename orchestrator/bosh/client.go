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

	cli "github.com/cloudfoundry/bosh-cli/v7/director"
	"github.com/cloudfoundry/bosh-utils/httpclient"
	boshlog "github.com/cloudfoundry/bosh-utils/logger"

	"github.com/serviceforge/serviceforge"
)

const (
	// connections bounds what one director has to hold open for us.
	connections = 8
	idleFor     = 5 * time.Minute
)

// Options say how to reach a director: with a username and a password, or as a
// client of its UAA.
type Options struct {
	URL      string // https://host:port
	CA       string // PEM; empty = the system's
	Username string
	Password serviceforge.Secret
	UAA      UAA              // with a Client, it is used instead of the username
	Now      func() time.Time // nil = time.Now
	// Observe is told of every answer of the director; status 0 = none came. nil = nobody.
	Observe func(method string, status int, took time.Duration)
}

// Client talks to one director. It is safe for concurrent use.
type Client struct {
	endpoint string
	login    login
	http     *http.Client
	observe  func(method string, status int, took time.Duration)
	quiet    boshlog.Logger // bosh-cli's debug log dumps bodies: it gets none
}

// New makes a client; no request is made. Errors: Invalid.
func New(o Options) (*Client, error) {
	u, err := url.Parse(o.URL)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return nil, serviceforge.Wrap(err, serviceforge.Invalid, "the director's URL must look like https://host:25555")
	}
	c := &Client{endpoint: "https://" + u.Host, quiet: boshlog.NewLogger(boshlog.LevelNone), observe: o.Observe}
	if c.observe == nil {
		c.observe = func(string, int, time.Duration) {}
	}
	if c.http, err = newHTTP(o.CA, "director "+u.Host); err != nil {
		return nil, err
	}
	if o.UAA.Client == "" {
		c.login = newBasic(o.Username, o.Password)
		return c, nil
	}
	c.login, err = newUAA(c, o)
	return c, err
}

// newHTTP makes a client that trusts the CA (PEM; empty = the system's) of a
// server, keeps a bounded number of connections, and follows nothing.
func newHTTP(ca, of string) (*http.Client, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM([]byte(ca)) {
			return nil, serviceforge.Errorf(serviceforge.Invalid, "the CA of %s is not a PEM certificate", of)
		}
	}
	return &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: config,
			MaxConnsPerHost: connections, MaxIdleConnsPerHost: connections, IdleConnTimeout: idleFor,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// Close drops idle connections.
func (c *Client) Close() {
	c.http.CloseIdleConnections()
	if u, ok := c.login.(*uaa); ok {
		u.http.CloseIdleConnections()
	}
}

// call prepares one request with ctx; what came back is kept in the transport.
func (c *Client) call(ctx context.Context, contextID string) (cli.ClientRequest, *transport) {
	t := &transport{ctx: ctx, client: c}
	return cli.NewClientRequest(c.endpoint, httpclient.NewHTTPClient(t, c.quiet),
		cli.NewNoopFileReporter(), c.quiet).WithContext(contextID), t
}
