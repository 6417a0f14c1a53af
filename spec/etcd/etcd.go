// Package etcd runs real etcd servers with TLS and authentication, as instances
// of the etcd service release are, inside the process of a test.
package etcd

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.uber.org/zap"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/users"
)

// ServerName is the name in the servers' certificates.
const ServerName = "etcd.example"

// Authority is a CA with one server certificate, as PEM files.
type Authority struct {
	PEM       string
	cert, key string // files
}

// NewAuthority makes one; it ends with the test.
func NewAuthority(t testing.TB) Authority {
	t.Helper()
	dir := t.TempDir()
	caKey, ca := certificate(t, nil, nil)
	leafKey, leaf := certificate(t, ca, caKey)
	key, err := x509.MarshalPKCS8PrivateKey(leafKey)
	if err != nil {
		t.Fatal(err)
	}
	a := Authority{
		PEM:  string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw})),
		cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem"),
	}
	write(t, a.cert, "CERTIFICATE", leaf.Raw)
	write(t, a.key, "PRIVATE KEY", key)
	return a
}

func certificate(t testing.TB, ca *x509.Certificate, caKey *ecdsa.PrivateKey) (*ecdsa.PrivateKey, *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: ca == nil,
		DNSNames: []string{ServerName}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if ca == nil {
		ca, caKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca, key.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return key, cert
}

func write(t testing.TB, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Server is a real etcd with TLS.
type Server struct {
	Service   users.Service
	Stop      func() // may be called more than once
	authority Authority
	dir       string
	client    url.URL
}

// FreeURL finds an address that can be bound now.
func FreeURL(t testing.TB, scheme string) url.URL {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return url.URL{Scheme: scheme, Host: l.Addr().String()}
}

// Start runs an etcd; with a password, authentication is on and root has it.
func Start(t testing.TB, a Authority, password string) *Server {
	t.Helper()
	s := &Server{authority: a, dir: t.TempDir()}
	e, err := (*embed.Etcd)(nil), error(syscall.EADDRINUSE)
	for errors.Is(err, syscall.EADDRINUSE) { // somebody else took what was free
		s.client = FreeURL(t, "https")
		e, err = s.run(t)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.Service = users.Service{
		Driver: "etcd", Endpoints: []string{s.client.String()}, CA: a.PEM, ServerName: ServerName,
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
	c.ClientTLSInfo = transport.TLSInfo{CertFile: s.authority.cert, KeyFile: s.authority.key}
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
		Endpoints: s.Endpoints, Username: u.Name, Password: u.Password.Reveal(), DialTimeout: 10 * time.Second,
		TLS: &tls.Config{RootCAs: pool}, Logger: zap.NewNop(),
	})
	if err == nil {
		t.Cleanup(func() { _ = c.Close() })
	}
	return c, err
}
