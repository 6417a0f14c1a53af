package etcd

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/namespace"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.uber.org/zap"
)

// shared is an etcd of which each test of a process has a part: to start one
// costs more than most tests do with it.
var shared struct {
	once   sync.Once
	err    error
	dir    string
	server *embed.Etcd
	parts  atomic.Int64
}

// Part is a client that sees nothing but its own keys on the shared etcd, by no
// socket. It ends with the test. TestMain runs the tests with Sharing.
func Part(t testing.TB) *clientv3.Client {
	t.Helper()
	shared.once.Do(func() { shared.err = startShared() })
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	c := v3client.New(shared.server.Server)
	t.Cleanup(func() { _ = c.Close() })
	part := fmt.Sprintf("part %d", shared.parts.Add(1))
	c.KV, c.Lease, c.Watcher = namespace.NewKV(c.KV, part), namespace.NewLease(c.Lease, part), namespace.NewWatcher(copying{c.Watcher}, part)
	return c
}

// copying gives each watch events of its own: without a socket all watches are
// told the same ones, and namespace changes their keys.
type copying struct{ clientv3.Watcher }

func (c copying) Watch(ctx context.Context, key string, options ...clientv3.OpOption) clientv3.WatchChan {
	told, own := c.Watcher.Watch(ctx, key, options...), make(chan clientv3.WatchResponse)
	go func() {
		defer close(own)
		for answer := range told {
			events := make([]*clientv3.Event, len(answer.Events))
			for n, e := range answer.Events {
				events[n] = &clientv3.Event{Type: e.Type, Kv: &mvccpb.KeyValue{Key: e.Kv.Key, Value: e.Kv.Value, Lease: e.Kv.Lease,
					Version: e.Kv.Version, CreateRevision: e.Kv.CreateRevision, ModRevision: e.Kv.ModRevision}}
			}
			answer.Events = events
			select {
			case own <- answer:
			case <-ctx.Done():
				return
			}
		}
	}()
	return own
}

func startShared() (err error) {
	if shared.dir, err = os.MkdirTemp("", "etcd"); err != nil {
		return err
	}
	c := embed.NewConfig()
	c.Dir = shared.dir
	nowhere := url.URL{Scheme: "http", Host: "localhost:0"} // etcd insists on names
	c.ListenClientUrls, c.AdvertiseClientUrls = nil, []url.URL{nowhere}
	c.ListenPeerUrls, c.AdvertisePeerUrls = nil, []url.URL{nowhere}
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	c.MaxTxnOps = 128
	c.UnsafeNoFsync = true
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	if shared.server, err = embed.StartEtcd(c); err == nil {
		<-shared.server.Server.ReadyNotify()
	}
	return err
}

// Sharing runs tests and ends the shared etcd after them, if one of them had a part.
type Sharing struct{ *testing.M }

// Run is testing.M's.
func (s Sharing) Run() int {
	code := s.M.Run()
	if shared.server != nil {
		shared.server.Close()
	}
	if shared.dir != "" {
		_ = os.RemoveAll(shared.dir)
	}
	return code
}
