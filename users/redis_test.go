package users_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/spec/address"
	"github.com/serviceforge/serviceforge/spec/servers"
	"github.com/serviceforge/serviceforge/users"
)

func TestRedisUserHasAllKeysAndNoAdministration(t *testing.T) {
	t.Parallel()
	a := servers.NewAuthority(t)
	for name, o := range map[string]servers.RedisOptions{"TLS": {Authority: &a}, "plain": {}} {
		server := servers.StartRedis(t, o)
		d, ctx, u := drivers(t), limited(t), users.NewUser()
		if err := d.Check(ctx, server.Service); err != nil {
			t.Fatal(serviceforge.DetailOf(err))
		}
		if err := d.Create(ctx, server.Service, u); err != nil {
			t.Fatal(serviceforge.DetailOf(err))
		}
		c, err := server.Login(t, u)
		if err != nil {
			t.Fatal(err)
		}
		for _, use := range []error{
			c.Set(ctx, "a", "1", 0).Err(), c.Get(ctx, "a").Err(), c.Keys(ctx, "*").Err(), c.Publish(ctx, "channel", "x").Err(),
			c.Eval(ctx, "return redis.call('GET', 'a')", nil).Err(), c.Info(ctx).Err(), c.FlushDB(ctx).Err(),
		} {
			if use != nil {
				t.Errorf("%s: %v", name, use)
			}
		}
		for _, administer := range [][]any{
			{"acl", "list"}, {"acl", "setuser", u.Name, "+@all"}, {"config", "get", "*"}, {"shutdown"}, {"replicaof", "no", "one"},
			{"monitor"}, {"migrate", "127.0.0.1", "1", "a", "0", "1"}, {"client", "list"},
		} {
			if err := c.Do(ctx, administer...).Err(); !goredis.IsPermissionError(err) {
				t.Errorf("%s: %v: got %v, want no permission", name, administer, err)
			}
		}
	}
}

func TestRedisGrant(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t, servers.RedisOptions{})
	s := server.Service
	s.Grant = []string{"~app:*", "+@read", "(~shared:* +set)"}
	d, ctx, u := drivers(t), limited(t), users.NewUser()
	for range 2 {
		if err := d.Create(ctx, s, u); err != nil {
			t.Fatal(serviceforge.DetailOf(err))
		}
	}
	c, err := server.Login(t, u)
	if err == nil || !goredis.IsPermissionError(err) {
		t.Errorf("echo: got %v", err)
	}
	for key, want := range map[string]bool{"app:1": true, "other": false} {
		if err := c.Get(ctx, key).Err(); errors.Is(err, goredis.Nil) != want || goredis.IsPermissionError(err) == want {
			t.Errorf("get %s: %v", key, err)
		}
	}
	if err := c.Set(ctx, "shared:1", "x", 0).Err(); err != nil {
		t.Error(err)
	}
	for _, evil := range []string{"nopass", ">secret", "reset", "", "on", "~a\nuser b-x on"} {
		s.Grant = []string{evil}
		if err := d.Create(ctx, s, u); serviceforge.CodeOf(err) != serviceforge.Internal {
			t.Errorf("grant %q: got %v", evil, err)
		}
	}
}

func TestRedisPasswordIsSet(t *testing.T) {
	t.Parallel()
	server := servers.StartRedis(t, servers.RedisOptions{})
	d, ctx, first := drivers(t), limited(t), users.NewUser()
	second := users.User{Name: first.Name, Password: users.NewUser().Password}
	for _, u := range []users.User{first, first, second} {
		if err := d.Create(ctx, server.Service, u); err != nil {
			t.Fatal(serviceforge.DetailOf(err))
		}
	}
	if _, err := server.Login(t, first); !goredis.IsAuthError(err) {
		t.Errorf("old password: %v", err)
	}
	server.Stop(t)
	server.Start(t) // an ACL file keeps what is saved in it
	if _, err := server.Login(t, second); err != nil {
		t.Error(err)
	}
}

func TestRedisRevokeClosesConnections(t *testing.T) {
	t.Parallel()
	leader := servers.StartRedis(t, servers.RedisOptions{})
	replica := servers.StartRedis(t, servers.RedisOptions{Of: leader})
	s := both(replica, leader)
	d, ctx, u, other := drivers(t), limited(t), users.NewUser(), users.NewUser()
	clients := map[string][]*goredis.Client{}
	for _, user := range []users.User{u, other} {
		if err := d.Create(ctx, s, user); err != nil {
			t.Fatal(serviceforge.DetailOf(err))
		}
		for _, server := range []*servers.Redis{leader, replica} {
			c, err := server.Login(t, user)
			if err != nil {
				t.Fatal(err)
			}
			clients[user.Name] = append(clients[user.Name], c)
		}
	}
	watch := clients[u.Name][1].Subscribe(ctx, "channel")
	defer watch.Close()
	if _, err := watch.Receive(ctx); err != nil {
		t.Fatal(err)
	}
	for range 2 { // gone and gone again
		if err := d.Revoke(ctx, s, u.Name); err != nil {
			t.Fatal(serviceforge.DetailOf(err))
		}
	}
	if _, err := watch.Receive(ctx); err == nil {
		t.Error("a subscription stays open")
	}
	for i, server := range []*servers.Redis{leader, replica} {
		if _, err := server.Login(t, u); !goredis.IsAuthError(err) {
			t.Errorf("server %d: the revoked user logs in: %v", i, err)
		}
		if err := clients[u.Name][i].Get(ctx, "k").Err(); err == nil || errors.Is(err, goredis.Nil) {
			t.Errorf("server %d: the revoked user reads", i)
		}
		if err := clients[other.Name][i].Get(ctx, "k").Err(); !errors.Is(err, goredis.Nil) {
			t.Errorf("server %d: the other user suffers: %v", i, err)
		}
	}
}

func both(servers ...*servers.Redis) users.Service {
	s := servers[0].Service
	s.Endpoints = nil
	for _, server := range servers {
		s.Endpoints = append(s.Endpoints, server.Service.Endpoints...)
	}
	return s
}

func TestRedisReplicaThatWasAway(t *testing.T) {
	t.Parallel()
	leader := servers.StartRedis(t, servers.RedisOptions{})
	replica := servers.StartRedis(t, servers.RedisOptions{Of: leader})
	s := both(leader, replica)
	d, ctx, early, late, last := drivers(t), limited(t), users.NewUser(), users.NewUser(), users.NewUser()
	if err := d.Create(ctx, s, early); err != nil {
		t.Fatal(serviceforge.DetailOf(err))
	}
	replica.Stop(t)
	if err := d.Create(ctx, s, late); err != nil {
		t.Errorf("a dead replica stops a binding: %v", serviceforge.DetailOf(err))
	}
	if err := d.Revoke(ctx, s, early.Name); serviceforge.CodeOf(err) != serviceforge.Unavailable {
		t.Errorf("nobody knows whether the replica refuses the user: %v", err)
	}
	if _, err := leader.Login(t, early); !goredis.IsAuthError(err) {
		t.Errorf("the leader lets the revoked user in: %v", err)
	}
	replica.Start(t)
	if _, err := replica.Login(t, early); err != nil {
		t.Fatal(err) // or this test shows nothing
	}
	if err := d.Create(ctx, s, last); err != nil {
		t.Fatal(serviceforge.DetailOf(err))
	}
	for _, u := range []users.User{late, last} {
		if _, err := replica.Login(t, u); err != nil {
			t.Errorf("the replica lacks a user: %v", err)
		}
	}
	if _, err := replica.Login(t, early); !goredis.IsAuthError(err) {
		t.Errorf("the replica lets the revoked user in: %v", err)
	}
	if err := d.Revoke(ctx, s, early.Name); err != nil {
		t.Error(serviceforge.DetailOf(err))
	}
	leader.Stop(t)
	if err := d.Create(ctx, s, users.NewUser()); serviceforge.CodeOf(err) != serviceforge.Unavailable {
		t.Errorf("without a leader: %v", err)
	}
	if err := d.Check(ctx, s); serviceforge.CodeOf(err) != serviceforge.Unavailable {
		t.Errorf("without a leader: %v", err)
	}
	leader.Start(t)
	if err := d.Create(ctx, s, users.NewUser()); err != nil {
		t.Errorf("started again: %v", serviceforge.DetailOf(err))
	}
}

func TestRedisForeignServersAreFinal(t *testing.T) {
	t.Parallel()
	ours, theirs := servers.NewAuthority(t), servers.NewAuthority(t)
	right := servers.StartRedis(t, servers.RedisOptions{Authority: &ours})
	plain := servers.StartRedis(t, servers.RedisOptions{})
	otherCA := servers.StartRedis(t, servers.RedisOptions{Authority: &theirs}).Service
	otherCA.CA = ours.PEM
	otherName := right.Service
	otherName.ServerName = "somebody.else"
	for name, s := range map[string]users.Service{
		"other CA": otherCA, "other name": otherName,
		"other password":  servers.StartRedis(t, servers.RedisOptions{Authority: &ours, Password: "theirs"}).Service,
		"plain, other":    servers.StartRedis(t, servers.RedisOptions{Password: "theirs"}).Service,
		"open to anybody": servers.StartRedis(t, servers.RedisOptions{Open: true}).Service,
	} {
		foreign(t, name, s)
	}
	two := both(plain)
	two.Endpoints = append(two.Endpoints, servers.StartRedis(t, servers.RedisOptions{Password: "theirs"}).Service.Endpoints...)
	if err := drivers(t).Create(limited(t), two, users.NewUser()); err != nil {
		t.Errorf("a stranger at the replica's address stops a binding: %v", serviceforge.DetailOf(err))
	}
}

// foreign checks that a driver stops at a server that is not the instance's.
func foreign(t *testing.T, name string, s users.Service) {
	t.Helper()
	d := drivers(t)
	for what, err := range map[string]error{
		"create": d.Create(limited(t), s, users.NewUser()),
		"revoke": d.Revoke(limited(t), s, "b-x"),
		"check":  d.Check(limited(t), s),
	} {
		if !errors.Is(err, users.ErrForeign) || serviceforge.CodeOf(err) != serviceforge.Unprocessable {
			t.Errorf("%s: %s: got %v", name, what, err)
		}
		if err != nil && strings.Contains(serviceforge.DetailOf(err), s.Admin.Password.Reveal()) {
			t.Errorf("%s: %s: the error holds the password", name, what)
		}
	}
}

func TestRedisUnavailable(t *testing.T) {
	t.Parallel()
	s := servers.StartRedis(t, servers.RedisOptions{}).Service
	nobody, silent := s, s
	nobody.Endpoints, silent.Endpoints = []string{"redis://" + address.Free(t)}, []string{"redis://" + servers.Silent(t)}
	forgets := servers.StartRedis(t, servers.RedisOptions{Forgets: true}).Service
	replica := servers.StartRedis(t, servers.RedisOptions{Of: &servers.Redis{Address: address.Free(t)}}).Service
	for name, s := range map[string]users.Service{"nobody there": nobody, "silent": silent, "no ACL file": forgets, "no leader": replica} {
		u := users.NewUser()
		ctx, cancel := context.WithTimeout(limited(t), perCall)
		err := drivers(t).Create(ctx, s, u)
		cancel()
		if serviceforge.CodeOf(err) != serviceforge.Unavailable || errors.Is(err, users.ErrForeign) {
			t.Errorf("%s: got %v", name, serviceforge.DetailOf(err))
		}
		if detail := serviceforge.DetailOf(err); strings.Contains(detail, u.Password.Reveal()) || strings.Contains(detail, servers.AdminPassword) {
			t.Errorf("%s: the error holds a password", name)
		}
	}
}

func TestRedisSettings(t *testing.T) {
	t.Parallel()
	for endpoint, ca := range map[string]string{"http://h:1": "", "redis://h": "", "redis://h:6379": "a CA", "%": "", "rediss://a:b@h:1": ""} {
		s := users.Service{Driver: "redis", Endpoints: []string{endpoint}, CA: ca,
			Admin: users.Admin{Username: "admin", Password: serviceforge.NewSecret("x")}}
		if err := drivers(t).Check(limited(t), s); serviceforge.CodeOf(err) != serviceforge.Internal || strings.Contains(serviceforge.DetailOf(err), "a:b") {
			t.Errorf("%s: got %v", endpoint, err)
		}
	}
}
