// Package etcd runs real etcd servers with TLS and authentication, as instances
// of the etcd service release are, inside the process of a test.
package etcd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/url"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.uber.org/zap"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/spec/address"
	"github.com/serviceforge/serviceforge/spec/servers"
	"github.com/serviceforge/serviceforge/users"
)

// Server is a real etcd with TLS.
type Server struct {
	Service   users.Service
	Stop      func() // may be called more than once
	authority servers.Authority
	dir       string
	client    url.URL
}

// Start runs an etcd; with a password, authentication is on and root has it.
func Start(t testing.TB, a servers.Authority, password string) *Server {
	t.Helper()
	s := &Server{authority: a, dir: t.TempDir(), client: url.URL{Scheme: "https", Host: address.Free(t)}}
	e, err := s.run(t)
	if err != nil {
		t.Fatal(err)
	}
	s.Service = users.Service{
		Driver: "etcd", Endpoints: []string{s.client.String()}, CA: a.PEM, ServerName: servers.ServerName,
		Admin: users.Admin{Username: "root", Password: serviceforge.NewSecret("admin-password")},
	}
	if password != "" {
		enable(t, e, password)
	}
	return s
}

// Run starts it again after Stop, on the same data.
func (s *Server) Run(t testing.TB) {
	t.Helper()
	if _, err := s.run(t); err != nil {
		t.Fatal(err)
	}
}

func (s *Server) run(t testing.TB) (*embed.Etcd, error) {
	c := embed.NewConfig()
	c.Dir = s.dir
	c.ListenClientUrls, c.AdvertiseClientUrls = []url.URL{s.client}, []url.URL{s.client}
	c.ListenPeerUrls, c.AdvertisePeerUrls = nil, []url.URL{{Scheme: "http", Host: "localhost:0"}} // etcd insists on a name
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	c.ClientTLSInfo = transport.TLSInfo{CertFile: s.authority.Cert, KeyFile: s.authority.Key}
	c.BcryptCost = 4
	c.UnsafeNoFsync = true
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	e, err := embed.StartEtcd(c)
	if err != nil {
		return nil, err
	}
	s.Stop = sync.OnceFunc(e.Close)
	t.Cleanup(s.Stop)
	<-e.Server.ReadyNotify()
	return e, nil
}

func enable(t testing.TB, e *embed.Etcd, password string) {
	t.Helper()
	c := v3client.New(e.Server)
	defer c.Close()
	ctx := context.Background()
	if _, err := c.UserAdd(ctx, "root", password); err != nil {
		t.Fatal(err)
	}
	if _, err := c.UserGrantRole(ctx, "root", "root"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.AuthEnable(ctx); err != nil {
		t.Fatal(err)
	}
}

// Login connects as a user; the error is that of the login.
func Login(t testing.TB, s users.Service, u users.User) (*clientv3.Client, error) {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(s.CA))
	c, err := clientv3.New(clientv3.Config{
		Endpoints: s.Endpoints, Username: u.Name, Password: u.Password.Reveal(), DialTimeout: time.Minute,
		TLS: &tls.Config{RootCAs: pool}, Logger: zap.NewNop(),
	})
	if err == nil {
		t.Cleanup(func() { _ = c.Close() })
	}
	return c, err
}
