package servers

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/serviceforge/serviceforge/spec/address"
	"github.com/serviceforge/serviceforge/spec/need"
	"github.com/serviceforge/serviceforge/users"
)

// Database is the one that users share.
const Database = "app"

// Postgresql is a postgres server.
type Postgresql struct {
	Address string
	Service users.Service // with this server alone

	dir     string
	args    []string
	process *process
}

// PostgresqlOptions say how a Postgresql is set up.
type PostgresqlOptions struct {
	Authority *Authority  // nil = without TLS
	Open      bool        // it asks nobody for a password
	Of        *Postgresql // its primary, if it is a standby
	Password  string      // the administrator's; empty = AdminPassword
}

// StartPostgresql runs a postgres.
func StartPostgresql(t testing.TB, o PostgresqlOptions) *Postgresql {
	t.Helper()
	p := &Postgresql{dir: folder(t), Address: address.Free(t)}
	if o.Password == "" {
		o.Password = AdminPassword
	}
	p.Service = users.Service{Driver: "postgresql", Endpoints: []string{"postgresql://" + p.Address}, Database: Database,
		Admin: users.Admin{Username: "admin", Password: secret(AdminPassword)}}
	_, port, _ := net.SplitHostPort(p.Address)
	p.args = []string{"-D", p.data(), "-p", port, "-h", "127.0.0.1", "-k", "", "-c", "fsync=off"}
	if o.Authority != nil {
		p.Service.CA = o.Authority.PEM
		p.args = append(p.args, "-c", "ssl=on", "-c", "ssl_cert_file="+p.put(t, "cert.pem", read(t, o.Authority.Cert)),
			"-c", "ssl_key_file="+p.put(t, "key.pem", read(t, o.Authority.Key)))
	}
	if o.Of == nil {
		method := "scram-sha-256"
		if o.Open {
			method = "trust"
		}
		p.run(t, "initdb", "-D", p.data(), "-U", "admin", "--pwfile", p.put(t, "password", o.Password), "-A", method, "-E", "UTF8", "--no-locale", "--no-sync")
	} else {
		host, port, _ := net.SplitHostPort(o.Of.Address)
		p.run(t, "pg_basebackup", "-D", p.data(), "-R", "--no-sync", "-c", "fast", "-d",
			"host="+host+" port="+port+" user=admin password="+AdminPassword)
	}
	p.Start(t)
	if o.Of == nil {
		p.Exec(t, "postgres", users.User{Name: "admin", Password: secret(o.Password)}, "CREATE DATABASE "+Database)
	}
	return p
}

func (p *Postgresql) data() string { return filepath.Join(p.dir, "data") }

func (p *Postgresql) put(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(p.dir, name)
	write(t, path, text)
	give(t, path)
	return path
}

func (p *Postgresql) run(t testing.TB, name string, args ...string) {
	t.Helper()
	c := command(p.dir, need.Program(t, "/usr/lib/postgresql/*/bin/"+name, "postgresql"), args...)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", name, err, out)
	}
}

// Start runs it again, on the same data.
func (p *Postgresql) Start(t testing.TB) {
	t.Helper()
	program := need.Program(t, "/usr/lib/postgresql/*/bin/postgres", "postgresql")
	p.process = start(t, command(p.dir, program, p.args...), func() error {
		c, err := p.connect(context.Background(), "postgres", users.User{Name: "nobody", Password: secret("x")})
		if err == nil {
			return c.Close(context.Background())
		}
		if strings.Contains(err.Error(), "28P01") || strings.Contains(err.Error(), "28000") {
			return nil // it knows whom it does not know
		}
		return err
	})
}

// Stop ends it.
func (p *Postgresql) Stop(t testing.TB) {
	t.Helper()
	p.process.stop(t, syscall.SIGINT)
}

// Promote makes a standby the primary.
func (p *Postgresql) Promote(t testing.TB) {
	t.Helper()
	p.run(t, "pg_ctl", "promote", "-w", "-D", p.data())
}

// Log is what the server has said.
func (p *Postgresql) Log() string { return p.process.said() }

// Login connects as a user; the error is that of the login.
func (p *Postgresql) Login(t testing.TB, u users.User) (*pgx.Conn, error) {
	t.Helper()
	c, err := p.connect(context.Background(), Database, u)
	if err == nil {
		t.Cleanup(func() { _ = c.Close(context.Background()) })
	}
	return c, err
}

// Exec runs statements in a database as a user.
func (p *Postgresql) Exec(t testing.TB, database string, u users.User, statements ...string) {
	t.Helper()
	c, err := p.connect(context.Background(), database, u)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	for _, statement := range statements {
		if _, err := c.Exec(context.Background(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// Administrator is the login that may do everything.
func (p *Postgresql) Administrator() users.User {
	return users.User{Name: p.Service.Admin.Username, Password: p.Service.Admin.Password}
}

func (p *Postgresql) connect(ctx context.Context, database string, u users.User) (*pgx.Conn, error) {
	c, err := pgx.ParseConfig("sslmode=disable passfile=/dev/null host=127.0.0.1")
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(p.Address)
	n, err := net.LookupPort("tcp", port)
	if err != nil {
		return nil, err
	}
	c.Port, c.Database, c.User, c.Password = uint16(n), database, u.Name, u.Password.Reveal()
	if p.Service.CA != "" {
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM([]byte(p.Service.CA))
		c.TLSConfig = &tls.Config{RootCAs: pool, ServerName: ServerName}
	}
	return pgx.ConnectConfig(ctx, c)
}
