package cluster_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/serviceforge/serviceforge/spec"
)

const (
	rootPassword = "root-password"
	// The brokers' user of etcd, with the least rights.
	user         = "broker"
	userPassword = "broker-password"
	ours         = "/serviceforge/"
)

// member is one etcd server of the cluster.
type member struct {
	*spec.Process
	name    string
	clients string           // HOST:PORT of the server itself
	from    map[string]*link // by the name of the peer that dials
}

// members starts three etcd servers with TLS between all and passwords for
// clients, each pair joined by links of their own.
func members(t testing.TB, account spec.Account, folder string, a *authority) []*member {
	t.Helper()
	network := fmt.Sprintf("127.%d.%d", 64+mathrand.IntN(128), mathrand.IntN(256))
	all := make([]*member, 3)
	var names, urls []string
	for i := range all {
		names = append(names, fmt.Sprintf("m%d.peer", i))
	}
	for i := range all {
		ip := fmt.Sprintf("%s.%d", network, i+1)
		m := &member{name: fmt.Sprint("m", i), clients: ip + ":2379", from: map[string]*link{}}
		for _, name := range names {
			m.from[name] = newLink(t, ip+":2380")
		}
		urls = append(urls, "https://"+listenFor(t, m.from))
		all[i] = m
	}
	etcd := account.As(t, "etcd")
	for i, m := range all {
		dir := filepath.Join(folder, m.name)
		must(t, os.Mkdir(dir, 0o700))
		// A member greets others by the first name of its own certificate.
		a.issue(t, dir, append([]string{names[i]}, names...), net.ParseIP(strings.TrimSuffix(m.clients, ":2379")))
		write(t, filepath.Join(dir, "root"), rootPassword)
		write(t, filepath.Join(dir, "etcd.yml"), fmt.Sprintf(`
name: %[1]s
data-dir: %[2]s/data
initial-cluster: m0=%[4]s,m1=%[5]s,m2=%[6]s
initial-cluster-state: new
initial-advertise-peer-urls: %[7]s
listen-peer-urls: https://%[3]s:2380
advertise-client-urls: https://%[3]s:2379
listen-client-urls: https://%[3]s:2379
client-transport-security: {cert-file: %[2]s/crt, key-file: %[2]s/key}
peer-transport-security: {cert-file: %[2]s/crt, key-file: %[2]s/key, client-cert-auth: true, trusted-ca-file: %[8]s, skip-client-san-verification: true}
heartbeat-interval: 100
election-timeout: 1000
bcrypt-cost: 4
auth-token-ttl: 3 # seconds: a member forgets who came in when it does not see him for a while
unsafe-no-fsync: true # processes die here, machines do not
log-level: warn
`, m.name, dir, strings.TrimSuffix(m.clients, ":2379"), urls[0], urls[1], urls[2], urls[i], a.path))
		m.Process = spec.StartProcess(t, etcd, "", "--config-file", filepath.Join(dir, "etcd.yml"), "--root-password-file", filepath.Join(dir, "root"))
	}
	return all
}

// apart cuts or mends the links between a member and all others.
func (c *cluster) apart(m *member, do func(*link)) {
	for _, other := range c.members {
		if other == m {
			continue
		}
		do(other.from[m.name+".peer"])
		do(m.from[other.name+".peer"])
	}
}

// root is a client that asks the members directly, as etcd's administrator.
func (c *cluster) root(a *authority) *clientv3.Client {
	c.t.Helper()
	var endpoints []string
	for _, m := range c.members {
		endpoints = append(endpoints, "https://"+m.clients)
	}
	var client *clientv3.Client
	spec.Eventually(c.t, "etcd serves", func() (err error) {
		client, err = clientv3.New(clientv3.Config{Endpoints: endpoints, TLS: &tls.Config{RootCAs: a.pool}, Username: "root", Password: rootPassword,
			DialTimeout: 2 * time.Second, Logger: zap.NewNop()})
		return err
	})
	c.t.Cleanup(func() { _ = client.Close() })
	return client
}

// admit makes the brokers' user: it may read and write below one prefix, and
// nothing else.
func (c *cluster) admit() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 30*time.Second)
	defer cancel()
	_, err := c.etcd.RoleAdd(ctx, user)
	must(c.t, err)
	_, err = c.etcd.RoleGrantPermission(ctx, user, ours, clientv3.GetPrefixRangeEnd(ours), clientv3.PermissionType(clientv3.PermReadWrite))
	must(c.t, err)
	_, err = c.etcd.UserAdd(ctx, user, userPassword)
	must(c.t, err)
	_, err = c.etcd.UserGrantRole(ctx, user, user)
	must(c.t, err)
}

// keys reads what etcd has below a prefix of ours, without the prefix.
func (c *cluster) keys(prefix string) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(c.t.Context(), 5*time.Second)
	defer cancel()
	answer, err := c.etcd.Get(ctx, ours+"v1/"+prefix, clientv3.WithPrefix())
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for _, kv := range answer.Kvs {
		found[strings.TrimPrefix(string(kv.Key), ours+"v1/"+prefix)] = string(kv.Value)
	}
	return found, nil
}

// etcdLeader is the member that leads etcd.
func (c *cluster) etcdLeader() (leader *member) {
	c.t.Helper()
	spec.Eventually(c.t, "etcd has a leader", func() error {
		for _, m := range c.members {
			ctx, cancel := context.WithTimeout(c.t.Context(), 2*time.Second)
			status, err := c.etcd.Status(ctx, "https://"+m.clients)
			cancel()
			if err == nil && status.Leader == status.Header.MemberId {
				leader = m
				return nil
			}
		}
		return fmt.Errorf("nobody says that it leads")
	})
	return leader
}

// authority signs the certificates of the cluster.
type authority struct {
	path string // of its certificate
	pool *x509.CertPool
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB, folder string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	a := &authority{path: filepath.Join(folder, "ca"), pool: x509.NewCertPool(), key: key, cert: &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "etcd-ca"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}}
	der, err := x509.CreateCertificate(rand.Reader, a.cert, a.cert, &key.PublicKey, key)
	must(t, err)
	a.cert, err = x509.ParseCertificate(der)
	must(t, err)
	a.pool.AddCert(a.cert)
	write(t, a.path, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	return a
}

// issue writes a certificate for names and addresses, and its key, as crt and
// key into dir.
func (a *authority) issue(t testing.TB, dir string, names []string, own net.IP) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(mathrand.Int64()), Subject: pkix.Name{CommonName: "etcd"}, DNSNames: names,
		IPAddresses: []net.IP{own, net.IPv4(127, 0, 0, 1)}, // the links are on the latter
		KeyUsage:    x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		NotBefore: a.cert.NotBefore, NotAfter: a.cert.NotAfter,
	}, a.cert, &key.PublicKey, a.key)
	must(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	write(t, filepath.Join(dir, "crt"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	write(t, filepath.Join(dir, "key"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
}

func write(t testing.TB, path, content string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(content), 0o600))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
