package users_test

import (
	"sync"
	"testing"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/spec/servers"
	"github.com/serviceforge/serviceforge/users"
)

// twoBrokers make and revoke users at the same time. What a call says holds at
// once and to the end, at every server; logins are tried there.
func twoBrokers(t *testing.T, s users.Service, logins ...func(users.User) error) {
	t.Helper()
	one, other, ctx := drivers(t), drivers(t), limited(t)
	for _, broker := range []*users.Drivers{one, other} { // so that they are connected
		if err := broker.Create(ctx, s, users.NewUser()); err != nil {
			t.Fatal(serviceforge.DetailOf(err))
		}
	}
	holds := func(u users.User, in bool, when string) {
		for n, login := range logins {
			if err := login(u); err == nil != in {
				t.Errorf("server %d, %s: got %v", n, when, err)
			}
		}
	}
	var all sync.WaitGroup
	for n := range 40 {
		u := users.NewUser()
		maker, revoker, stays := one, other, n%2 == 0
		if n%4 < 2 {
			maker, revoker = other, one
		}
		t.Cleanup(func() { holds(u, stays, "at the end") })
		all.Go(func() {
			if err := maker.Create(ctx, s, u); err != nil {
				t.Error(serviceforge.DetailOf(err))
			}
			holds(u, true, "made")
			if stays {
				return
			}
			if err := revoker.Revoke(ctx, s, u.Name); err != nil {
				t.Error(serviceforge.DetailOf(err))
			}
			holds(u, false, "revoked")
		})
	}
	all.Wait()
}

func TestRedisOfTwoBrokers(t *testing.T) {
	t.Parallel()
	leader := servers.StartRedis(t, servers.RedisOptions{})
	replica := servers.StartRedis(t, servers.RedisOptions{Of: leader})
	login := func(at *servers.Redis) func(users.User) error {
		return func(u users.User) error { _, err := at.Login(t, u); return err }
	}
	twoBrokers(t, both(leader, replica), login(leader), login(replica))
}

func TestPostgresqlOfTwoBrokers(t *testing.T) {
	t.Parallel()
	server := servers.StartPostgresql(t, servers.PostgresqlOptions{})
	twoBrokers(t, server.Service, func(u users.User) error { _, err := server.Login(t, u); return err })
}
