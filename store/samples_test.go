package store_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/store"
)

// TestSamplesOfEveryVersionAreRead keeps the promise that what any version of
// this program wrote can be read, changed and written back. testdata holds the
// etcd values of the keys, and the key ring they were sealed with.
func TestSamplesOfEveryVersionAreRead(t *testing.T) {
	etcd, err := store.StartEmbedded(t.TempDir(), "")
	must(t, err)
	t.Cleanup(etcd.Close)
	for key, file := range map[string]string{
		"broker":          "v1-broker.json",
		"instances/i%2F1": "v1-instance.json",
	} {
		value, err := os.ReadFile(filepath.Join("testdata", file))
		must(t, err)
		_, err = etcd.Client().Put(t.Context(), "/serviceforge/v1/"+key, strings.TrimSpace(string(value)))
		must(t, err)
	}
	ring := filepath.Join(t.TempDir(), "ring") // git does not keep the mode it must have
	data, err := os.ReadFile(filepath.Join("testdata", "v1-ring.json"))
	must(t, err)
	must(t, os.WriteFile(ring, data, 0o600))
	keys, err := store.LoadKeyRing(ring)
	must(t, err)
	s, err := store.Open(t.Context(), store.Options{Client: etcd.Client(), Keys: keys, Log: slog.New(slog.DiscardHandler)})
	must(t, err)
	t.Cleanup(s.Close)

	at := time.Date(2026, 11, 20, 12, 0, 0, 123456789, time.UTC)
	want := full("i/1", at)
	got, err := s.Instance(t.Context(), want.ID)
	must(t, err)
	want.Holds = []serviceforge.Holding{{PlanID: "p"}} // it was written before there were quotas
	want.Revision, want.Stored, want.Claimed, want.Counted = got.Revision, want.Standing(), want.Claim(), want.Account()
	if diff := cmp.Diff(want, &got, reveal); diff != "" {
		t.Error(diff)
	}
	if summary, found, _ := s.Summary(want.ID); !found {
		t.Error("the view does not know it")
	} else if diff := cmp.Diff(store.SummaryOf(want), summary); diff != "" {
		t.Error(diff)
	}
	must(t, s.PutInstance(t.Context(), &got, 0))
}

var reveal = cmp.Comparer(func(a, b serviceforge.Secret) bool { return a.Reveal() == b.Reveal() })

// full is an instance with every field set.
func full(id string, at time.Time) *serviceforge.Instance {
	i := instance(id)
	i.Slot, i.Release, i.Infrastructure = "s 1", "etcd/1.0.0", "default"
	i.Versions = map[string]string{"etcd": "2"}
	i.State = serviceforge.Deploying
	o := &i.Operation
	o.Message, o.Cause, o.Identity, o.Actor = "a \"message\" \\ in <words>\u2028", "a cause", "cloudfoundry e30=", "platform cc"
	o.Superseded = serviceforge.Intent{ContextID: "op0.x.1", Verb: "deploy", Digest: "d", Term: 3, Task: 4}
	o.Attempt, o.Failures, o.Tried, o.Repeats = 1, 2, []string{"full"}, 3
	o.NotBefore, o.StartedAt, o.FinishedAt = at.Add(time.Minute), at, at.Add(time.Hour)
	i.Operations = []string{"op0", "op1"}
	i.Holds = []serviceforge.Holding{{PlanID: "p", Costs: serviceforge.Costs{"memory_mb": 512}}, {PlanID: "q"}}
	i.CreatedAt, i.UpdatedAt = at, at
	return i
}

// What an update adds to a record, and its secrets are sealed.
func TestAnUpdateIsKept(t *testing.T) {
	s := open(t)
	want := full("a", time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC))
	want.Maintenance, want.Unfinished = "1.0.0", "p2"
	o := &want.Operation
	o.Kind, o.Unusable = serviceforge.Update, true
	o.Wish = serviceforge.Wish{
		PlanID: "p2", Parameters: serviceforge.NewSecret(`{"canary":1}`), Context: serviceforge.NewSecret(`{"canary":2}`),
		Release: "etcd/2.0.0", Versions: map[string]string{"etcd": "3"}, Maintenance: "2.0.0",
	}
	o.Before = &serviceforge.Outcome{Kind: serviceforge.Update, State: serviceforge.Failed, Message: "m"}
	_, err := s.CreateInstance(t.Context(), want)
	must(t, err)
	got, err := s.Instance(t.Context(), "a")
	must(t, err)
	if diff := cmp.Diff(want, &got, reveal); diff != "" {
		t.Error(diff)
	}
	stored, err := s.etcd.Client().Get(t.Context(), "/serviceforge/v1/instances/a")
	must(t, err)
	if strings.Contains(string(stored.Kvs[0].Value), "canary") {
		t.Errorf("stored in clear: %s", stored.Kvs[0].Value)
	}
}

// TestTwoViewsAreEqual compares what a view keeps of its own writes with what
// another reads of the records, first by listing and then by watching.
func TestTwoViewsAreEqual(t *testing.T) {
	s := open(t)
	at := time.Date(2026, 11, 20, 12, 0, 0, 123456789, time.UTC)
	watching := s.again(t)
	feed := watching.Feed()
	defer feed.Close()
	ids := []string{"plain", "a/b", "ünï"}
	for n, id := range ids {
		i := full(id, at)
		i.Slot += id
		if n == 0 {
			i = instance(id)
			i.Deployment = "h_hashed"
		}
		if n == 2 {
			i.Operation.Aftermath.Unusable = true
			i.Operation.Before = &serviceforge.Outcome{Kind: serviceforge.Update, State: serviceforge.Failed, Message: "m",
				Aftermath: serviceforge.Aftermath{Unrepeatable: true}}
		}
		_, err := s.CreateInstance(t.Context(), i)
		must(t, err)
		if summary, _, _ := s.Summary(id); !cmp.Equal(summary, store.SummaryOf(i)) {
			t.Error(cmp.Diff(store.SummaryOf(i), summary))
		}
	}
	_, err := s.etcd.Client().Put(t.Context(), "/serviceforge/v1/instances/damaged", `{"id":"damaged"`)
	must(t, err)
	own := s.Summaries()
	if diff := cmp.Diff(own, s.again(t).Summaries()); diff != "" || len(own) != len(ids) {
		t.Errorf("listed: %s", diff)
	}
	for len(watching.Summaries()) < len(ids) {
		_, err := feed.Next(t.Context())
		must(t, err)
	}
	if diff := cmp.Diff(own, watching.Summaries()); diff != "" {
		t.Errorf("watched: %s", diff)
	}
}
