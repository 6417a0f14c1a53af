package users_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/spec/address"
	"github.com/serviceforge/serviceforge/spec/servers"
	"github.com/serviceforge/serviceforge/users"
)

func TestPostgresqlUserHasTheDatabaseAndNoAdministration(t *testing.T) {
	t.Parallel()
	a := servers.NewAuthority(t)
	for name, o := range map[string]servers.PostgresqlOptions{"TLS": {Authority: &a}, "plain": {}} {
		server := servers.StartPostgresql(t, o)
		d, ctx, u := drivers(t), limited(t), users.NewUser()
		if err := d.Check(ctx, server.Service); err != nil {
			t.Fatal(serviceforge.DetailOf(err))
		}
		if err := d.Create(ctx, server.Service, u); err != nil {
			t.Fatal(serviceforge.DetailOf(err))
		}
		server.Exec(t, servers.Database, u, "CREATE TABLE t (a int)", "INSERT INTO t VALUES (1)", "CREATE SCHEMA s", "CREATE VIEW s.v AS SELECT * FROM t",
			"CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "CREATE TEMP TABLE x (a int)", "CREATE EXTENSION IF NOT EXISTS plpgsql",
			"DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
		c, err := server.Login(t, u)
		if err != nil {
			t.Fatal(err)
		}
		for _, administer := range []string{
			"CREATE ROLE x", "ALTER ROLE admin PASSWORD 'x'", "GRANT admin TO CURRENT_USER", "SET ROLE admin", "CREATE DATABASE x",
			"ALTER DATABASE app RENAME TO other", "DROP DATABASE app", "ALTER SYSTEM SET max_connections = 1", "COPY pg_class TO '/tmp/x'",
			"SELECT pg_read_file('/etc/passwd')", "SELECT * FROM pg_authid", "ALTER ROLE CURRENT_USER SUPERUSER",
			"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'admin'",
		} {
			if _, err := c.Exec(ctx, administer); codeOf(err) != "42501" {
				t.Errorf("%s: %s: got %v, want insufficient privilege", name, administer, err)
			}
		}
		if log := server.Log(); strings.Contains(log, u.Password.Reveal()) || strings.Contains(log, "SCRAM") {
			t.Errorf("%s: the server's log holds the password", name)
		}
	}
}

// codeOf is the SQLSTATE of an error of the server.
func codeOf(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code
	}
	return ""
}

func TestPostgresqlPasswordIsSet(t *testing.T) {
	t.Parallel()
	server := servers.StartPostgresql(t, servers.PostgresqlOptions{})
	d, ctx, first := drivers(t), limited(t), users.NewUser()
	second := users.User{Name: first.Name, Password: users.NewUser().Password}
	for _, u := range []users.User{first, first, second} {
		if err := d.Create(ctx, server.Service, u); err != nil {
			t.Fatal(serviceforge.DetailOf(err))
		}
	}
	if _, err := server.Login(t, first); codeOf(err) != "28P01" {
		t.Errorf("old password: %v", err)
	}
	if _, err := server.Login(t, second); err != nil {
		t.Error(err)
	}
	server.Stop(t)
	if err := d.Check(ctx, server.Service); serviceforge.CodeOf(err) != serviceforge.Unavailable {
		t.Errorf("stopped: got %v", err)
	}
	server.Start(t)
	for _, err := range []error{d.Check(ctx, server.Service), d.Revoke(ctx, server.Service, first.Name), d.Create(ctx, server.Service, first)} {
		if err != nil {
			t.Errorf("started again: %v", serviceforge.DetailOf(err))
		}
	}
	server.Stop(t)
	server.Start(t) // unnoticed by the kept connection
	if err := d.Revoke(ctx, server.Service, first.Name); err != nil {
		t.Errorf("started again unnoticed: %v", serviceforge.DetailOf(err))
	}
}

func TestPostgresqlRevokeKeepsTheData(t *testing.T) {
	t.Parallel()
	server := servers.StartPostgresql(t, servers.PostgresqlOptions{})
	d, ctx, u, next := drivers(t), limited(t), users.NewUser(), users.NewUser()
	if err := d.Create(ctx, server.Service, u); err != nil {
		t.Fatal(serviceforge.DetailOf(err))
	}
	server.Exec(t, servers.Database, u, "CREATE TABLE shared (a int)", "INSERT INTO shared VALUES (1)",
		"SET ROLE NONE", "CREATE SCHEMA own", "CREATE TABLE own.t (a int)", "INSERT INTO own.t VALUES (2)",
		"ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC", `GRANT SELECT ON own.t TO PUBLIC`)
	server.Exec(t, "postgres", server.Administrator(), `CREATE SCHEMA elsewhere AUTHORIZATION "`+u.Name+`"`)
	open, err := server.Login(t, u)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Create(ctx, server.Service, next); err != nil {
		t.Fatal(serviceforge.DetailOf(err))
	}
	other, err := server.Login(t, next)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // gone and gone again
		if err := d.Revoke(ctx, server.Service, u.Name); err != nil {
			t.Fatal(serviceforge.DetailOf(err))
		}
	}
	if _, err := open.Exec(ctx, "SELECT 1"); codeOf(err) != "57P01" { // admin_shutdown
		t.Errorf("the revoked user's session goes on: %v", err)
	}
	if _, err := server.Login(t, u); codeOf(err) != "28P01" {
		t.Errorf("the revoked user logs in: %v", err)
	}
	var sum int
	if err := other.QueryRow(ctx, "SELECT sum(a) FROM (SELECT * FROM shared UNION SELECT * FROM own.t) x").Scan(&sum); err != nil || sum != 3 {
		t.Errorf("the other user sees %d, %v", sum, err)
	}
	for _, statement := range []string{"ALTER TABLE shared ADD b int", "INSERT INTO own.t VALUES (3)", "ALTER TABLE own.t ADD b int", "DROP SCHEMA own CASCADE"} {
		if _, err := other.Exec(ctx, statement); err != nil {
			t.Errorf("%s: %v", statement, err)
		}
	}
}

// TestPostgresqlRevokeIsNotHeldUp: whatever holds up the rest, nobody logs in.
func TestPostgresqlRevokeIsNotHeldUp(t *testing.T) {
	t.Parallel()
	server := servers.StartPostgresql(t, servers.PostgresqlOptions{})
	d, ctx, u, other := drivers(t), limited(t), users.NewUser(), users.NewUser()
	for _, user := range []users.User{u, other} {
		if err := d.Create(ctx, server.Service, user); err != nil {
			t.Fatal(serviceforge.DetailOf(err))
		}
	}
	server.Exec(t, servers.Database, u, "SET ROLE NONE", "CREATE SCHEMA own", "CREATE TABLE own.t (a int)", `GRANT ALL ON SCHEMA own TO PUBLIC`, "GRANT ALL ON own.t TO PUBLIC")
	holding, err := server.Login(t, other)
	if err != nil {
		t.Fatal(err)
	}
	tx, err := holding.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(ctx, "SELECT * FROM own.t"); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, perCall)
	err = d.Revoke(short, server.Service, u.Name)
	cancel()
	if serviceforge.CodeOf(err) != serviceforge.Unavailable {
		t.Fatalf("got %v, or this test shows nothing", err)
	}
	if _, err := server.Login(t, u); codeOf(err) != "28P01" && codeOf(err) != "28000" {
		t.Errorf("the revoked user logs in: %v", err)
	}
	if err := tx.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
	if err := d.Revoke(ctx, server.Service, u.Name); err != nil {
		t.Error(serviceforge.DetailOf(err))
	}
}

func TestPostgresqlOfShortPatience(t *testing.T) {
	t.Parallel()
	server := servers.StartPostgresql(t, servers.PostgresqlOptions{})
	server.Exec(t, "postgres", server.Administrator(), "ALTER SYSTEM SET statement_timeout = 1", "SELECT pg_reload_conf()")
	d, ctx, u := drivers(t), limited(t), users.NewUser()
	for range 10 {
		for _, err := range []error{d.Create(ctx, server.Service, u), d.Revoke(ctx, server.Service, u.Name)} {
			if err != nil {
				t.Fatal(serviceforge.DetailOf(err))
			}
		}
	}
}

func TestPostgresqlStandby(t *testing.T) {
	t.Parallel()
	primary := servers.StartPostgresql(t, servers.PostgresqlOptions{})
	standby := servers.StartPostgresql(t, servers.PostgresqlOptions{Of: primary})
	s := primary.Service
	s.Endpoints = append(standby.Service.Endpoints, s.Endpoints...)
	d, ctx, u := drivers(t), limited(t), users.NewUser()
	if err := d.Create(ctx, s, u); err != nil {
		t.Fatal(serviceforge.DetailOf(err))
	}
	reader := eventually(t, ctx, func() (*pgx.Conn, error) { return standby.Login(t, u) })
	if err := d.Revoke(ctx, s, u.Name); err != nil {
		t.Fatal(serviceforge.DetailOf(err))
	}
	if _, err := reader.Exec(ctx, "SELECT 1"); err == nil {
		t.Error("the revoked user's session on the standby goes on")
	}
	if _, err := standby.Login(t, u); codeOf(err) != "28P01" && codeOf(err) != "28000" {
		t.Errorf("the revoked user logs in at the standby: %v", err)
	}
	if err := d.Check(ctx, standby.Service); serviceforge.CodeOf(err) != serviceforge.Unavailable {
		t.Errorf("a standby alone: %v", err)
	}
	primary.Stop(t)
	if err := d.Create(ctx, s, u); serviceforge.CodeOf(err) != serviceforge.Unavailable {
		t.Errorf("without a primary: %v", err)
	}
	standby.Promote(t)
	if err := d.Create(ctx, s, u); err != nil {
		t.Errorf("failed over: %v", serviceforge.DetailOf(err))
	}
	if _, err := standby.Login(t, u); err != nil {
		t.Error(err)
	}
}

// eventually repeats do until it has no error.
func eventually[T any](t *testing.T, ctx context.Context, do func() (T, error)) T {
	t.Helper()
	for {
		v, err := do()
		if err == nil {
			return v
		}
		select {
		case <-ctx.Done():
			t.Fatal(err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func TestPostgresqlForeignServersAreFinal(t *testing.T) {
	t.Parallel()
	ours, theirs := servers.NewAuthority(t), servers.NewAuthority(t)
	right := servers.StartPostgresql(t, servers.PostgresqlOptions{Authority: &ours})
	other := servers.StartPostgresql(t, servers.PostgresqlOptions{Password: "theirs"})
	otherCA := right.Service
	otherCA.CA = theirs.PEM
	otherName := right.Service
	otherName.ServerName = "somebody.else"
	noTLS := other.Service
	noTLS.CA = ours.PEM
	otherPassword := right.Service
	otherPassword.Admin.Password = serviceforge.NewSecret("not-theirs")
	for name, s := range map[string]users.Service{
		"other CA": otherCA, "other name": otherName, "no TLS": noTLS, "other password": otherPassword, "plain, other": other.Service,
		"open to anybody": servers.StartPostgresql(t, servers.PostgresqlOptions{Open: true}).Service,
	} {
		foreign(t, name, s)
	}
	two := right.Service
	two.Endpoints = append(two.Endpoints, other.Service.Endpoints...)
	if err := drivers(t).Create(limited(t), two, users.NewUser()); err != nil {
		t.Errorf("a stranger at the standby's address stops a binding: %v", serviceforge.DetailOf(err))
	}
}

func TestPostgresqlUnavailable(t *testing.T) {
	t.Parallel()
	s := servers.StartPostgresql(t, servers.PostgresqlOptions{}).Service
	nobody, silent, nowhere := s, s, s
	nobody.Endpoints, silent.Endpoints = []string{"postgresql://" + address.Free(t)}, []string{"postgresql://" + servers.Silent(t)}
	nowhere.Database = "other"
	for name, s := range map[string]users.Service{"nobody there": nobody, "silent": silent, "no database": nowhere} {
		u := users.NewUser()
		ctx, cancel := context.WithTimeout(limited(t), perCall)
		err := drivers(t).Create(ctx, s, u)
		cancel()
		if serviceforge.CodeOf(err) != serviceforge.Unavailable || errors.Is(err, users.ErrForeign) {
			t.Errorf("%s: got %v", name, serviceforge.DetailOf(err))
		}
		if detail := fmt.Sprint(serviceforge.DetailOf(err)); strings.Contains(detail, u.Password.Reveal()) || strings.Contains(detail, servers.AdminPassword) {
			t.Errorf("%s: the error holds a password", name)
		}
	}
	some := s
	some.Endpoints = append(nobody.Endpoints, s.Endpoints...)
	if err := drivers(t).Create(limited(t), some, users.NewUser()); err != nil {
		t.Errorf("one of two is enough: %v", serviceforge.DetailOf(err))
	}
}

func TestPostgresqlSettings(t *testing.T) {
	t.Parallel()
	for endpoint, database := range map[string]string{"http://h:1": "d", "postgresql://h": "d", "postgresql://h:1": "", "postgresql://a:b@h:1": "d"} {
		s := users.Service{Driver: "postgresql", Endpoints: []string{endpoint}, Database: database,
			Admin: users.Admin{Username: "admin", Password: serviceforge.NewSecret("x")}}
		if err := drivers(t).Check(limited(t), s); serviceforge.CodeOf(err) != serviceforge.Internal {
			t.Errorf("%s: got %v", endpoint, err)
		}
	}
}
