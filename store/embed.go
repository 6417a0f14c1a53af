package store

import (
	"net/url"
	"path/filepath"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"

	"github.com/serviceforge/serviceforge"
)

// The embedded server's limits and pace: one member on one disk (performance.md
// §1b: small ticks make a restart quick, a short WAL tail keeps it so).
const (
	embeddedQuota     = 4 << 30
	embeddedTick      = 10  // ms
	embeddedElection  = 100 // ms
	embeddedSnapshots = 1000
	embeddedReady     = 30 * time.Second
)

// Embedded is the built-in etcd server for a broker on one machine. Its client
// is in-process; it listens only where it is told to.
type Embedded struct {
	server *embed.Etcd
	client *clientv3.Client
	once   sync.Once
}

// StartEmbedded starts the server in dir and returns when it serves. The
// caller makes sure that no second one runs in dir. listen is the URL for
// clients of other processes; empty = nobody else may come in.
func StartEmbedded(dir, listen string) (_ *Embedded, err error) {
	log, err := etcdLog(dir, filepath.Join(dir, "etcd.log"))
	if err != nil {
		return nil, serviceforge.Wrap(err, serviceforge.Unavailable, "the embedded etcd cannot write its log: %v", err)
	}
	defer func() {
		if said := recover(); said != nil {
			err = serviceforge.Errorf(serviceforge.Unavailable, "%v", said)
		}
	}()
	config := embed.NewConfig()
	config.Dir = filepath.Join(dir, "data")
	config.Name = "serviceforge"
	config.ZapLoggerBuilder = embed.NewZapLoggerBuilder(log)
	config.TickMs, config.ElectionMs = embeddedTick, embeddedElection
	config.SnapshotCount = embeddedSnapshots
	config.QuotaBackendBytes = embeddedQuota
	config.AutoCompactionMode, config.AutoCompactionRetention = "periodic", "10m"
	config.MaxTxnOps = 128
	config.ListenPeerUrls, config.ListenClientUrls = nil, nil
	if listen != "" {
		clients, err := url.Parse(listen)
		if err != nil {
			return nil, serviceforge.Wrap(err, serviceforge.Invalid, "%q is not a URL", listen)
		}
		config.ListenClientUrls = []url.URL{*clients}
	}
	nowhere := url.URL{Scheme: "http", Host: "localhost:0"} // etcd insists on names
	config.AdvertiseClientUrls, config.AdvertisePeerUrls = []url.URL{nowhere}, []url.URL{nowhere}
	config.InitialCluster = config.Name + "=" + nowhere.String()
	server, err := embed.StartEtcd(config)
	if err != nil {
		return nil, serviceforge.Wrap(err, serviceforge.Unavailable, "the embedded etcd in %s does not start: %v", dir, err)
	}
	select {
	case <-server.Server.ReadyNotify():
	case err := <-server.Err():
		server.Close()
		return nil, serviceforge.Wrap(err, serviceforge.Unavailable, "the embedded etcd in %s stopped: %v", dir, err)
	case <-time.After(embeddedReady):
		server.Close()
		return nil, serviceforge.Errorf(serviceforge.Unavailable, "the embedded etcd in %s is not ready after %s", dir, embeddedReady)
	}
	return &Embedded{server: server, client: v3client.New(server.Server)}, nil
}

// Client is the in-process client: no socket, no encoding (performance.md §1b).
func (e *Embedded) Client() *clientv3.Client { return e.client }

// Close ends client and server and waits for them. It may be called again.
func (e *Embedded) Close() {
	e.once.Do(func() {
		_ = e.client.Close() // an in-process client has no connection that could fail to close
		e.server.Close()
	})
}
