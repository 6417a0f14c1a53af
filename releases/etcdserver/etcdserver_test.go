package etcdserver_test

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/serviceforge/serviceforge/releases/etcdserver"
)

func TestNobodyIsServedBeforeAuthenticationIsOn(t *testing.T) {
	c := newCluster(t, 3)
	// Anonymous clients of every member are there first and try as fast as they can.
	type attempt struct {
		ip  string
		err error
	}
	attempts := make(chan attempt, 3)
	for _, m := range c.members {
		client, err := c.connect("", m)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		go func() {
			for {
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				_, err := client.Put(ctx, "stolen", m.ip)
				cancel()
				if t.Context().Err() == nil && (errors.Is(err, context.DeadlineExceeded) || unavailable(err)) {
					continue // nobody there yet, or too slow: no answer
				}
				attempts <- attempt{m.ip, err}
				return
			}
		}()
	}
	c.start()
	for range c.members {
		var got attempt
		select {
		case got = <-attempts:
		case <-c.context().Done():
			t.Fatal("no answer")
		}
		if !errors.Is(got.err, rpctypes.ErrUserEmpty) {
			t.Errorf("the first answer of %s to a client without user: %v", got.ip, got.err)
		}
	}
	root := c.root(c.members...)
	c.do(func(ctx context.Context) error {
		got, err := root.Get(ctx, "stolen")
		if err == nil && len(got.Kvs) != 0 {
			t.Errorf("a client without user has written: %v", got)
		}
		return err
	})
	c.do(func(ctx context.Context) error {
		auth, err := root.AuthStatus(ctx)
		if err == nil && !auth.Enabled {
			t.Errorf("%v", auth)
		}
		return err
	})
	wrong, err := c.connectAs("root", "wrong", c.members...)
	if err == nil {
		_ = wrong.Close()
		t.Error("root has any password")
	}
}

func TestAKilledMemberComesBackWithItsData(t *testing.T) {
	c := newCluster(t, 3)
	c.start()
	root := c.root(c.members...)
	c.put(root, "a", "1")

	victim := c.members[1]
	victim.signal(syscall.SIGKILL)
	rest := c.root(c.members[0], c.members[2])
	c.put(rest, "b", "2")
	victim.start()
	alone := c.root(victim)
	c.wants(alone, "a", "1")
	c.wants(alone, "b", "2")

	// All of them at once: data and authentication are on disk.
	for _, m := range c.members {
		m.signal(syscall.SIGKILL)
	}
	c.start()
	c.wants(c.root(c.members...), "b", "2")
	anonymous, err := c.connect("", victim)
	if err != nil {
		t.Fatal(err)
	}
	defer anonymous.Close()
	c.do(func(ctx context.Context) error {
		_, err := anonymous.Get(ctx, "a")
		if errors.Is(err, rpctypes.ErrUserEmpty) {
			return nil
		}
		return cmp.Or(err, errors.New("a client without user reads after a restart"))
	})
}

func TestOneServer(t *testing.T) {
	c := newCluster(t, 1)
	only := c.members[0]
	only.start()
	c.put(c.root(only), "a", "1")
	client := http.Client{Transport: &http.Transport{TLSClientConfig: c.tls()}}
	response, err := client.Get("https://" + only.ip + ":2379/health")
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("health: %s", response.Status)
	}
	only.signal(syscall.SIGTERM)
	if code := only.process.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d on TERM", code)
	}
	only.start()
	c.wants(c.root(only), "a", "1")
}

func TestAMemberThatWaitsForTheOthersEndsOnTERM(t *testing.T) {
	c := newCluster(t, 3)
	lonely := c.members[0]
	lonely.start()
	// post-start says that it is up, although there is no cluster yet.
	lonely.postStart()
	lonely.signal(syscall.SIGTERM)
	if code := lonely.process.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestAClientThatKnowsOnlyAddressAndAuthority(t *testing.T) {
	c := newClusterOf(t, 3, true)
	c.start()
	c.put(c.root(c.members...), "a", "1") // by the service's name, as ever
	var endpoints []string
	for _, m := range c.members {
		endpoints = append(endpoints, "https://"+m.ip+":2379")
	}
	plain, err := clientv3.New(clientv3.Config{Endpoints: endpoints, TLS: &tls.Config{RootCAs: c.roots},
		Username: "root", Password: rootPassword, DialTimeout: patience, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	c.wants(plain, "a", "1")
}

func TestStrangersAreNoPeers(t *testing.T) {
	c := newCluster(t, 1)
	only := c.members[0]
	only.start()
	c.put(c.root(only), "a", "1")
	client := http.Client{Transport: &http.Transport{TLSClientConfig: c.tls()}}
	if response, err := client.Get("https://" + only.ip + ":2380/members"); err == nil {
		_ = response.Body.Close()
		t.Error("somebody without certificate reached the peers' port")
	}
}

func TestBadArguments(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{}, {"--config-file", empty}, {"--nope"}, {"--config-file", "/nonexistent", "--root-password-file", empty},
		{"--config-file", empty, "--root-password-file", empty}, {"--config-file", empty, "--root-password-file", "/nonexistent"}} {
		if code := etcdserver.Main(args); code == 0 {
			t.Errorf("%v: exit code 0", args)
		}
	}
}
