package services_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/serviceforge/serviceforge/spec"
	"github.com/serviceforge/serviceforge/spec/need"
)

const postgresProgram = "/usr/lib/postgresql/*/bin/postgres"

// postgresqlCredentials are those of a binding.
type postgresqlCredentials struct {
	Host               string
	Port               int
	Hosts, Standbys    []string
	Database           string
	Username, Password string
	URI                string
	URIs               []string
	CA                 string
	ServerName         string `json:"server_name"`
}

// connect logs in as an app does, by a URI of the credentials; it checks whom it meets.
func (c postgresqlCredentials) connect(t *testing.T, uri string) (*pgx.Conn, error) {
	t.Helper()
	config, err := pgx.ParseConfig(uri)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(c.CA)) {
		t.Fatal("the credentials hold no authority")
	}
	config.TLSConfig = &tls.Config{RootCAs: roots, ServerName: c.ServerName}
	connection, err := pgx.ConnectConfig(t.Context(), config)
	if err == nil {
		t.Cleanup(func() { _ = connection.Close(context.Background()) })
	}
	return connection, err
}

// run executes a statement at the server of a URI, which may be away for a while.
func (c postgresqlCredentials) run(t *testing.T, uri, statement string) {
	t.Helper()
	spec.Eventually(t, uri+" takes "+statement, func() error {
		connection, err := c.connect(t, uri)
		if err != nil {
			return err
		}
		_, err = connection.Exec(t.Context(), statement)
		return errors.Join(err, connection.Close(t.Context()))
	})
}

// tells waits until a query at the server of a URI has one answer.
func (c postgresqlCredentials) tells(t *testing.T, uri, query, want string) {
	t.Helper()
	spec.Eventually(t, uri+" tells "+query, func() error {
		connection, err := c.connect(t, uri)
		if err != nil {
			return err
		}
		var got string
		err = connection.QueryRow(t.Context(), query).Scan(&got)
		if err == nil && got != want {
			err = fmt.Errorf("got %s, want %s", got, want)
		}
		return errors.Join(err, connection.Close(t.Context()))
	})
}

// A postgresql with each plan, and what becomes of the smallest.
func TestPostgresql(t *testing.T) {
	t.Parallel()
	need.Program(t, postgresProgram, "postgresql")
	s := offer(t, spec.Self(t), "127.218.0.0/24", release(t, "postgresql"), "postgres")
	operations := map[string]string{}
	for plan := range s.plans {
		operations[plan] = s.create("of-"+plan, plan, nil)
	}
	for n, plan := range []string{"1-server", "2-servers"} {
		s.Await("of-"+plan, operations[plan])
		var c postgresqlCredentials
		s.bind("of-"+plan, plan, "app-"+plan, &c)
		if len(c.Hosts) != n+1 || len(c.Standbys) != n || len(c.URIs) != n+1 || c.Hosts[0] != c.Host || c.URIs[0] != c.URI {
			t.Errorf("%s: %+v", plan, c)
		}
		c.run(t, c.URI, "CREATE TABLE greetings AS SELECT '"+plan+"' AS text")
		for _, uri := range c.URIs {
			c.tells(t, uri, "SELECT text FROM greetings", plan)
		}
	}
	removed := s.remove("of-2-servers", "2-servers")
	s.postgresqlRights()
	s.postgresqlParameters()
	s.Await("of-2-servers", removed)
	s.postgresqlGrowth()
	s.Await("of-1-server", s.remove("of-1-server", "2-servers"))
	s.nothingIsLeft()
}

// A binding's user administers nothing, nobody gets in without one, and what a
// binding made outlives it.
func (s *service) postgresqlRights() {
	t := s.t
	var c, next postgresqlCredentials
	s.bind("of-1-server", "1-server", "rights", &c)
	open, err := c.connect(t, c.URI)
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{
		"CREATE ROLE x", "CREATE DATABASE x", "DROP DATABASE app", "ALTER SYSTEM SET port = 1", "COPY greetings TO '/tmp/x'", "SET ROLE admin",
		"ALTER ROLE replicator PASSWORD 'x'", "SELECT passwd FROM pg_shadow",
	} {
		if _, err := open.Exec(t.Context(), statement); sqlState(err) != "42501" {
			t.Errorf("%s: %v", statement, err)
		}
	}
	elsewhere := strings.Replace(c.URI, "/app?", "/postgres?", 1)
	if _, err := c.connect(t, elsewhere); sqlState(err) != "42501" {
		t.Errorf("%s: %v", elsewhere, err)
	}
	for _, login := range []string{"admin:x", "replicator:x", "postgres:x", c.Username + ":x"} {
		uri := strings.Replace(c.URI, c.Username+":"+c.Password, login, 1)
		if _, err := c.connect(t, uri); sqlState(err) != "28P01" {
			t.Errorf("%s: %v", uri, err)
		}
	}
	plain, err := pgx.Connect(t.Context(), strings.Replace(c.URI, "sslmode=require", "sslmode=disable", 1))
	if sqlState(err) != "28000" {
		t.Errorf("without TLS: %v, %v", plain, err)
	}
	if _, err := open.Exec(t.Context(), "CREATE TABLE kept AS SELECT 'kept' AS text"); err != nil {
		t.Fatal(err)
	}
	s.unbind("of-1-server", "1-server", "rights")
	if _, err := open.Exec(t.Context(), "SELECT 1"); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("an open session after unbind: %v", err)
	}
	if _, err := c.connect(t, c.URI); sqlState(err) != "28P01" {
		t.Errorf("after unbind: %v", err)
	}
	s.bind("of-1-server", "1-server", "next", &next)
	next.tells(t, next.URI, "SELECT text FROM kept", "kept")
	next.run(t, next.URI, "DROP TABLE kept")
}

// sqlState is the code of an error of the server.
func sqlState(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code
	}
	return ""
}

// What is asked for reaches the process; what is wrong changes nothing.
func (s *service) postgresqlParameters() {
	t := s.t
	var c postgresqlCredentials
	s.bind("of-1-server", "1-server", "parameters", &c)
	for setting, want := range map[string]string{"max_connections": "100", "shared_buffers": "128MB", "work_mem": "4MB", "statement_timeout": "0"} {
		c.tells(t, c.URI, "SHOW "+setting, want)
	}
	s.update("of-1-server", "", map[string]any{"max_connections": 42, "shared_buffers_mb": 32, "work_mem_kb": 2048, "statement_timeout_ms": 60000, "log_min_duration_ms": 5000})
	for setting, want := range map[string]string{"max_connections": "42", "shared_buffers": "32MB", "work_mem": "2MB", "statement_timeout": "1min",
		"log_min_duration_statement": "5s"} {
		c.tells(t, c.URI, "SHOW "+setting, want)
	}
	c.tells(t, c.URI, "SELECT text FROM greetings", "1-server")
	s.refuses("of-1-server", map[string]any{"max_connections": 1}, map[string]any{"shared_buffers_mb": 15}, map[string]any{"work_mem_kb": "all"}, map[string]any{"fsync": false})
}

// One server becomes two and keeps its data; users log in at both, also when
// every server was killed.
func (s *service) postgresqlGrowth() {
	t := s.t
	var before, after postgresqlCredentials
	s.bind("of-1-server", "1-server", "before", &before)
	before.run(t, before.URI, "CREATE TABLE numbers AS SELECT generate_series(1, 10000) AS n")
	s.update("of-1-server", "2-servers", nil)
	s.bind("of-1-server", "2-servers", "after", &after)
	if len(after.Hosts) != 2 || after.Host != before.Host || len(s.servers()) != 2 {
		t.Fatalf("before %v, after %v; processes %v", before.Hosts, after.Hosts, s.servers())
	}
	s.killAll()
	for _, uri := range after.URIs {
		uri = strings.Replace(uri, after.Username+":"+after.Password, before.Username+":"+before.Password, 1)
		before.tells(t, uri, "SELECT sum(n)::text FROM numbers", "50005000")
	}
	after.run(t, after.URI, "INSERT INTO numbers VALUES (1)")
	for _, uri := range after.URIs {
		after.tells(t, uri, "SELECT sum(n)::text FROM numbers", "50005001")
	}
	if status, _, description := s.change("PATCH", "of-1-server", map[string]any{"plan_id": s.plans["1-server"]}); status != http.StatusUnprocessableEntity {
		t.Errorf("back to one server: %d %s", status, description)
	}
	reader, err := after.connect(t, after.URIs[1])
	if err != nil {
		t.Fatal(err)
	}
	s.unbind("of-1-server", "2-servers", "after")
	for _, uri := range after.URIs {
		spec.Eventually(t, uri+" refuses who is unbound", func() error {
			if _, err := after.connect(t, uri); sqlState(err) != "28P01" && sqlState(err) != "28000" {
				return fmt.Errorf("got %v", err)
			}
			return nil
		})
	}
	if _, err := reader.Exec(t.Context(), "SELECT 1"); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a session on the standby after unbind: %v", err)
	}
}

func TestPostgresqlOfAnOrdinaryUser(t *testing.T) {
	t.Parallel()
	need.Program(t, postgresProgram, "postgresql")
	account := spec.Ordinary(t)
	folder := filepath.Join(spec.Folder(t), "postgresql") // the repository may be in nobody else's reach
	copyRelease(t, "postgresql", folder)
	s := offer(t, account, "127.217.0.0/24", folder, "postgres")
	s.Await("i", s.create("i", "2-servers", nil))
	var c postgresqlCredentials
	s.bind("i", "2-servers", "app", &c)
	c.run(t, c.URI, "CREATE TABLE t AS SELECT 'value' AS a")
	if len(s.servers()) != 2 {
		t.Errorf("processes %v", s.servers())
	}
	s.killAll()
	c.tells(t, c.URIs[1], "SELECT a FROM t", "value")
	s.Await("i", s.remove("i", "2-servers"))
	s.nothingIsLeft()
}
