package users_test

import (
	"bytes"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/spec/servers"
	"github.com/serviceforge/serviceforge/users"
)

// Whoever is revoked while a replica is given the leader's users does not come
// back with them: here one is each time that the leader has said who they are.
// The replica spells rules in its own way, so that they are given to it as often
// as may be.
func TestRedisRevokedWhileAReplicaFollows(t *testing.T) {
	t.Parallel()
	leader := servers.StartRedis(t, servers.RedisOptions{})
	replica := servers.StartRedis(t, servers.RedisOptions{Of: leader})
	s, d, ctx := both(leader, replica), drivers(t), limited(t)
	var all []users.User
	for range 8 {
		u := users.NewUser()
		if err := d.Create(ctx, s, u); err != nil {
			t.Fatal(serviceforge.DetailOf(err))
		}
		all = append(all, u)
	}
	var gone atomic.Int32
	behind := s
	behind.Endpoints = []string{
		"redis://" + between(t, leader.Address, func(asked, said []byte) []byte {
			if bytes.Contains(asked, []byte("\r\nlist\r\n")) && int(gone.Load()) < len(all) {
				if err := d.Revoke(ctx, s, all[gone.Load()].Name); err != nil {
					t.Error(serviceforge.DetailOf(err))
				}
				gone.Add(1)
			}
			return said
		}),
		"redis://" + between(t, replica.Address, func(_, said []byte) []byte {
			return bytes.ReplaceAll(said, []byte(" &* "), []byte(" &? "))
		}),
	}
	follower := drivers(t)
	for follower.Create(ctx, behind, users.NewUser()) != nil { // its time may be up
		if ctx.Err() != nil {
			t.Fatal(ctx.Err())
		}
	}
	revoked := int(gone.Load())
	if revoked < 3 {
		t.Fatalf("the leader was asked %d times: this test shows nothing", revoked)
	}
	for i, u := range all {
		for name, server := range map[string]*servers.Redis{"leader": leader, "replica": replica} {
			if _, err := server.Login(t, u); goredis.IsAuthError(err) != (i < revoked) {
				t.Errorf("user %d of which %d are revoked, at the %s: %v", i, revoked, name, err)
			}
		}
	}
}

// between puts a proxy before a server, which passes on what answer makes of
// what the server said to what was asked last, one at a time.
func between(t *testing.T, server string, answer func(asked, said []byte) []byte) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var answering sync.Mutex
	var open []net.Conn
	var running sync.WaitGroup
	t.Cleanup(func() {
		_ = listener.Close()
		answering.Lock()
		for _, c := range open {
			_ = c.Close()
		}
		answering.Unlock()
		running.Wait()
	})
	running.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			there, err := net.Dial("tcp", server)
			if err != nil {
				_ = client.Close()
				continue
			}
			answering.Lock()
			open = append(open, client, there)
			answering.Unlock()
			var asked []byte
			running.Go(func() {
				pass(client, there, func(question []byte) []byte {
					answering.Lock()
					defer answering.Unlock()
					asked = bytes.Clone(question)
					return question
				})
			})
			running.Go(func() {
				pass(there, client, func(said []byte) []byte {
					answering.Lock()
					defer answering.Unlock()
					return answer(asked, said)
				})
			})
		}
	})
	return listener.Addr().String()
}

// pass copies from one to the other until one of them ends.
func pass(from, to net.Conn, change func([]byte) []byte) {
	defer to.Close()
	defer from.Close()
	piece := make([]byte, 64<<10)
	for {
		n, err := from.Read(piece)
		if err != nil {
			return
		}
		if _, err := to.Write(change(piece[:n])); err != nil {
			return
		}
	}
}
