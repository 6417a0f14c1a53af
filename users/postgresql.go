package users

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// postgresql is the primary of a cluster that has proved to be the right one:
// SCRAM proves each to the other that it knows the administrator's password,
// and under TLS (where the release gives a CA) that nobody is between them.
//
// A binding's user is a member of the role bindingRole, and becomes it at every
// login: that role owns what users make, so that each sees what others made.
type postgresql struct {
	service  Service
	endpoint string // of the primary
	pool     *pgxpool.Pool

	mu   sync.Mutex
	role bool // the role is known to be there
}

// errStandby says that a server is the instance's, but not the primary.
var errStandby = errors.New("it is a standby")

func checkPostgresql(s Service) error {
	switch {
	case s.Database == "":
		return errors.New("it needs the name of a database")
	case len(s.Grant) > 0:
		return errors.New("it takes no grant")
	}
	return checkEndpoints(s, "postgresql://host:5432", "postgresql")
}

// openPostgresql finds the primary among the endpoints.
func openPostgresql(ctx context.Context, s Service) (connection, error) {
	primary, err := first(ctx, s.Endpoints, func(ctx context.Context, endpoint string) (*postgresql, error) {
		pool, err := connectPostgresql(ctx, s, endpoint, true)
		return &postgresql{service: s, endpoint: endpoint, pool: pool}, err
	})
	switch {
	case errors.Is(err, errStandby):
		return nil, fmt.Errorf("no primary answers: %v", err) // there may be strangers, but ours is there, too
	case err != nil:
		return nil, err
	}
	return primary, nil
}

// connectPostgresql logs in as the administrator at one server.
func connectPostgresql(ctx context.Context, s Service, endpoint string, primary bool) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig("host=localhost sslmode=disable passfile=/dev/null")
	if err != nil {
		return nil, err
	}
	if err := toPostgresql(&config.ConnConfig.Config, s, endpoint); err != nil {
		return nil, err
	}
	if primary {
		config.ConnConfig.ValidateConnect = isPrimary
	}
	config.MaxConns = 4
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, strangerPostgresql(err)
	}
	return pool, nil
}

func toPostgresql(c *pgconn.Config, s Service, endpoint string) error {
	u, err := url.Parse(endpoint)
	if err != nil {
		return err
	}
	var port uint16
	if _, err := fmt.Sscan(u.Port(), &port); err != nil {
		return err
	}
	c.Host, c.Port, c.Database = u.Hostname(), port, s.Database
	c.User, c.Password = s.Admin.Username, s.Admin.Password.Reveal()
	c.Fallbacks, c.ConnectTimeout = nil, dialFor
	// Whatever the service allows its users, ctx limits us.
	c.RuntimeParams = map[string]string{"application_name": "serviceforge", "statement_timeout": "0", "lock_timeout": "0"}
	c.RequireAuth = "scram-sha-256" // whatever else a server asks for proves nothing of it
	if s.CA == "" {
		return nil
	}
	if c.TLSConfig, err = tlsOf(s); err != nil {
		return err
	}
	if c.TLSConfig.ServerName == "" {
		c.TLSConfig.ServerName = c.Host
	}
	c.ChannelBinding = "require"
	return nil
}

func isPrimary(ctx context.Context, c *pgconn.PgConn) error {
	rows, err := c.Exec(ctx, "SELECT pg_is_in_recovery()").ReadAll()
	if err != nil {
		return err
	}
	if len(rows) != 1 || len(rows[0].Rows) != 1 || string(rows[0].Rows[0][0]) != "f" {
		return errStandby
	}
	return nil
}

// strangerPostgresql adds ErrForeign to the error of a login that shows that the
// server is not the instance's: most are texts without a type.
func strangerPostgresql(err error) error {
	refused, isRefused := errors.AsType[*pgconn.PgError](err)
	if isRefused && (refused.Code == "28P01" || refused.Code == "28000") { // invalid_password, invalid_authorization_specification
		return fmt.Errorf("%w: it refuses the administrator: %w", ErrForeign, err)
	}
	for _, text := range []string{"require_auth check failed", "channel binding", "ServerSignature", "server refused TLS"} {
		if strings.Contains(err.Error(), text) {
			return fmt.Errorf("%w: %w", ErrForeign, err)
		}
	}
	return foreign(err, "its certificate")
}

func (p *postgresql) create(ctx context.Context, u User) error {
	if err := p.ensureRole(ctx); err != nil {
		return err
	}
	verifier, err := scramVerifier(u.Password)
	if err != nil {
		return err
	}
	name, role := quoted(u.Name), quoted(bindingRole)
	return pgx.BeginFunc(ctx, p.pool, func(tx pgx.Tx) error {
		id, err := roleID(ctx, tx, u.Name)
		if err != nil {
			return err
		}
		statements := []string{
			"ALTER ROLE " + name + " LOGIN INHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS VALID UNTIL 'infinity' PASSWORD '" + verifier + "'",
			"GRANT " + role + " TO " + name,
			"ALTER ROLE " + name + " SET role = " + role,
		}
		if id == 0 {
			statements = slices.Insert(statements, 0, "CREATE ROLE "+name)
		}
		return execute(ctx, tx, statements...)
	})
}

// ensureRole makes the role that owns what users make, once per connection.
func (p *postgresql) ensureRole(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.role {
		return nil
	}
	err := pgx.BeginFunc(ctx, p.pool, func(tx pgx.Tx) error {
		id, err := roleID(ctx, tx, bindingRole)
		if err != nil || id != 0 {
			return err
		}
		role := quoted(bindingRole)
		return execute(ctx, tx,
			"CREATE ROLE "+role+" NOLOGIN",
			"GRANT ALL ON DATABASE "+quoted(p.service.Database)+" TO "+role,
			"ALTER SCHEMA public OWNER TO "+role,
		)
	})
	p.role = err == nil
	return err
}

// revoke first shuts the door: whatever is in the way of the rest, the user is
// refused. What it made goes to the role of all users.
func (p *postgresql) revoke(ctx context.Context, name string) error {
	id, err := roleID(ctx, p.pool, name)
	if err != nil || id == 0 {
		return err
	}
	if err := execute(ctx, p.pool, "ALTER ROLE "+quoted(name)+" NOLOGIN PASSWORD NULL"); err != nil {
		return err
	}
	if err := cutSessions(ctx, p.pool, id); err != nil {
		return err
	}
	if err := p.onStandbys(ctx, func(ctx context.Context, standby *pgxpool.Pool) error { return cutSessions(ctx, standby, id) }); err != nil {
		return err
	}
	if err := p.takeOver(ctx, id, name); err != nil {
		return err
	}
	return cutSessions(ctx, p.pool, id) // one that was at its login when the door was shut
}

// takeOver ends the role. What it owns in databases of other names goes first.
func (p *postgresql) takeOver(ctx context.Context, id uint32, name string) error {
	give := []string{
		"REASSIGN OWNED BY " + quoted(name) + " TO " + quoted(bindingRole),
		"DROP OWNED BY " + quoted(name), // what is left are rights
	}
	rows, err := p.pool.Query(ctx, `SELECT DISTINCT datname FROM pg_shdepend JOIN pg_database d ON d.oid = dbid
		WHERE refclassid = 'pg_authid'::regclass AND refobjid = $1 AND datname <> current_database()`, id)
	if err != nil {
		return err
	}
	databases, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, database := range databases {
		c := p.pool.Config().ConnConfig
		c.Database = database
		elsewhere, err := pgx.ConnectConfig(ctx, c)
		if err != nil {
			return err
		}
		err = execute(ctx, elsewhere, give...)
		_ = elsewhere.Close(ctx)
		if err != nil {
			return err
		}
	}
	return pgx.BeginFunc(ctx, p.pool, func(tx pgx.Tx) error {
		return execute(ctx, tx, append(give, "DROP ROLE "+quoted(name))...)
	})
}

// onStandbys calls do for all servers but the primary that answer and prove to
// be the instance's. One that is dead has no sessions, and learns from the
// primary who is gone before long.
func (p *postgresql) onStandbys(ctx context.Context, do func(context.Context, *pgxpool.Pool) error) error {
	errs := make([]error, len(p.service.Endpoints))
	var asked sync.WaitGroup
	for i, endpoint := range p.service.Endpoints {
		if endpoint == p.endpoint {
			continue
		}
		asked.Go(func() {
			standby, err := connectPostgresql(ctx, p.service, endpoint, false)
			if err != nil {
				return
			}
			defer standby.Close()
			errs[i] = do(ctx, standby)
		})
	}
	asked.Wait()
	return errors.Join(errs...)
}

func (p *postgresql) check(ctx context.Context) error {
	var standby bool
	err := p.pool.QueryRow(ctx, "SELECT pg_is_in_recovery()").Scan(&standby)
	if err == nil && standby {
		return errStandby
	}
	return err
}

func (p *postgresql) close() { p.pool.Close() }
