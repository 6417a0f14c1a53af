// Package scene sets up a real engine on a real store for tests of the faces.
// No leader runs: what a director would have done is written into the records,
// so that every state can be looked at for as long as a test wants.
package scene

import (
	"io"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/catalog"
	pools "github.com/serviceforge/serviceforge/infrastructure_pools"
	"github.com/serviceforge/serviceforge/orchestrator"
	"github.com/serviceforge/serviceforge/orchestrator/shelf"
	"github.com/serviceforge/serviceforge/releases"
	"github.com/serviceforge/serviceforge/store"
	"github.com/serviceforge/serviceforge/users"
)

// The ids of 2014, and an offering beside them that is not etcd's. Here bindings
// of ThreeServers end after 90 days, those of FiveServers need an app, and
// OtherPlan says otherwise than its offering that it is neither bound nor changed.
const (
	Service      = "b9698740-4810-4dc5-8da6-54581f5108c4"
	OneServer    = "6e8ece8c-4fe6-4d58-9aeb-497d6aeba113"
	ThreeServers = "1a448d0e-bc54-4a16-8d2f-ab701be20c40"
	FiveServers  = "5cfa57fc-1474-4eb9-9afb"
	OtherService = "other-service"
	OtherPlan    = "other-plan"
)

// Scene is the engine and what it stands on.
type Scene struct {
	Engine *orchestrator.Engine
	Store  *store.Store
	// Menu is what the engine and, through Catalog, the faces use.
	Menu *catalog.Catalog

	client *store.Client
}

// Revision is etcd's: it tells whether anything was stored meanwhile.
func (s *Scene) Revision(t testing.TB) int64 {
	t.Helper()
	answer, err := s.client.Get(t.Context(), "/")
	must(t, err)
	return answer.Header.Revision
}

// New sets a scene up in temporary folders; it ends with the test.
func New(t testing.TB) *Scene {
	t.Helper()
	dir := t.TempDir()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	etcd, err := store.StartEmbedded(t.TempDir(), "")
	must(t, err)
	t.Cleanup(etcd.Close)
	keys, err := store.LoadKeyRing(filepath.Join(dir, "keys"))
	must(t, err)
	s, err := store.Open(t.Context(), store.Options{Client: etcd.Client(), Keys: keys, Log: log, Exclusive: true})
	must(t, err)
	t.Cleanup(s.Close)
	release, err := releases.Load(releases.Etcd())
	must(t, err)
	offerings := release.Offerings()
	for i, p := range offerings[0].Plans {
		switch rule := &offerings[0].Plans[i].Bindings; p.ID {
		case ThreeServers:
			rule.Valid, rule.Renew = 90*24*time.Hour, 60*24*time.Hour
		case FiveServers:
			*rule = catalog.BindingRule{RequiresApp: true}
		}
	}
	no := false
	offerings = append(offerings, catalog.Offering{
		ID: OtherService, Name: "other", Description: "not etcd", DeploymentNamePrefix: "other", Release: release.Ref(),
		Bindable: true, PlanUpdateable: true,
		Plans: []catalog.Plan{{ID: OtherPlan, Name: "plan", Description: "not etcd's", Bindable: &no, PlanUpdateable: &no, MaximumPollingDuration: time.Hour}},
	})
	menu, err := catalog.New(offerings)
	must(t, err)
	pool, err := pools.Local()
	must(t, err)
	set, err := pools.NewSet(pool)
	must(t, err)
	drivers := users.New(log)
	t.Cleanup(func() { _ = drivers.Close() })
	engine := orchestrator.New(orchestrator.Options{
		Store: s, Shelf: shelf.Fixed(menu, shelf.Edition{Release: release}),
		Pools: set, Users: drivers, Log: log, Now: time.Now, Name: "scene",
		NewID: func() string { return ulid.Make().String() },
	})
	return &Scene{Engine: engine, Store: s, Menu: menu, client: etcd.Client()}
}

// Catalog is what the faces are given.
func (s *Scene) Catalog() *catalog.Catalog { return s.Menu }

// Token makes an operator token.
func (s *Scene) Token(t testing.TB, role serviceforge.Role) serviceforge.Secret {
	t.Helper()
	token, err := s.Store.CreateToken(t.Context(), &store.Token{Description: "scene", Role: role, CreatedAt: time.Now().UTC(), CreatedBy: "scene"})
	must(t, err)
	return token
}

// accessWithoutUsers makes credentials that need no user in a service.
const accessWithoutUsers = `{"version": 1, "credentials": {"host": "127.1.2.3", "port": 2379,
	"username": "serviceforge-user-name-Qm7tW2xK", "password": "serviceforge-user-password-Zr4cV9bN"}}`

// Succeed ends an instance's provision as the engine would have.
func (s *Scene) Succeed(t testing.TB, id string) {
	t.Helper()
	s.change(t, id, func(i *serviceforge.Instance) {
		i.State, i.Pool, i.Infrastructure = serviceforge.Running, "local", "default"
		i.Facts = map[string][]string{"etcd": {"127.1.2.3", "127.1.2.4"}}
		i.Access = serviceforge.NewSecret(accessWithoutUsers)
		i.Operation.Intent.Task = 16
		i.Operation.State, i.Operation.Step = serviceforge.Succeeded, serviceforge.Ready
		i.Operation.FinishedAt = time.Now().UTC()
	})
}

// Deploy brings an instance to where the director is at work.
func (s *Scene) Deploy(t testing.TB, id string) {
	t.Helper()
	s.change(t, id, func(i *serviceforge.Instance) {
		i.State, i.Pool, i.Infrastructure = serviceforge.Deploying, "local", "default"
		i.Operation.Step, i.Operation.Intent.Task = serviceforge.Submitted, 16
	})
}

// Fail ends an instance's operation in failure.
func (s *Scene) Fail(t testing.TB, id, message, cause string) {
	t.Helper()
	s.change(t, id, func(i *serviceforge.Instance) {
		i.State = serviceforge.FailedDeployment
		i.Operation.State, i.Operation.Message, i.Operation.Cause = serviceforge.Failed, message, cause
	})
}

// FailUpdate ends an instance's update in failure.
func (s *Scene) FailUpdate(t testing.TB, id, message string, left serviceforge.Aftermath) {
	t.Helper()
	s.change(t, id, func(i *serviceforge.Instance) {
		i.Operation.State, i.Operation.Message, i.Operation.Aftermath = serviceforge.Failed, message, left
	})
}

// Bury ends an instance's deprovision: it is gone, with its bindings.
func (s *Scene) Bury(t testing.TB, id string) { s.BuryAgo(t, id, 0) }

// BuryAgo is Bury, some time ago.
func (s *Scene) BuryAgo(t testing.TB, id string, ago time.Duration) {
	t.Helper()
	i, err := s.Store.Instance(t.Context(), id)
	must(t, err)
	i.Operation.FinishedAt = time.Now().UTC().Add(-ago)
	must(t, s.Store.BuryInstance(t.Context(), &i, 0))
}

func (s *Scene) change(t testing.TB, id string, change func(*serviceforge.Instance)) {
	t.Helper()
	i, err := s.Store.Instance(t.Context(), id)
	must(t, err)
	change(&i)
	must(t, s.Store.PutInstance(t.Context(), &i, 0))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(serviceforge.DetailOf(err))
	}
}
