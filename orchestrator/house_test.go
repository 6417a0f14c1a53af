package orchestrator_test

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/catalog"
	"github.com/serviceforge/serviceforge/config"
	pools "github.com/serviceforge/serviceforge/infrastructure_pools"
	"github.com/serviceforge/serviceforge/orchestrator"
	"github.com/serviceforge/serviceforge/orchestrator/director"
	"github.com/serviceforge/serviceforge/orchestrator/shelf"
	"github.com/serviceforge/serviceforge/releases"
	"github.com/serviceforge/serviceforge/spec/etcd"
	"github.com/serviceforge/serviceforge/spec/spiff"
	"github.com/serviceforge/serviceforge/store"
	"github.com/serviceforge/serviceforge/users"
)

// TestMain makes the test binary its own Spiff child, as the program does.
func TestMain(m *testing.M) {
	flag.Parse()
	_ = flag.Set("test.parallel", "8") // these tests wait more than they work
	spiff.Main(etcd.Sharing{M: m})
}

// plain is a service release whose service needs no users.
var plain = fstest.MapFS{
	"service.yml": {Data: []byte(`
format: 1
name: plain
version: "1.0.0"
services:
- id: service
  name: plain
  description: a service for tests
  bindable: true
  deployment_name_prefix: plain
  bosh_release:
    releases: [{name: plain, version: "1"}]
    stemcells: [{alias: default, os: ubuntu-jammy}]
    release_templates: {base_path: templates, templates: [deployment.yml], infrastructure_stubs: {default: default.yml}, deployment_stub: stub.yml}
  secrets: {password: {type: password, length: 20}}
  facts: {host: {instance_group: node, address: first}}
  credentials: {host: (( sf.facts.host )), password: (( sf.secrets.password )), username: (( sf.user.name ))}
  maintenance_info: {version: 1.0.0, description: nothing happens}
  parameters: {level: {type: integer, minimum: 1, maximum: 9, default: 3}, word: {type: string, maxLength: 40, default: x}}
  plans:
  - {id: plan, name: small, description: a plan, update_to: [large, huge], costs: {memory_mb: 2}}
  - {id: large, name: large, description: a larger plan, update_to: [], costs: {memory_mb: 5}, bosh_deployment_stub: {instance_groups: [{name: node, instances: 2}]}}
  - {id: huge, name: huge, description: a plan for which there are no machines, needs: {vm_types: [huge]}, costs: {memory_mb: 9}}
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
  instances: (( merge || 1 ))
  azs: (( sf.pool.azs ))
  vm_type: (( sf.pool.vm_types.small ))
  stemcell: default
  networks: [{name: (( sf.pool.network )) }]
  jobs: [{name: node, release: plain, properties: {password: (( sf.secrets.password )), level: (( sf.params.level )), word: (( sf.params.word )) }}]
`)},
}

// house is everything an engine needs, with a scripted director.
type house struct {
	t        *testing.T
	store    *store.Store
	director *scripted
	options  orchestrator.Options
	client   *store.Client
	// another opens a second store on the same etcd, as another replica has.
	another func(*store.Client) *store.Store
	last    *orchestrator.Engine // the one that was started last
	*orchestrator.Engine
}

// engine is the one that was started last, if one was: it hears what is told.
func (h *house) engine() *orchestrator.Engine { return cmp.Or(h.last, h.Engine) }

func newHouse(t *testing.T) *house { return newHouseOf(t, plain) }

// newHouseOf is a house for a service release. Its limits are put in force by
// whoever leads: until then nothing is accepted.
func newHouseOf(t *testing.T, files fs.FS, quotas ...string) *house {
	t.Helper()
	limits, err := (&config.Config{Quotas: quotas}).Limits()
	must(t, err)
	client := etcd.Part(t)
	keys, err := store.LoadKeyRing(filepath.Join(t.TempDir(), "key"))
	must(t, err)
	quiet := slog.New(slog.DiscardHandler)
	if testing.Verbose() {
		quiet = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	s, err := store.Open(t.Context(), store.Options{Client: client, Keys: keys, Log: quiet, Exclusive: true, Limits: limits})
	must(t, err)
	t.Cleanup(s.Close)
	pool, err := pools.Local()
	must(t, err)
	set, err := pools.NewSet(pool)
	must(t, err)
	drivers := users.New(quiet)
	t.Cleanup(func() { _ = drivers.Close() })
	h := &house{t: t, store: s, director: newScripted(), client: client}
	h.another = func(client *store.Client) *store.Store {
		s, err := store.Open(t.Context(), store.Options{Client: client, Keys: keys, Log: quiet, Limits: limits})
		must(t, err)
		t.Cleanup(s.Close)
		return s
	}
	h.options = orchestrator.Options{
		Store: s, Pools: set,
		Directors: map[string]director.Director{pool.Name: h.director}, Users: drivers, Spiff: spiff.Renderer, Log: quiet,
		Now: time.Now, NewID: func() string { return ulid.Make().String() }, Name: "test", StrangerWait: -1,
	}
	h.sell(files, nil)
	h.Engine = orchestrator.New(h.options)
	return h
}

// sell offers a service release, and versions of BOSH releases for new instances,
// to engines that are made from now on.
func (h *house) sell(files fs.FS, versions map[string]string) {
	h.t.Helper()
	release, err := releases.Load(files)
	must(h.t, err)
	offered, err := catalog.New(release.Offerings())
	must(h.t, err)
	h.options.Shelf = shelf.Fixed(offered, shelf.Edition{Release: release, Versions: versions})
}

// newer is a version of plain that gave a plan up.
var newer = func() fstest.MapFS {
	files := maps.Clone(plain)
	text := strings.NewReplacer(`version: "1.0.0"`, `version: "2.0.0"`, "version: 1.0.0", "version: 2.0.0", "update_to: [large, huge]", "update_to: [large]").
		Replace(string(plain["service.yml"].Data))
	text = text[:strings.Index(text, "  - {id: huge")]
	files["service.yml"] = &fstest.MapFile{Data: []byte(text)}
	return files
}()

// sellBoth offers a version, beside an older one that instances may be made with.
func (h *house) sellBoth(older, newer fs.FS) {
	h.t.Helper()
	before, err := releases.Load(older)
	must(h.t, err)
	now, err := releases.Load(newer)
	must(h.t, err)
	offered, err := catalog.New(now.Offerings())
	must(h.t, err)
	h.options.Shelf = shelf.Fixed(offered, shelf.Edition{Release: before}, shelf.Edition{Release: now})
}

// run starts an engine on the store, as a new process would; the result ends it.
func (h *house) run() (stop func()) { return h.runAs(h.options) }

// runAs is run for another replica.
func (h *house) runAs(o orchestrator.Options) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	engine := orchestrator.New(o)
	h.last = engine
	done.Go(func() { engine.Run(ctx) })
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			done.Wait()
		})
	}
	h.t.Cleanup(stop)
	return stop
}

// replica is an engine beside the house's, that only accepts.
func (h *house) replica() *orchestrator.Engine {
	o := h.options
	o.Store = h.another(h.client)
	return orchestrator.New(o)
}

var cc = serviceforge.Caller{Platform: "cc", Actor: "platform cc"}

func order(id string) orchestrator.ProvisionRequest {
	return orchestrator.ProvisionRequest{Caller: cc, InstanceID: id, ServiceID: "service", PlanID: "plan", OrganizationGUID: "org", AcceptsIncomplete: true}
}

func (h *house) create(id string) orchestrator.Accepted {
	h.t.Helper()
	accepted, err := h.Provision(h.t.Context(), order(id))
	must(h.t, err)
	return accepted
}

func (h *house) remove(id string) orchestrator.Accepted {
	h.t.Helper()
	accepted, err := h.Deprovision(h.t.Context(), orchestrator.DeprovisionRequest{Caller: cc, InstanceID: id, AcceptsIncomplete: true})
	must(h.t, err)
	return accepted
}

// until polls, as a platform would, until the operation has ended.
func (h *house) until(id, operation string, want serviceforge.OperationState) {
	h.t.Helper()
	last := eventually(h.t, func() (serviceforge.Progress, error) {
		p, err := h.LastOperation(h.t.Context(), cc, id, operation)
		if err == nil && p.State == serviceforge.InProgress {
			err = fmt.Errorf("still %s", p.Description)
		}
		return p, err
	})
	if last.State != want {
		i, _ := h.store.Instance(h.t.Context(), id)
		h.t.Fatalf("%s: %s (%s), want %s; %s", id, last.State, last.Description, want, i.Operation.Cause)
	}
}

// patience is how long tests wait for what is to come: much longer than it takes
// on any machine, for it costs nothing where it comes.
const patience = 2 * time.Minute

// eventually repeats do until it has no error.
func eventually[T any](t *testing.T, do func() (T, error)) T {
	t.Helper()
	deadline := time.After(patience)
	for {
		v, err := do()
		if err == nil {
			return v
		}
		select {
		case <-deadline:
			t.Fatalf("not within %s: %v", patience, err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(serviceforge.DetailOf(err))
	}
}

func code(t *testing.T, err error, want serviceforge.Code) {
	t.Helper()
	if serviceforge.CodeOf(err) != want {
		t.Fatalf("got error %v (code %q), want code %q", err, serviceforge.CodeOf(err), want)
	}
}
