package servers

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/serviceforge/serviceforge/spec/address"
	"github.com/serviceforge/serviceforge/spec/need"
	"github.com/serviceforge/serviceforge/users"
)

// Redis is a redis-server with an ACL file.
type Redis struct {
	Address string
	Service users.Service // with this server alone

	dir, program string
	process      *process
}

// RedisOptions say how a Redis is set up.
type RedisOptions struct {
	Authority *Authority // nil = without TLS
	Open      bool       // it asks nobody for a password
	Forgets   bool       // it has no ACL file
	Of        *Redis     // its leader, if it is a replica
	Password  string     // the administrator's; empty = AdminPassword
}

// StartRedis runs a redis-server.
func StartRedis(t testing.TB, o RedisOptions) *Redis {
	t.Helper()
	r := &Redis{program: need.Program(t, "/usr/bin/redis-server", "redis-server"), dir: folder(t), Address: address.Free(t)}
	if o.Password == "" {
		o.Password = AdminPassword
	}
	r.Service = users.Service{Driver: "redis", Endpoints: []string{"redis://" + r.Address},
		Admin: users.Admin{Username: "admin", Password: secret(AdminPassword)}}
	if o.Authority != nil {
		r.Service.Endpoints[0], r.Service.CA = "rediss://"+r.Address, o.Authority.PEM
	}
	users := fmt.Sprintf("user default off\nuser admin on #%x ~* &* +@all\n", sha256.Sum256([]byte(o.Password)))
	if o.Open {
		users = "user default on nopass ~* &* +@all\nuser admin on nopass ~* &* +@all\n"
	}
	_, port, _ := net.SplitHostPort(r.Address)
	lines := []string{"bind 127.0.0.1", "dir " + r.dir, `save ""`, "appendonly yes"}
	if o.Authority == nil {
		lines = append(lines, "port "+port)
	} else {
		lines = append(lines, "port 0", "tls-port "+port, "tls-auth-clients no", "tls-replication yes",
			"tls-cert-file "+r.take(t, o.Authority.Cert, "cert.pem"), "tls-key-file "+r.take(t, o.Authority.Key, "key.pem"),
			"tls-ca-cert-file "+r.put(t, "ca.pem", o.Authority.PEM))
	}
	if o.Forgets {
		lines = append(lines, users)
	} else {
		lines = append(lines, "aclfile "+r.put(t, "users.acl", users))
	}
	if o.Of != nil {
		host, port, _ := net.SplitHostPort(o.Of.Address)
		lines = append(lines, "masteruser admin", "masterauth "+AdminPassword, "replicaof "+host+" "+port)
	}
	r.put(t, "redis.conf", strings.Join(lines, "\n")+"\n")
	r.Start(t)
	return r
}

func (r *Redis) put(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(r.dir, name)
	write(t, path, text)
	give(t, path)
	return path
}

func (r *Redis) take(t testing.TB, file, name string) string {
	t.Helper()
	return r.put(t, name, read(t, file))
}

// Start runs it again, on the same data.
func (r *Redis) Start(t testing.TB) {
	t.Helper()
	c := r.client("x", "x")
	defer c.Close()
	r.process = start(t, command(r.dir, r.program, filepath.Join(r.dir, "redis.conf")), func() error {
		if err := c.Ping(context.Background()).Err(); err != nil && !goredis.IsAuthError(err) {
			return err
		}
		return nil
	})
}

// Stop ends it.
func (r *Redis) Stop(t testing.TB) {
	t.Helper()
	r.process.stop(t, syscall.SIGTERM)
}

// Login connects as a user; the error is that of the login.
func (r *Redis) Login(t testing.TB, u users.User) (*goredis.Client, error) {
	t.Helper()
	c := r.client(u.Name, u.Password.Reveal())
	t.Cleanup(func() { _ = c.Close() })
	return c, c.Echo(context.Background(), "hello").Err()
}

func (r *Redis) client(name, password string) *goredis.Client {
	o := &goredis.Options{Addr: r.Address, Username: name, Password: password, MaxRetries: -1, DialerRetries: 1, PoolSize: 1, DisableIdentity: true}
	if r.Service.CA != "" {
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM([]byte(r.Service.CA))
		o.TLSConfig = &tls.Config{RootCAs: pool}
	}
	return goredis.NewClient(o)
}
