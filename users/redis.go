package users

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/serviceforge/serviceforge"
)

// bindingRules are what a binding's user may do where the release says nothing:
// all keys and channels, no administration, and no sending of keys elsewhere.
var bindingRules = []string{"~*", "&*", "+@all", "-@admin", "-migrate"}

// redis keeps the users of a leader and its replicas: Redis itself does not
// replicate them. A change is made at the leader, and then at every replica. One
// that may have been away, since it is connected anew, is given all users of the
// leader instead.
//
//   - A user is made when the leader has it, and every replica that answers: a
//     dead one does not stop a binding.
//   - A user is revoked when every server says so. Until then those that answered
//     refuse it, and Revoke is to be repeated.
//
// All of them need an ACL file, or a restart would forget the users.
type redis struct {
	servers []*redisServer
	admin   Admin
	rules   []string
}

// redisServer is one server, leader or replica.
type redisServer struct {
	*goredis.Client
	isNew atomic.Bool // connected since it was last known to have all users
}

func init() { logging.Disable() } // go-redis writes to stderr; what matters is in its errors

func checkRedis(s Service) error {
	for _, rule := range s.Grant {
		if rule == "" || !strings.ContainsAny(rule[:1], "~&+-%(") || strings.ContainsAny(rule, "\r\n") {
			return fmt.Errorf("%q is not an ACL rule of keys, channels or commands", rule)
		}
	}
	return checkEndpoints(s, "rediss://host:6379, or redis://host:6379 without TLS", "rediss", "redis")
}

// openRedis connects at the first use. Every connection proves that it leads to
// the instance before anything else is sent.
func openRedis(_ context.Context, s Service) (connection, error) {
	r := &redis{admin: s.Admin, rules: bindingRules}
	if len(s.Grant) > 0 {
		r.rules = s.Grant
	}
	config, err := tlsOf(s)
	if err != nil {
		return nil, err
	}
	for _, endpoint := range s.Endpoints {
		u, err := url.Parse(endpoint)
		if err != nil {
			return nil, err
		}
		config := config
		if u.Scheme == "redis" {
			config = nil
		}
		server := &redisServer{}
		server.Client = goredis.NewClient(redisOptions(s, u.Host, config, func() { server.isNew.Store(true) }))
		r.servers = append(r.servers, server)
	}
	return r, nil
}

func redisOptions(s Service, address string, config *tls.Config, connected func()) *goredis.Options {
	return &goredis.Options{
		Addr: address, Username: s.Admin.Username, Password: s.Admin.Password.Reveal(),
		Dialer: func(ctx context.Context, _, address string) (net.Conn, error) { return dial(ctx, address, config) },
		OnConnect: func(ctx context.Context, c *goredis.Conn) error {
			_, err := bindingsOf(ctx, c, s.Admin)
			connected()
			return err
		},
		Protocol: 2, DisableIdentity: true, MaxRetries: -1, DialerRetries: 1,
		DialTimeout: dialFor, ReadTimeout: perAttempt, ContextTimeoutEnabled: true,
		PoolSize: 1, MaxActiveConns: 1, PoolTimeout: patience, PipelinePoolSize: -1,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}

// bindingsOf returns the rules of all bindings' users by name. It proves the
// server first: it must have the hash of the administrator's password, and want it.
func bindingsOf(ctx context.Context, c interface {
	ACLList(context.Context) *goredis.StringSliceCmd
}, admin Admin) (map[string]string, error) {
	lines, err := c.ACLList(ctx).Result()
	if err != nil {
		return nil, err
	}
	proven, bindings := false, map[string]string{}
	for _, line := range lines {
		user, rules, _ := strings.Cut(strings.TrimPrefix(line, "user "), " ")
		words := strings.Fields(rules)
		switch {
		case user == admin.Username:
			proven = slices.Contains(words, hashed(admin.Password)) && !slices.Contains(words, "nopass")
		case strings.HasPrefix(user, prefix):
			bindings[user] = rules
		}
	}
	if !proven {
		return nil, fmt.Errorf("%w: it lets in who has no password", ErrForeign)
	}
	return bindings, nil
}

// hashed is a password as ACL rules hold it.
func hashed(password serviceforge.Secret) string {
	sum := sha256.Sum256([]byte(password.Reveal()))
	return "#" + hex.EncodeToString(sum[:])
}

// ask asks every server who it is. It returns one that leads, the others, and
// what keeps those silent that do not answer; without a leader the error is
// ErrForeign if nobody but strangers answered.
func (r *redis) ask(ctx context.Context) (leader *redisServer, others []*redisServer, silent, err error) {
	leading, errs := make([]bool, len(r.servers)), make([]error, len(r.servers))
	var asked sync.WaitGroup
	for i, s := range r.servers {
		asked.Go(func() { leading[i], errs[i] = leads(ctx, s) })
	}
	asked.Wait()
	for i, s := range r.servers {
		switch {
		case errs[i] != nil:
		case leading[i] && leader == nil:
			leader = s
		default:
			others = append(others, s)
		}
	}
	switch silent = errors.Join(errs...); {
	case leader != nil:
		return leader, others, silent, nil
	case len(others) == 0:
		return nil, nil, nil, silent
	case silent == nil:
		return nil, nil, nil, errors.New("none of the servers leads")
	}
	return nil, nil, nil, fmt.Errorf("no leader answers: %v", silent)
}

func leads(ctx context.Context, c *redisServer) (bool, error) {
	role, err := c.Do(ctx, "role").Slice()
	if goredis.IsAuthError(err) {
		return false, fmt.Errorf("%w: it refuses the administrator", ErrForeign)
	}
	return len(role) > 0 && role[0] == "master", err
}

func (r *redis) create(ctx context.Context, u User) error {
	rules := append([]string{"reset", "on", hashed(u.Password)}, r.rules...)
	_, err := r.everywhere(ctx, func(s *redisServer) error { return s.ACLSetUser(ctx, u.Name, rules...).Err() })
	return err
}

// revoke makes the servers close the user's connections, too.
func (r *redis) revoke(ctx context.Context, name string) error {
	silent, err := r.everywhere(ctx, func(s *redisServer) error { return s.ACLDelUser(ctx, name).Err() })
	return errors.Join(err, silent)
}

// everywhere makes a change at the leader, and then at all others that answer.
func (r *redis) everywhere(ctx context.Context, change func(*redisServer) error) (silent, err error) {
	leader, others, silent, err := r.ask(ctx)
	if err != nil {
		return silent, err
	}
	if err := errors.Join(change(leader), save(ctx, leader)); err != nil {
		return silent, err
	}
	errs := make([]error, len(others))
	var changed sync.WaitGroup
	for i, s := range others {
		changed.Go(func() {
			if !s.isNew.Swap(false) {
				errs[i] = errors.Join(change(s), save(ctx, s))
				return
			}
			if errs[i] = errors.Join(r.follow(ctx, s, leader), save(ctx, s)); errs[i] != nil {
				s.isNew.Store(true)
			}
		})
	}
	changed.Wait()
	return silent, errors.Join(errs...)
}

// follow gives a server the leader's users. Others may change them meanwhile,
// always at the leader first; so the server's are read before the leader's, and
// both again after a change: whoever is known here and not there was revoked.
// The last time nobody is added, who might have been revoked meanwhile.
func (r *redis) follow(ctx context.Context, s, leader *redisServer) error {
	for left := rounds; left >= 0; left-- {
		has, err := bindingsOf(ctx, s, r.admin)
		if err != nil {
			return err
		}
		want, err := bindingsOf(ctx, leader, r.admin)
		if err != nil {
			return err
		}
		if maps.Equal(has, want) {
			break
		}
		if left > 0 {
			if err := add(ctx, s, has, want); err != nil {
				return err
			}
		}
		if err := drop(ctx, s, has, want); err != nil {
			return err
		}
	}
	return nil
}

// rounds end where two versions of Redis spell the same rules differently.
const rounds = 3

// add gives a server the users that it has not got, or with other rules.
func add(ctx context.Context, s *redisServer, has, want map[string]string) error {
	for user, rules := range want {
		if has[user] == rules {
			continue
		}
		if err := s.ACLSetUser(ctx, user, append([]string{"reset"}, strings.Fields(rules)...)...).Err(); err != nil {
			return err
		}
	}
	return nil
}

// drop takes those away from a server that it should not have.
func drop(ctx context.Context, s *redisServer, has, want map[string]string) error {
	for user := range has {
		if _, stays := want[user]; stays {
			continue
		}
		if err := s.ACLDelUser(ctx, user).Err(); err != nil {
			return err
		}
	}
	return nil
}

func save(ctx context.Context, s *redisServer) error {
	if err := s.Do(ctx, "acl", "save").Err(); err != nil {
		return fmt.Errorf("users are not kept over a restart: %w", err)
	}
	return nil
}

func (r *redis) check(ctx context.Context) error {
	_, _, _, err := r.ask(ctx)
	return err
}

func (r *redis) close() {
	for _, c := range r.servers {
		_ = c.Close()
	}
}
