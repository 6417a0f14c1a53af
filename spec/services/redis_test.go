package services_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/serviceforge/serviceforge/spec"
	"github.com/serviceforge/serviceforge/spec/need"
)

// redisCredentials are those of a binding.
type redisCredentials struct {
	Host               string
	Port               int
	Hosts, Replicas    []string
	Username, Password string
	URI                string
	URIs               []string
	CA                 string
	ServerName         string `json:"server_name"`
}

// connect logs in as an app does, by a URI of the credentials.
func (c redisCredentials) connect(t *testing.T, uri string) *redis.Client {
	t.Helper()
	options, err := redis.ParseURL(uri)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(c.CA)) {
		t.Fatal("the credentials hold no authority")
	}
	options.TLSConfig = &tls.Config{RootCAs: roots, ServerName: c.ServerName}
	client := redis.NewClient(options)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// has waits until the server of a URI tells value.
func (c redisCredentials) has(t *testing.T, uri, key, value string) {
	t.Helper()
	client := c.connect(t, uri)
	spec.Eventually(t, uri+" tells "+key, func() error {
		got, err := client.Get(t.Context(), key).Result()
		if err == nil && got != value {
			err = fmt.Errorf("got %s, want %s", got, value)
		}
		return err
	})
}

func (c redisCredentials) set(t *testing.T, key, value string) {
	t.Helper()
	client := c.connect(t, c.URI)
	spec.Eventually(t, "the leader takes "+key, func() error { return client.Set(t.Context(), key, value, 0).Err() })
}

// config asks the leader of the only instance, as its administrator.
func (s *service) config(c redisCredentials, key string) string {
	s.t.Helper()
	password, err := os.ReadFile(s.files("vms/*/vcap/data/jobs/redis/*/config/admin")[0])
	if err != nil {
		s.t.Fatal(err)
	}
	got, err := c.connect(s.t, fmt.Sprintf("rediss://admin:%s@%s:%d", password, c.Host, c.Port)).ConfigGet(s.t.Context(), key).Result()
	if err != nil {
		s.t.Fatal(err)
	}
	return got[key]
}

// A redis with each plan, and what becomes of the smallest.
func TestRedis(t *testing.T) {
	t.Parallel()
	need.Program(t, "/usr/bin/redis-server", "redis-server")
	s := offer(t, spec.Self(t), "127.216.0.0/24", release(t, "redis"), "redis-server")
	operations := map[string]string{}
	for plan := range s.plans {
		operations[plan] = s.create("of-"+plan, plan, nil)
	}
	for n, plan := range []string{"1-server", "2-servers", "3-servers"} {
		s.Await("of-"+plan, operations[plan])
		var c redisCredentials
		s.bind("of-"+plan, plan, "app-"+plan, &c)
		if len(c.Hosts) != n+1 || len(c.Replicas) != n || len(c.URIs) != n+1 || c.Hosts[0] != c.Host || c.URIs[0] != c.URI {
			t.Errorf("%s: %+v", plan, c)
		}
		c.set(t, "greeting", plan)
		for _, uri := range c.URIs {
			c.has(t, uri, "greeting", plan)
		}
		if n > 0 {
			operations[plan] = s.remove("of-"+plan, plan)
		}
	}
	for _, plan := range []string{"2-servers", "3-servers"} {
		s.Await("of-"+plan, operations[plan])
	}
	s.redisRights()
	s.redisParameters()
	s.redisGrowth()
	s.Await("of-1-server", s.remove("of-1-server", "3-servers"))
	s.nothingIsLeft()
}

// A binding's user administers nothing, and nobody gets in without one.
func (s *service) redisRights() {
	t := s.t
	var c redisCredentials
	s.bind("of-1-server", "1-server", "rights", &c)
	client := c.connect(t, c.URI)
	for _, command := range [][]any{{"config", "get", "dir"}, {"acl", "list"}, {"shutdown"}, {"replicaof", "127.0.0.1", "1"}} {
		if err := client.Do(t.Context(), command...).Err(); err == nil || !strings.Contains(err.Error(), "NOPERM") {
			t.Errorf("%v: %v", command, err)
		}
	}
	nobody := c
	for _, uri := range []string{"rediss://%s:%d", "rediss://default:x@%s:%d", "rediss://admin:x@%s:%d"} {
		if err := nobody.connect(t, fmt.Sprintf(uri, c.Host, c.Port)).Get(t.Context(), "greeting").Err(); err == nil || !refused(err) {
			t.Errorf("%s: %v", uri, err)
		}
	}
	s.unbind("of-1-server", "1-server", "rights")
	if err := client.Get(t.Context(), "greeting").Err(); err == nil || !refused(err) {
		t.Errorf("after unbind: %v", err)
	}
}

// refused says whether a server did not let somebody in.
func refused(err error) bool {
	return strings.Contains(err.Error(), "NOAUTH") || strings.Contains(err.Error(), "WRONGPASS")
}

// What is asked for reaches the process; what is wrong changes nothing.
func (s *service) redisParameters() {
	t := s.t
	var c redisCredentials
	s.bind("of-1-server", "1-server", "parameters", &c)
	for key, want := range map[string]string{"maxmemory": "268435456", "maxmemory-policy": "noeviction", "appendonly": "yes"} {
		if got := s.config(c, key); got != want {
			t.Errorf("by default %s is %q, want %q", key, got, want)
		}
	}
	s.update("of-1-server", "", map[string]any{"maxmemory": 16777216, "maxmemory_policy": "allkeys-lru", "appendfsync": "always", "notify_keyspace_events": "Ex"})
	for key, want := range map[string]string{"maxmemory": "16777216", "maxmemory-policy": "allkeys-lru", "appendfsync": "always", "notify-keyspace-events": "xE"} {
		if got := s.config(c, key); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	c.has(t, c.URI, "greeting", "1-server")
	s.refuses("of-1-server", map[string]any{"maxmemory": 1}, map[string]any{"maxmemory_policy": "none"}, map[string]any{"notify_keyspace_events": "\n"}, map[string]any{"dir": "/"})
}

// One server becomes two and three, keeps its data, and its users log in at all
// of them, also when every server was killed.
func (s *service) redisGrowth() {
	t := s.t
	var before, after redisCredentials
	s.bind("of-1-server", "1-server", "before", &before)
	for n := range 50 {
		before.set(t, fmt.Sprint("key", n), fmt.Sprint("value", n))
	}
	s.update("of-1-server", "2-servers", nil)
	s.update("of-1-server", "3-servers", nil)
	for _, list := range s.files("disks/*/redis/users.acl") { // replicas took them from their leader
		if text, err := os.ReadFile(list); err != nil || !strings.Contains(string(text), before.Username) {
			t.Errorf("%s does not know the user of before: %v", list, err)
		}
	}
	s.bind("of-1-server", "3-servers", "after", &after)
	if len(after.Hosts) != 3 || after.Host != before.Host || len(s.servers()) != 3 {
		t.Fatalf("before %v, after %v; processes %v", before.Hosts, after.Hosts, s.servers())
	}
	s.killAll()
	for _, uri := range after.URIs {
		uri = strings.Replace(uri, after.Username+":"+after.Password, before.Username+":"+before.Password, 1)
		before.has(t, uri, "key0", "value0")
		before.has(t, uri, "key49", "value49")
	}
	after.set(t, "key0", "changed")
	for _, uri := range after.URIs {
		after.has(t, uri, "key0", "changed")
	}
	if status, _, description := s.change("PATCH", "of-1-server", map[string]any{"plan_id": s.plans["1-server"]}); status != http.StatusUnprocessableEntity {
		t.Errorf("back to one server: %d %s", status, description)
	}
	open := after.connect(t, after.URIs[2])
	if err := open.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	s.unbind("of-1-server", "3-servers", "after")
	for _, uri := range after.URIs {
		if err := after.connect(t, uri).Ping(t.Context()).Err(); err == nil || !refused(err) {
			t.Errorf("%s after unbind: %v", uri, err)
		}
	}
	if err := open.Ping(t.Context()).Err(); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("an open connection after unbind: %v", err)
	}
}

func TestRedisOfAnOrdinaryUser(t *testing.T) {
	t.Parallel()
	need.Program(t, "/usr/bin/redis-server", "redis-server")
	account := spec.Ordinary(t)
	folder := filepath.Join(spec.Folder(t), "redis") // the repository may be in nobody else's reach
	copyRelease(t, "redis", folder)
	s := offer(t, account, "127.220.0.0/24", folder, "redis-server")
	s.Await("i", s.create("i", "2-servers", nil))
	var c redisCredentials
	s.bind("i", "2-servers", "app", &c)
	c.set(t, "key", "value")
	s.killAll()
	c.has(t, c.URIs[1], "key", "value")
	s.Await("i", s.remove("i", "2-servers"))
	s.nothingIsLeft()
}
