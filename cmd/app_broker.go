package cmd

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/admin"
	"github.com/serviceforge/serviceforge/broker"
	"github.com/serviceforge/serviceforge/config"
	"github.com/serviceforge/serviceforge/dashboard"
	pools "github.com/serviceforge/serviceforge/infrastructure_pools"
	"github.com/serviceforge/serviceforge/orchestrator"
	"github.com/serviceforge/serviceforge/orchestrator/bosh"
	"github.com/serviceforge/serviceforge/orchestrator/director"
	"github.com/serviceforge/serviceforge/releases/spiff"
	"github.com/serviceforge/serviceforge/store"
	"github.com/serviceforge/serviceforge/users"
)

// platform is the one whose credential is in the settings. The first platform
// owns what operators create.
const platform = "cc"

// openStore opens the store, and makes an operator token where that is wished.
func (a *App) openStore(ctx context.Context) error {
	path := cmp.Or(a.config.Keys, filepath.Join(a.config.State, keyFile))
	keys, err := store.LoadKeyRing(path)
	if err != nil {
		return err
	}
	err = a.follow(&config.File{Paths: []string{path}, Private: true, Apply: func(contents [][]byte) error { return keys.Replace(contents[0]) }})
	if err != nil {
		return err
	}
	client, err := a.etcdClient()
	if err != nil {
		return err
	}
	limits, err := a.config.Limits()
	if err != nil {
		return err
	}
	a.store, err = store.Open(ctx, store.Options{
		Client: client, Keys: keys, Log: a.log.With("part", "store"), Exclusive: a.etcd != nil, Lease: a.config.Engine.Lease, Limits: limits, LostKey: a.config.LostKey, Ended: a.metrics.ended,
	})
	if err != nil {
		return err
	}
	a.onStop(func(context.Context) error { a.store.Close(); return nil })
	if a.config.Bootstrap {
		return a.bootstrap(ctx)
	}
	return nil
}

// etcdClient is the in-process client of the built-in server, or one of the
// configured cluster.
func (a *App) etcdClient() (*store.Client, error) {
	if a.etcd != nil {
		return a.etcd.Client(), nil
	}
	e := a.config.Etcd
	endpoints := e.Endpoints
	if len(endpoints) == 0 {
		endpoints = []string{"http://" + e.Listen} // where `serviceforge etcd` serves by default
	}
	client, err := store.Dial(store.Cluster{Endpoints: endpoints, CA: e.CA, Cert: e.Cert, Key: e.Key, Username: e.Username, Password: e.Password})
	if err != nil {
		return nil, err
	}
	a.onStop(func(context.Context) error { _ = client.Close(); return nil })
	return client, nil
}

// makeEngine makes the engine.
func (a *App) makeEngine() error {
	environment := []string{"SERVICEFORGE_STATE=" + a.config.State}
	a.spiff = spiff.New(a.program.Path, environment)
	a.users = users.New(a.log.With("part", "users"))
	a.engine = orchestrator.New(orchestrator.Options{
		Store: a.store, Shelf: a.shelf, Pools: a.pools, Directors: a.directors,
		Users: a.users, Spiff: a.spiff, Log: a.log.With("part", "engine"), Now: time.Now,
		NewID: func() string { return ulid.Make().String() }, Name: a.replicaName(),
		PostTimeout: a.config.Engine.DirectorTimeout, StrangerWait: a.strangerWait(), Sweep: a.config.Engine.Sweep,
	})
	a.onStop(func(context.Context) error { return errors.Join(a.users.Close(), a.spiff.Close()) })
	a.spiff.Warm()
	return nil
}

// runEngine runs the engine until Stop, which ends it first: another replica
// leads while requests under way are finished here.
func (a *App) runEngine() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.engine.Run(ctx)
	}()
	a.onStop(func(context.Context) error { cancel(); <-done; return nil })
}

// strangerWait is none where the engine's predecessor and the director lived
// in one process, which is gone.
func (a *App) strangerWait() time.Duration {
	if a.director != nil && a.etcd != nil && len(a.directors) == 1 {
		return -1
	}
	return a.config.Engine.Lease + a.config.Engine.DirectorTimeout
}

// loadPools reads the pool files; without any there is one pool. A pool that
// names no director is on the local director of this state folder.
func (a *App) loadPools() error {
	var all []pools.Pool
	for _, path := range a.config.Pools {
		document, err := os.ReadFile(path)
		if err != nil {
			return serviceforge.Wrap(err, serviceforge.Invalid, "the pool file %s cannot be read", path)
		}
		pool, err := pools.Parse(document)
		if err != nil {
			return serviceforge.Wrap(err, serviceforge.Invalid, "%s: %s", path, serviceforge.MessageOf(err))
		}
		all = append(all, pool)
	}
	if len(all) == 0 {
		pool, err := pools.Local()
		if err != nil {
			return err
		}
		all = append(all, pool)
	}
	a.onlyLocal = true
	for i := range all {
		if all[i].Director.URL != "" {
			a.onlyLocal = false
			continue
		}
		var err error
		all[i].Local = true
		if all[i].Director, err = a.localDirector(); err != nil {
			return err
		}
	}
	a.directors = map[string]director.Director{}
	for _, pool := range all {
		d := pool.Director
		client, err := bosh.New(bosh.Options{URL: d.URL, CA: d.CA, Username: d.Username, Password: d.Password, UAA: bosh.UAA(d.UAA), Observe: a.metrics.asked(pool.Name)})
		if err != nil {
			return serviceforge.Wrap(err, serviceforge.Invalid, "pool %s: %s", pool.Name, serviceforge.MessageOf(err))
		}
		a.onStop(func(context.Context) error { client.Close(); return nil })
		a.directors[pool.Name] = client
	}
	var err error
	a.pools, err = pools.NewSet(all...)
	return err
}

// localDirector is the director that was started in the state folder, by this
// process or another.
func (a *App) localDirector() (pools.Director, error) {
	var d directorEndpoint
	if err := readEndpointFile(a.config.State, directorFile, &d); err != nil {
		return pools.Director{}, serviceforge.Wrap(err, serviceforge.Unprocessable,
			"there is no infrastructure: name pool files that say their director with --pools, or start `serviceforge bosh` with the same --state")
	}
	ca, err := os.ReadFile(d.CAFile)
	if err != nil {
		return pools.Director{}, serviceforge.Wrap(err, serviceforge.Unprocessable, "the local director's CA %s cannot be read", d.CAFile)
	}
	return pools.Director{URL: d.URL, CA: string(ca), Username: d.Client, Password: serviceforge.NewSecret(d.Secret)}, nil
}

// followPlatforms keeps osb's credentials what settings and file say, and
// returns the name of the first platform.
func (a *App) followPlatforms(osb *broker.Broker) (first string, err error) {
	b := a.config.Broker
	var own []config.Platform
	if !b.Password.Empty() {
		own = []config.Platform{{Name: platform, Username: b.Username, Password: b.Password}}
	}
	apply := func(all []config.Platform) {
		first = all[0].Name
		credentials := make([]broker.Credential, 0, len(all))
		for _, p := range all {
			credentials = append(credentials, broker.Credential(p))
		}
		osb.SetCredentials(credentials)
	}
	if b.Platforms == "" {
		apply(own)
		return first, nil
	}
	err = a.follow(&config.File{Paths: []string{b.Platforms}, Private: true, Apply: func(contents [][]byte) error {
		all, err := config.ParsePlatforms(contents[0], own...)
		if err != nil {
			return serviceforge.Wrap(err, serviceforge.Invalid, "%s: %s", b.Platforms, serviceforge.MessageOf(err))
		}
		apply(all)
		return nil
	}})
	return first, err
}

// faces is the handler of everything the broker serves. The faces read escaped
// paths, so no ServeMux may clean them before.
func (a *App) faces() (http.Handler, error) {
	current := a.shelf.Catalog
	osb := broker.New(broker.Options{
		Engine: a.engine, Catalog: current, RequireAPIVersion: a.config.Broker.RequireAPIVersion, RateLimit: a.config.Broker.RateLimit,
		Observe:      a.metrics.answered,
		DashboardURL: func(id string) string { return a.brokerURL + "/service_instances/" + url.PathEscape(id) },
		Log:          a.log.With("part", "broker"),
	})
	owner, err := a.followPlatforms(osb)
	if err != nil {
		return nil, err
	}
	pages := dashboard.New(dashboard.Options{Engine: a.engine, Authenticate: osb.Authenticate, Log: a.log.With("part", "dashboard")})
	operators := admin.New(admin.Options{Engine: a.engine, Catalog: current, Store: a.store, Installer: a.installer, Observe: a.metrics.answered, Platform: owner, Log: a.log.With("part", "admin")})
	return serving(map[string]http.Handler{
		dashboard.Prefix: pages,
		admin.Prefix:     operators,
		"/healthz":       http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) }),
		"/readyz":        http.HandlerFunc(a.serveReady),
		"/metrics":       operators.Guard(serviceforge.Viewer, a.metrics.handler(a.engine)),
	}, osb), nil
}

// Faces are the paths below which something else than /v2 is served.
var Faces = []string{dashboard.Prefix, admin.Prefix, "/healthz", "/readyz", "/metrics"}

// serving sends requests to the face of their path, or to osb.
func serving(faces map[string]http.Handler, osb http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := r.URL.EscapedPath()
		for _, prefix := range Faces {
			if path == prefix || strings.HasPrefix(path, strings.TrimSuffix(prefix, "/")+"/") {
				faces[prefix].ServeHTTP(w, r)
				return
			}
		}
		osb.ServeHTTP(w, r)
	})
}

// replicaName tells operators which replica it is: several may be on one host.
func (a *App) replicaName() string {
	_, port, _ := net.SplitHostPort(a.address)
	return net.JoinHostPort(hostName(), port)
}

func hostName() string {
	name, err := os.Hostname()
	if err != nil {
		return "broker"
	}
	return name
}
