package bench_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"testing/fstest"
	"time"

	"github.com/oklog/ulid/v2"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/broker"
	"github.com/serviceforge/serviceforge/catalog"
	"github.com/serviceforge/serviceforge/config"
	pools "github.com/serviceforge/serviceforge/infrastructure_pools"
	"github.com/serviceforge/serviceforge/orchestrator"
	"github.com/serviceforge/serviceforge/orchestrator/director"
	"github.com/serviceforge/serviceforge/orchestrator/shelf"
	"github.com/serviceforge/serviceforge/releases"
	"github.com/serviceforge/serviceforge/releases/spiff"
	"github.com/serviceforge/serviceforge/store"
	"github.com/serviceforge/serviceforge/users"
)

// ours is the broker as the program puts it together, before a director that
// has knobs.
type ours struct {
	*orchestrator.Engine
	store    *store.Store
	etcd     *store.Client
	etcdURL  string
	director *inMemory   // of the first pool
	all      []*inMemory // of all pools

	mu   sync.Mutex
	stop func() // of the running engine; nil = none runs
}

// oursMain runs ours.
func oursMain(args []string) int {
	o := &ours{}
	flags := flag.NewFlagSet("ours", flag.ContinueOnError)
	state := flags.String("state", "", "folder")
	latency := flags.Duration("latency", 0, "of a director call")
	duration := flags.Duration("duration", time.Hour, "of a task")
	hang := flags.Bool("hang", false, "the director answers nothing")
	plainToo := flags.Bool("plain", false, "also offer a service that needs no users")
	slots := flags.Int("in-flight", 0, "tasks at a time (0 = as the local pool)")
	count := flags.Int("directors", 1, "pools, each with a director of its own")
	engine := flags.Bool("engine", true, "run the engine")
	flags.StringVar(&o.etcdURL, "etcd", "", "URL of an etcd outside (default: built in)")
	limits := flags.String("limits", "", "quotas; they are put in force before it is ready")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	defer profile()()
	for range *count {
		o.all = append(o.all, newDirector())
		o.all[len(o.all)-1].turn(*latency, *duration, *hang)
	}
	o.director = o.all[0]
	stop, err := o.open(*state, *plainToo, *slots, *limits)
	defer stop()
	if err != nil {
		return complain(err)
	}
	o.run(*engine || *limits != "")
	defer o.run(false)
	for *limits != "" {
		if q, err := o.store.Quotas(context.Background()); err == nil && len(q.Limits) > 0 && !q.Counting {
			break
		}
	}
	o.run(*engine)
	osb := broker.New(broker.Options{
		Engine: o.Engine, Catalog: o.Shelf.Catalog,
		Credentials:  []broker.Credential{{Name: "cc", Username: "cc", Password: serviceforge.NewSecret("secret")}},
		DashboardURL: func(id string) string { return "http://127.0.0.1:5000/service_instances/" + id },
		Log:          quiet(),
	})
	return serve(osb, o.control())
}

// profile writes a CPU profile of this process into the folder that BENCH_PROFILES
// names, if it does.
func profile() (stop func()) {
	dir := os.Getenv("BENCH_PROFILES")
	if dir == "" {
		return func() {}
	}
	file, err := os.Create(filepath.Join(dir, fmt.Sprintf("ours-%d.cpu", os.Getpid())))
	if err != nil || pprof.StartCPUProfile(file) != nil {
		return func() {}
	}
	return func() {
		pprof.StopCPUProfile()
		_ = file.Close()
	}
}

// quiet is the log of dev: warnings, to nobody.
func quiet() *slog.Logger {
	return slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// open puts the broker together; stop ends it, whatever came of it.
func (o *ours) open(state string, plainToo bool, slots int, quotas string) (stop func(), err error) {
	var steps []func()
	stop = func() {
		for i := range steps {
			steps[len(steps)-1-i]()
		}
	}
	outside := o.etcdURL != ""
	closeEtcd, err := o.connect(state)
	if err != nil {
		return stop, err
	}
	steps = append(steps, closeEtcd)
	keys, err := store.LoadKeyRing(filepath.Join(state, "key"))
	if err != nil {
		return stop, err
	}
	limits, err := (&config.Config{Quotas: strings.FieldsFunc(quotas, func(r rune) bool { return r == ',' })}).Limits()
	if err != nil {
		return stop, err
	}
	if o.store, err = store.Open(context.Background(), store.Options{Client: o.etcd, Keys: keys, Log: quiet(), Exclusive: !outside, Limits: limits}); err != nil {
		return stop, err
	}
	steps = append(steps, o.store.Close)
	options := orchestrator.Options{
		Store: o.store, Log: quiet(), Now: time.Now, NewID: func() string { return ulid.Make().String() }, Name: "bench", StrangerWait: -1,
		Directors: map[string]director.Director{},
	}
	if err := o.offer(&options, plainToo); err != nil {
		return stop, err
	}
	pool, err := pools.Local()
	if err != nil {
		return stop, err
	}
	if slots > 0 {
		pool.MaxInFlight = slots
	}
	var every []pools.Pool
	for n, director := range o.all {
		another := pool
		if n > 0 {
			another.Name += "-" + strconv.Itoa(n+1)
		}
		options.Directors[another.Name] = director
		every = append(every, another)
	}
	if options.Pools, err = pools.NewSet(every...); err != nil {
		return stop, err
	}
	program, err := filepath.Abs(os.Args[0])
	if err != nil {
		return stop, err
	}
	options.Spiff = spiff.New(program, []string{"SERVICEFORGE_STATE=" + state})
	options.Users = users.New(quiet())
	steps = append(steps, func() { _, _ = options.Spiff.Close(), options.Users.Close() })
	options.Spiff.Warm()
	o.Engine = orchestrator.New(options)
	return stop, nil
}

// connect makes the client of the etcd outside, or starts one.
func (o *ours) connect(state string) (stop func(), err error) {
	if o.etcdURL != "" {
		o.etcd, err = store.Dial(store.Cluster{Endpoints: []string{o.etcdURL}})
		return func() { _ = o.etcd.Close() }, err
	}
	if err := os.MkdirAll(etcdOf(state), 0o700); err != nil {
		return nil, err
	}
	if o.etcdURL, err = lowURL(); err != nil {
		return nil, err
	}
	etcd, err := store.StartEmbedded(etcdOf(state), o.etcdURL) // it listens for the sake of its metrics
	if err != nil {
		return nil, err
	}
	o.etcd = etcd.Client()
	return etcd.Close, nil
}

// offer fills the catalog.
func (o *ours) offer(options *orchestrator.Options, plainToo bool) error {
	etcd, err := releases.Load(releases.Etcd())
	if err != nil {
		return err
	}
	editions := []shelf.Edition{{Release: etcd}}
	offerings := etcd.Offerings()
	if plainToo {
		release, err := releases.Load(plain)
		if err != nil {
			return err
		}
		editions = append(editions, shelf.Edition{Release: release})
		offerings = append(offerings, release.Offerings()...)
	}
	offered, err := catalog.New(offerings)
	options.Shelf = shelf.Fixed(offered, editions...)
	return err
}

// run starts or ends the engine.
func (o *ours) run(on bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stop != nil {
		o.stop()
		o.stop = nil
	}
	if on {
		ctx, cancel := context.WithCancel(context.Background())
		var done sync.WaitGroup
		done.Go(func() { o.Run(ctx) })
		o.stop = func() {
			cancel()
			done.Wait()
		}
	}
}

// control answers what child asks.
func (o *ours) control() http.Handler {
	mux := http.NewServeMux()
	handle := func(path string, do func(r *http.Request) (any, error)) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			answer, err := do(r)
			if err != nil {
				http.Error(w, serviceforge.DetailOf(err), http.StatusInternalServerError)
				return
			}
			_ = json.NewEncoder(w).Encode(answer)
		})
	}
	handle("/calls", func(*http.Request) (any, error) {
		all := map[string]int{}
		for _, d := range o.all {
			for call, n := range d.counts() {
				all[call] += n
			}
		}
		return all, nil
	})
	handle("/watching", func(*http.Request) (any, error) {
		var each []int
		for _, d := range o.all {
			each = append(each, watching(d.counts()))
		}
		return each, nil
	})
	handle("/syncs", func(*http.Request) (any, error) { return syncsOf(o.etcdURL) })
	handle("/record", func(r *http.Request) (any, error) { return o.record(r.Context()) })
	handle("/states", func(*http.Request) (any, error) {
		states := map[serviceforge.OperationState]int{}
		for _, s := range o.store.Summaries() {
			states[s.OperationState]++
		}
		return states, nil
	})
	handle("/collect", func(*http.Request) (any, error) { debug.FreeOSMemory(); return nil, nil })
	handle("/engine", func(r *http.Request) (any, error) { o.run(r.FormValue("run") == "true"); return nil, nil })
	handle("/turn", func(r *http.Request) (any, error) {
		latency, err := time.ParseDuration(r.FormValue("latency"))
		if err != nil {
			return nil, err
		}
		duration, err := time.ParseDuration(r.FormValue("duration"))
		for _, d := range o.all {
			d.turn(latency, duration, false)
		}
		return nil, err
	})
	handle("/load", func(r *http.Request) (any, error) {
		n, err := strconv.Atoi(r.FormValue("n"))
		if err != nil {
			return nil, err
		}
		return nil, o.load(r.Context(), n)
	})
	return mux
}

// record is how many bytes the transaction of the first accept wrote.
func (o *ours) record(ctx context.Context) (size int, err error) {
	first, err := o.etcd.Get(ctx, "/serviceforge/v1/instances/", clientv3.WithPrefix(), clientv3.WithLimit(1))
	if err != nil || len(first.Kvs) == 0 {
		return 0, fmt.Errorf("no record: %w", err)
	}
	at := first.Kvs[0].CreateRevision
	all, err := o.etcd.Get(ctx, "/serviceforge/v1/", clientv3.WithPrefix(), clientv3.WithRev(at))
	if err != nil {
		return 0, err
	}
	for _, kv := range all.Kvs {
		if kv.ModRevision == at {
			size += len(kv.Value)
		}
	}
	return size, nil
}

// load stores n instances that are running, with records of about 1.9 KB.
func (o *ours) load(ctx context.Context, n int) error {
	const writers = 128
	padding := serviceforge.NewSecret(`{"password":"` + strings.Repeat("p", 700) + `"}`)
	errs := make(chan error, writers)
	for w := range writers {
		go func() {
			var err error
			for i := w; i < n && err == nil; i += writers {
				now, id := time.Now().UTC(), ulid.Make().String()
				_, err = o.store.CreateInstance(ctx, &serviceforge.Instance{
					ID: fmt.Sprintf("stored-%06d-1448-4fe6-4d58-9aeb-497d6aeb", i), ServiceID: service, PlanID: threeServers, Platform: "cc",
					OrganizationGUID: "5cfa57fc-1474-4eb9-9afb-000000000001", SpaceGUID: "5cfa57fc-1474-4eb9-9afb-000000000002",
					Context: padding, Secrets: padding, Deployment: fmt.Sprintf("etcd-stored-%06d", i), Pool: "local", Release: "etcd/1.0.0",
					Infrastructure: "default", State: serviceforge.Running, Operations: []string{id},
					Operation: serviceforge.Operation{ID: id, Kind: serviceforge.Provision, State: serviceforge.Succeeded, Step: serviceforge.Ready,
						Actor: "platform cc", StartedAt: now, FinishedAt: now},
					Facts: map[string][]string{"etcd": {"127.1.2.3", "127.1.2.4", "127.1.2.5"}}, CreatedAt: now, UpdatedAt: now,
				})
			}
			errs <- err
		}()
	}
	var failure error
	for range writers {
		if err := <-errs; err != nil {
			failure = err
		}
	}
	return failure
}

// plain is a service release whose service needs no users, so that a provision
// ends without a service behind it.
var plain = fstest.MapFS{
	"service.yml": {Data: []byte(`
format: 1
name: plain
version: "1.0.0"
services:
- id: plain-service
  name: plain
  description: a service for benches
  bindable: true
  deployment_name_prefix: plain
  bosh_release:
    releases: [{name: plain, version: "1"}]
    stemcells: [{alias: default, os: ubuntu-jammy}]
    release_templates: {base_path: templates, templates: [deployment.yml], infrastructure_stubs: {default: default.yml}, deployment_stub: stub.yml}
  secrets: {password: {type: password, length: 20}}
  facts: {host: {instance_group: node, address: first}}
  credentials: {host: (( sf.facts.host )), password: (( sf.secrets.password )), username: (( sf.user.name ))}
  plans: [{id: plain-plan, name: small, description: a plan}]
`)},
	"templates/default.yml": {Data: []byte("{}\n")},
	"templates/stub.yml":    {Data: []byte("meta: {environment: NAME}\n")},
	"templates/deployment.yml": {Data: []byte(`
meta:
  <<: (( &temporary ))
  environment: (( merge ))
name: (( meta.environment ))
update: {canaries: 1, max_in_flight: 1, canary_watch_time: 1-2, update_watch_time: 1-2}
instance_groups:
- name: node
  instances: 1
  azs: (( sf.pool.azs ))
  vm_type: (( sf.pool.vm_types.small ))
  stemcell: default
  networks: [{name: (( sf.pool.network )) }]
  jobs: [{name: node, release: plain, properties: {password: (( sf.secrets.password )) }}]
`)},
}
