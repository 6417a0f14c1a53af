package users

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/serviceforge/serviceforge"
)

const (
	patience    = 10 * time.Second // for one call, unless ctx is shorter
	attempts    = 3                // the first on a kept connection, the others on fresh ones
	perAttempt  = 3 * time.Second
	idleFor     = 5 * time.Minute // how long an unused connection is kept
	maxSessions = 128             // connections kept in all
)

// connection is an open, proven connection to a service of one kind.
type connection interface {
	create(ctx context.Context, u User) error
	revoke(ctx context.Context, name string) error
	check(ctx context.Context) error
	close()
}

// kind is what is known of a kind of service.
type kind struct {
	check func(Service) error // what is wrong with how the service is described
	open  func(context.Context, Service) (connection, error)
}

var kinds = map[string]kind{
	"etcd":       {checkEtcd, openEtcd},
	"http":       {checkHTTP, openHTTP},
	"postgresql": {checkPostgresql, openPostgresql},
	"redis":      {checkRedis, openRedis},
}

// Drivers makes and revokes users. It keeps idle connections to services that
// were used lately; Close ends them. Methods are safe for concurrent use.
type Drivers struct {
	log *slog.Logger

	mu       sync.Mutex
	sessions map[[32]byte]*session
	closed   bool
}

// New returns drivers that log to log; nil discards.
func New(log *slog.Logger) *Drivers {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Drivers{log: log, sessions: make(map[[32]byte]*session)}
}

// Create makes the user, or sets the password and rights of an existing one.
// Errors: Unavailable (try again), Unprocessable with ErrForeign (final),
// Invalid (the administrator's name).
func (d *Drivers) Create(ctx context.Context, s Service, u User) error {
	if err := s.checkUser(u.Name); err != nil {
		return err
	}
	if u.Password.Empty() {
		return serviceforge.Errorf(serviceforge.Invalid, "a user needs a password")
	}
	return d.with(ctx, s, func(ctx context.Context, c connection) error { return c.create(ctx, u) })
}

// Revoke removes the user; what it had open is closed, or refused at its next
// request. A user that is not there is fine. Errors as Create's.
func (d *Drivers) Revoke(ctx context.Context, s Service, name string) error {
	if err := s.checkUser(name); err != nil {
		return err
	}
	return d.with(ctx, s, func(ctx context.Context, c connection) error { return c.revoke(ctx, name) })
}

// Check says whether the service serves, as far as the administrator can tell:
// etcd reads by a majority, redis has a leader, postgresql a primary; of
// http the release says what to ask. Errors as Create's.
func (d *Drivers) Check(ctx context.Context, s Service) error {
	if err := s.Check(); err != nil {
		return err
	}
	return d.with(ctx, s, func(ctx context.Context, c connection) error { return c.check(ctx) })
}

// Forget closes what is kept open for the service; call it when the instance
// goes away.
func (d *Drivers) Forget(s Service) {
	d.mu.Lock()
	k := d.sessions[key(s)]
	delete(d.sessions, key(s))
	d.mu.Unlock()
	if k != nil {
		k.drop()
	}
}

// Close ends all connections; calls after it fail.
func (d *Drivers) Close() error {
	d.mu.Lock()
	sessions := d.sessions
	d.sessions, d.closed = nil, true
	d.mu.Unlock()
	for _, k := range sessions {
		k.drop()
	}
	return nil
}

// with runs do on a proven connection, and again on a fresh one when the
// service did not answer.
func (d *Drivers) with(ctx context.Context, s Service, do func(context.Context, connection) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var err error
	for attempt := range attempts {
		if attempt > 0 && !pause(ctx, time.Duration(attempt)*20*time.Millisecond) {
			break
		}
		var k *session
		if k, err = d.session(s); err != nil {
			return err
		}
		if err = k.attempt(ctx, s, do); err == nil {
			return nil
		}
		d.log.Debug("user driver failed", "endpoints", s.Endpoints, "attempt", attempt, "error", err)
		d.lose(s, k)
		if errors.Is(err, ErrForeign) {
			return serviceforge.Wrap(err, serviceforge.Unprocessable, "%s", ErrForeign)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return serviceforge.Wrap(err, serviceforge.Unavailable, "the service does not answer as it should; try again")
}

func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// session is a kept connection to one service. It is opened by its first use
// and closed when it was lost and nobody uses it, or idle for long.
type session struct {
	mu    sync.Mutex // held while opening
	conn  connection
	users int
	lost  bool
	idle  *time.Timer
	used  time.Time // guarded by Drivers.mu
}

func key(s Service) [32]byte {
	text, _ := json.Marshal([]any{s, s.Admin.Password.Reveal()})
	return sha256.Sum256(text)
}

// session returns the kept connection or an unopened one.
func (d *Drivers) session(s Service) (*session, error) {
	k, oldest, err := d.find(s)
	if oldest != nil {
		oldest.drop()
	}
	return k, err
}

// find returns the session, and one that had to make room for it.
func (d *Drivers) find(s Service) (k, oldest *session, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, nil, serviceforge.Errorf(serviceforge.Unavailable, "the broker is stopping")
	}
	k = d.sessions[key(s)]
	if k == nil {
		oldest = d.makeRoom()
		k = &session{}
		k.idle = time.AfterFunc(idleFor, func() { d.lose(s, k) })
		d.sessions[key(s)] = k
	}
	k.used = time.Now()
	k.idle.Reset(idleFor)
	return k, oldest, nil
}

// makeRoom takes out the connection that was not used for the longest time.
func (d *Drivers) makeRoom() *session {
	if len(d.sessions) < maxSessions {
		return nil
	}
	var oldest [32]byte
	var found *session
	for name, k := range d.sessions {
		if found == nil || k.used.Before(found.used) {
			oldest, found = name, k
		}
	}
	delete(d.sessions, oldest)
	return found
}

// lose takes the connection out of the kept ones and closes it.
func (d *Drivers) lose(s Service, k *session) {
	d.mu.Lock()
	if d.sessions[key(s)] == k {
		delete(d.sessions, key(s))
	}
	d.mu.Unlock()
	k.drop()
}

// attempt is use with a shorter patience: on a dead connection etcd's client
// waits as long as it may.
func (k *session) attempt(ctx context.Context, s Service, do func(context.Context, connection) error) error {
	ctx, cancel := context.WithTimeout(ctx, perAttempt)
	defer cancel()
	return k.use(ctx, s, do)
}

// use opens the connection if need be and runs do on it.
func (k *session) use(ctx context.Context, s Service, do func(context.Context, connection) error) error {
	k.mu.Lock()
	if k.conn == nil && !k.lost {
		c, err := kinds[s.Driver].open(ctx, s)
		if err != nil {
			k.mu.Unlock()
			return err
		}
		k.conn = c
	}
	if k.lost {
		k.mu.Unlock()
		return errors.New("the connection was given up")
	}
	k.users++
	k.mu.Unlock()
	err := do(ctx, k.conn)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.users--
	k.closeUnused()
	return err
}

// drop closes the connection once nobody uses it.
func (k *session) drop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lost = true
	k.idle.Stop()
	k.closeUnused()
}

func (k *session) closeUnused() {
	if k.lost && k.users == 0 && k.conn != nil {
		k.conn.close()
		k.conn = nil
	}
}
