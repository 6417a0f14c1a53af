package store_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/store"
)

// opened is a store on an embedded etcd of its own.
type opened struct {
	*store.Store
	dir  string
	etcd *store.Embedded
	keys *store.KeyRing
}

func open(t *testing.T) opened {
	t.Helper()
	dir := t.TempDir()
	etcd, err := store.StartEmbedded(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(etcd.Close)
	keys, err := store.LoadKeyRing(filepath.Join(dir, "broker.key"))
	if err != nil {
		t.Fatal(err)
	}
	o := opened{dir: dir, etcd: etcd, keys: keys}
	o.Store = o.again(t)
	return o
}

// again opens a second store, as another replica would.
func (o opened) again(t *testing.T) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{Client: o.etcd.Client(), Keys: o.keys, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func instance(id string) *serviceforge.Instance {
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	return &serviceforge.Instance{
		ID: id, ServiceID: "s", PlanID: "p", Platform: "cc", OrganizationGUID: "o", SpaceGUID: "sp",
		Context: serviceforge.NewSecret(`{"platform":"canary-context"}`), Parameters: serviceforge.NewSecret(`{"a":"canary-parameter"}`),
		Secrets: serviceforge.NewSecret(`{"root":"canary-secret"}`), Access: serviceforge.NewSecret(`{"x":"canary-access"}`),
		Deployment: "etcd-" + id, Pool: "local", State: serviceforge.Initialized,
		Operation: serviceforge.Operation{ID: "op1", Kind: serviceforge.Provision, State: serviceforge.InProgress,
			Step: serviceforge.Accepted, StartedAt: now, Intent: serviceforge.Intent{ContextID: "op1.x.0", Verb: "deploy", Task: 7}},
		Operations: []string{"op1"}, Facts: map[string][]string{"etcd": {"127.0.0.1"}}, CreatedAt: now, UpdatedAt: now,
	}
}

func code(t *testing.T, err error, want serviceforge.Code) {
	t.Helper()
	if serviceforge.CodeOf(err) != want {
		t.Fatalf("got error %v (code %q), want code %q", err, serviceforge.CodeOf(err), want)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(serviceforge.DetailOf(err))
	}
}

func TestAnInstanceComesBackAsItWasStored(t *testing.T) {
	s := open(t)
	for _, id := range []string{"plain", "a/b", "a%2Fb", "with space", "ünï"} {
		in := instance(id)
		_, err := s.CreateInstance(t.Context(), in)
		must(t, err)
		out, err := s.Instance(t.Context(), id)
		must(t, err)
		if diff := cmp.Diff(in, &out, cmp.Comparer(func(a, b serviceforge.Secret) bool { return a.Reveal() == b.Reveal() })); diff != "" {
			t.Errorf("%q: %s", id, diff)
		}
		if summary, ok, _ := s.Summary(id); !ok || summary.Revision != in.Revision {
			t.Errorf("%q: the view does not show the own write: %+v", id, summary)
		}
	}
	if n := len(s.again(t).Summaries()); n != 5 {
		t.Errorf("a fresh view lists %d instances, want 5", n)
	}
}

func TestASecondCreateGetsWhatIsThere(t *testing.T) {
	s := open(t)
	_, err := s.CreateInstance(t.Context(), instance("i"))
	must(t, err)
	other := instance("i")
	other.PlanID = "other"
	existing, err := s.CreateInstance(t.Context(), other)
	code(t, err, serviceforge.Conflict)
	if existing.PlanID != "p" {
		t.Errorf("existing plan = %q, want p", existing.PlanID)
	}
}

func TestAStaleWriteIsRefused(t *testing.T) {
	s := open(t)
	first := instance("i")
	_, err := s.CreateInstance(t.Context(), first)
	must(t, err)
	stale := *first
	must(t, s.PutInstance(t.Context(), first, 0))
	code(t, s.PutInstance(t.Context(), &stale, 0), serviceforge.Conflict)
	code(t, s.BuryInstance(t.Context(), &stale, 0), serviceforge.Conflict)
}

func TestAReplacedLeaderCannotWrite(t *testing.T) {
	s := open(t)
	i := instance("i")
	_, err := s.CreateInstance(t.Context(), i)
	must(t, err)
	first, err := s.Lead(t.Context(), "a")
	must(t, err)
	must(t, s.PutInstance(t.Context(), i, first.Number))
	first.Resign()
	second, err := s.again(t).Lead(t.Context(), "b")
	must(t, err)
	defer second.Resign()
	code(t, s.PutInstance(t.Context(), i, first.Number), serviceforge.Conflict)
	must(t, s.PutInstance(t.Context(), i, second.Number))
}

func TestTheNextLeaderComesWhenTheFirstResigns(t *testing.T) {
	s := open(t)
	first, err := s.Lead(t.Context(), "a")
	must(t, err)
	led := make(chan *store.Term, 1)
	other := s.again(t)
	go func() {
		term, err := other.Lead(context.WithoutCancel(t.Context()), "b")
		if err != nil {
			t.Error(err)
		}
		led <- term
	}()
	first.Resign()
	second := <-led
	if second == nil || second.Number <= first.Number {
		t.Fatalf("the second term %v does not follow the first %v", second, first)
	}
	second.Resign()
}

func TestADeletedInstanceLeavesATombstoneAndNoBindings(t *testing.T) {
	s := open(t)
	i := instance("i")
	_, err := s.CreateInstance(t.Context(), i)
	must(t, err)
	b := &serviceforge.Binding{ID: "b/1", InstanceID: "i", State: serviceforge.BindingCreating, User: "u", Password: serviceforge.NewSecret("canary-password")}
	must(t, s.CreateBinding(t.Context(), b, i.Revision))
	must(t, s.BuryInstance(t.Context(), i, 0))
	_, err = s.Instance(t.Context(), "i")
	code(t, err, serviceforge.NotFound)
	_, err = s.Binding(t.Context(), "i", "b/1")
	code(t, err, serviceforge.NotFound)
	stone, err := s.Tombstone(t.Context(), "i")
	must(t, err)
	if stone.OperationID != "op1" || stone.Deployment != "etcd-i" {
		t.Errorf("tombstone = %+v", stone)
	}
	if _, found, _ := s.Summary("i"); found {
		t.Error("the view still shows the deleted instance")
	}
}

// The tasks of a director may tell of instances before the last one: their
// operations are remembered, while the id is taken again too, but not for ever.
func TestATombstoneKnowsTheEarlierInstancesOfItsID(t *testing.T) {
	s := open(t)
	for n := range 102 {
		i := instance("i")
		i.Operations = []string{fmt.Sprint("op", n)}
		_, err := s.CreateInstance(t.Context(), i)
		must(t, err)
		if n > 0 {
			if _, err := s.Tombstone(t.Context(), "i"); err != nil {
				t.Fatal(err)
			}
		}
		must(t, s.BuryInstance(t.Context(), i, 0))
	}
	stone, err := s.Tombstone(t.Context(), "i")
	must(t, err)
	if known := stone.Operations; len(known) != 101 || known[0] != "op1" || known[100] != "op101" {
		t.Errorf("%d operations, from %s to %s", len(known), known[0], known[len(known)-1])
	}
	other := instance("i")
	other.Deployment, other.Operations = "another-i", []string{"other"}
	_, err = s.CreateInstance(t.Context(), other)
	must(t, err)
	must(t, s.BuryInstance(t.Context(), other, 0))
	if stone, err = s.Tombstone(t.Context(), "i"); err != nil || len(stone.Operations) != 1 {
		t.Errorf("tombstone = %+v, %v", stone, err)
	}
}

func TestABindingNeedsTheInstanceUnchanged(t *testing.T) {
	s := open(t)
	i := instance("i")
	_, err := s.CreateInstance(t.Context(), i)
	must(t, err)
	seen := i.Revision
	must(t, s.PutInstance(t.Context(), i, 0)) // e.g. a deprovision was accepted
	b := &serviceforge.Binding{ID: "b", InstanceID: "i", State: serviceforge.BindingCreating}
	code(t, s.CreateBinding(t.Context(), b, seen), serviceforge.Conflict)
	must(t, s.CreateBinding(t.Context(), b, i.Revision))
	code(t, s.CreateBinding(t.Context(), b, i.Revision), serviceforge.Conflict)
	_, existing, err := s.InstanceAndBinding(t.Context(), "i", "b")
	must(t, err)
	if existing.ID != "b" {
		t.Errorf("existing = %+v", existing)
	}
	list, err := s.Bindings(t.Context(), "i")
	must(t, err)
	if len(list) != 1 {
		t.Errorf("bindings = %v", list)
	}
	stale := existing
	must(t, s.DeleteBinding(t.Context(), &existing, store.BindingWrite{}))
	code(t, s.PutBinding(t.Context(), &stale, store.BindingWrite{}), serviceforge.Conflict)
}

func TestTheFeedTellsOfOtherReplicasWrites(t *testing.T) {
	s := open(t)
	feed := s.Feed()
	defer feed.Close()
	_, err := s.again(t).CreateInstance(t.Context(), instance("elsewhere"))
	must(t, err)
	ids, err := feed.Next(t.Context())
	must(t, err)
	if len(ids) != 1 || ids[0] != "elsewhere" {
		t.Errorf("feed told %v", ids)
	}
	if _, found, seen := s.Summary("elsewhere"); !found || seen == 0 {
		t.Error("the view does not show it")
	}
}

func TestAListHasWhatOtherReplicasWrote(t *testing.T) {
	s := open(t)
	other := s.again(t)
	for n := range 50 {
		i := instance(fmt.Sprint("i", n))
		_, err := s.CreateInstance(t.Context(), i)
		must(t, err)
		list, err := other.List(t.Context())
		must(t, err)
		if len(list) != 1 || list[0].Revision != i.Revision {
			t.Fatalf("after creating %s: %+v", i.ID, list)
		}
		must(t, s.BuryInstance(t.Context(), i, 0))
		if list, err = other.List(t.Context()); err != nil || len(list) != 0 {
			t.Fatalf("after deleting %s: %+v, %v", i.ID, list, err)
		}
	}
}

func TestFieldsOfANewerVersionSurvive(t *testing.T) {
	s := open(t)
	i := instance("i")
	_, err := s.CreateInstance(t.Context(), i)
	must(t, err)
	i.Unknown = map[string]json.RawMessage{"from_the_future": json.RawMessage(`{"x":1}`)}
	must(t, s.PutInstance(t.Context(), i, 0))
	read, err := s.Instance(t.Context(), "i")
	must(t, err)
	must(t, s.PutInstance(t.Context(), &read, 0))
	read, err = s.Instance(t.Context(), "i")
	must(t, err)
	if diff := cmp.Diff(i.Unknown, read.Unknown); diff != "" {
		t.Error(diff)
	}
}

func TestNoSecretIsReadableOnDisk(t *testing.T) {
	s := open(t)
	i := instance("i")
	_, err := s.CreateInstance(t.Context(), i)
	must(t, err)
	must(t, s.CreateBinding(t.Context(), &serviceforge.Binding{ID: "b", InstanceID: "i", Password: serviceforge.NewSecret("canary-password"),
		Credentials: serviceforge.NewSecret("canary-credentials")}, i.Revision))
	token, err := s.CreateToken(t.Context(), &store.Token{Description: "test", Role: serviceforge.Viewer})
	must(t, err)
	s.Close()
	s.etcd.Close()
	plain := 0
	err = filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		for _, canary := range []string{"canary-", token.Reveal()} {
			if bytes.Contains(data, []byte(canary)) {
				t.Errorf("%s holds %q in clear", path, canary)
			}
		}
		if bytes.Contains(data, []byte("etcd-i")) {
			plain++ // the search itself works
		}
		return err
	})
	must(t, err)
	if plain == 0 {
		t.Error("the record is nowhere on disk: this test looks in the wrong place")
	}
}

func TestAnotherKeyRingIsRefused(t *testing.T) {
	s := open(t)
	ring, err := store.LoadKeyRing(filepath.Join(t.TempDir(), "other.key"))
	must(t, err)
	_, err = store.Open(t.Context(), store.Options{Client: s.etcd.Client(), Keys: ring, Log: slog.New(slog.DiscardHandler)})
	code(t, err, serviceforge.Unprocessable)
}

func TestAStoreIsFoundAgainAfterARestart(t *testing.T) {
	dir := t.TempDir()
	for round := range 2 {
		etcd, err := store.StartEmbedded(dir, "")
		must(t, err)
		keys, err := store.LoadKeyRing(filepath.Join(dir, "broker.key"))
		must(t, err)
		s, err := store.Open(t.Context(), store.Options{Client: etcd.Client(), Keys: keys, Log: slog.New(slog.DiscardHandler), Exclusive: true})
		must(t, err)
		if _, err := s.Lead(t.Context(), "dies without resigning"); err != nil {
			t.Fatal(err)
		}
		if round == 0 {
			_, err = s.CreateInstance(t.Context(), instance("i"))
			must(t, err)
		} else if len(s.Summaries()) != 1 {
			t.Error("the instance is lost")
		}
		s.Close()
		etcd.Close()
	}
}
