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

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/serviceforge/serviceforge"
)

// bindingRules are what a binding's user may do where the release says nothing:
// all keys and channels, no administration, and no sending of keys elsewhere.
var bindingRules = []string{"~*", "&*", "+@all", "-@admin", "-migrate"}

// redis keeps the users of a leader and its replicas: Redis itself does not
// replicate them. A change is made at the leader and then at every replica, by
// giving it the leader's users; so one that was away gets what it missed with the
// next change.
//
//   - A user is made when the leader has it, and every replica that answers: a
//     dead one does not stop a binding.
//   - A user is revoked when every server says so. Until then those that answered
//     refuse it, and Revoke is to be repeated.
//
// All of them need an ACL file, or a restart would forget the users.
type redis struct {
	servers []*goredis.Client
	admin   Admin
	rules   []string
}

func init() { logging.Disable() } // go-redis writes to stderr; what matters is in its errors

func checkRedis(s Service) error {
	for _, endpoint := range s.Endpoints {
		u, err := url.Parse(endpoint)
		switch {
		case err != nil || u.Scheme != "redis" && u.Scheme != "rediss" || u.Port() == "":
			return fmt.Errorf("%q is not an endpoint as rediss://host:6379, or redis://host:6379 without TLS", endpoint)
		case u.Scheme == "redis" && s.CA != "":
			return fmt.Errorf("%q is an endpoint without TLS, but a CA is given", endpoint)
		}
	}
	for _, rule := range s.Grant {
		if rule == "" || !strings.ContainsAny(rule[:1], "~&+-%(") || strings.ContainsAny(rule, "\r\n") {
			return fmt.Errorf("%q is not an ACL rule of keys, channels or commands", rule)
		}
	}
	return nil
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
		r.servers = append(r.servers, goredis.NewClient(redisOptions(s, u.Host, config)))
	}
	return r, nil
}

func redisOptions(s Service, address string, config *tls.Config) *goredis.Options {
	return &goredis.Options{
		Addr: address, Username: s.Admin.Username, Password: s.Admin.Password.Reveal(),
		Dialer: func(ctx context.Context, _, address string) (net.Conn, error) { return dial(ctx, address, config) },
		OnConnect: func(ctx context.Context, c *goredis.Conn) error {
			_, err := bindingsOf(ctx, c, s.Admin)
			return err
		},
		Protocol: 2, DisableIdentity: true, MaxRetries: -1, DialerRetries: 1,
		DialTimeout: dialFor, ReadTimeout: perAttempt, ContextTimeoutEnabled: true,
		PoolSize: 2, MaxActiveConns: 2, PoolTimeout: patience, PipelinePoolSize: -1,
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

// redisServer is a server as it answered.
type redisServer struct {
	*goredis.Client
	leads bool
	err   error
}

// ask asks every server who it is. It returns one that leads and the others;
// without a leader the error is ErrForeign if nobody but strangers answered.
func (r *redis) ask(ctx context.Context) (leader *redisServer, others []*redisServer, err error) {
	all := make([]*redisServer, len(r.servers))
	var asked sync.WaitGroup
	for i, client := range r.servers {
		all[i] = &redisServer{Client: client}
		asked.Go(func() { all[i].leads, all[i].err = leads(ctx, client) })
	}
	asked.Wait()
	var errs []error
	for _, s := range all {
		if s.err == nil && s.leads && leader == nil {
			leader = s
			continue
		}
		others = append(others, s)
		if s.err != nil {
			errs = append(errs, s.err)
		}
	}
	switch {
	case leader != nil:
		return leader, others, nil
	case len(errs) == len(all):
		return nil, nil, errors.Join(errs...)
	}
	return nil, nil, fmt.Errorf("no leader answers: %v", errors.Join(errs...))
}

func leads(ctx context.Context, c *goredis.Client) (bool, error) {
	role, err := c.Do(ctx, "role").Slice()
	if goredis.IsAuthError(err) {
		return false, fmt.Errorf("%w: it refuses the administrator", ErrForeign)
	}
	return len(role) > 0 && role[0] == "master", err
}

func (r *redis) create(ctx context.Context, u User) error {
	leader, others, err := r.ask(ctx)
	if err != nil {
		return err
	}
	rules := append([]string{"reset", "on", hashed(u.Password)}, r.rules...)
	if err := leader.ACLSetUser(ctx, u.Name, rules...).Err(); err != nil {
		return err
	}
	return r.spread(ctx, leader, slices.DeleteFunc(others, func(s *redisServer) bool { return s.err != nil }))
}

// revoke makes the servers close the user's connections, too.
func (r *redis) revoke(ctx context.Context, name string) error {
	leader, others, err := r.ask(ctx)
	if err != nil {
		return err
	}
	if err := leader.ACLDelUser(ctx, name).Err(); err != nil {
		return err
	}
	return r.spread(ctx, leader, others)
}

// spread saves the leader's users and gives them to the others.
func (r *redis) spread(ctx context.Context, leader *redisServer, others []*redisServer) error {
	errs := make([]error, len(others)+1)
	errs[0] = save(ctx, leader)
	var spread sync.WaitGroup
	for i, s := range others {
		spread.Go(func() { errs[i+1] = r.follow(ctx, s, leader) })
	}
	spread.Wait()
	return errors.Join(errs...)
}

// follow gives a server the leader's users. Others may change them meanwhile,
// always at the leader first; so the server's are read before the leader's, and
// both again after a change: whoever is known here and not there was revoked.
func (r *redis) follow(ctx context.Context, s, leader *redisServer) error {
	if s.err != nil {
		return s.err
	}
	for range rounds {
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
		if err := change(ctx, s, has, want); err != nil {
			return err
		}
	}
	return save(ctx, s)
}

// rounds end where two versions of Redis spell the same rules differently.
const rounds = 3

func change(ctx context.Context, s *redisServer, has, want map[string]string) error {
	for user, rules := range want {
		if has[user] == rules {
			continue
		}
		if err := s.ACLSetUser(ctx, user, append([]string{"reset"}, strings.Fields(rules)...)...).Err(); err != nil {
			return err
		}
	}
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
	_, _, err := r.ask(ctx)
	return err
}

func (r *redis) close() {
	for _, c := range r.servers {
		_ = c.Close()
	}
}
