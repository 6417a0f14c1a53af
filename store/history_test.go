package store_test

import (
	"fmt"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/store"
)

// A change of standing is told in the transaction that makes it, and nothing else is.
func TestHistoryIsWrittenWithWhatItTells(t *testing.T) {
	s := open(t)
	i := instance("a/b") // a slash must not reach another instance's history
	i.Operation.Actor, i.Operation.Identity = "platform cc", strings.Repeat("é", serviceforge.MaxTold)
	before := revision(t, s)
	_, err := s.CreateInstance(t.Context(), i)
	must(t, err)
	if now := revision(t, s); now != before+1 {
		t.Errorf("an accepted request took %d transactions", now-before)
	}
	i.Operation.Step = serviceforge.Placed
	must(t, s.PutInstance(t.Context(), i, 0)) // a step: nothing to tell
	i.State = serviceforge.Running
	i.Operation.State, i.Operation.Cause = serviceforge.Succeeded, strings.Repeat("x", 3*serviceforge.MaxTold)
	stale := *i
	must(t, s.PutInstance(t.Context(), i, 0))
	code(t, s.PutInstance(t.Context(), &stale, 0), serviceforge.Conflict) // what did not happen is not told
	b := &serviceforge.Binding{ID: "b", InstanceID: i.ID, State: serviceforge.BindingReady}
	must(t, s.CreateBinding(t.Context(), b, i.Revision))
	must(t, s.PutBinding(t.Context(), b, store.BindingWrite{Told: []serviceforge.Change{{What: "bind", Binding: "b"}}}))
	must(t, s.DeleteBinding(t.Context(), b, store.BindingWrite{Told: []serviceforge.Change{{What: "unbind", Binding: "b"}}}))
	told, err := s.History(t.Context(), i.ID)
	must(t, err)
	var lines []string
	for _, c := range told {
		lines = append(lines, fmt.Sprintf("%s %s>%s %s", c.What, c.Before, c.After, c.Result))
		if len(c.Identity) > serviceforge.MaxTold || len(c.Cause) > serviceforge.MaxTold {
			t.Errorf("%d bytes of identity, %d of cause", len(c.Identity), len(c.Cause))
		}
	}
	want := "provision >initialized in progress, provision initialized>running succeeded, bind > , unbind > "
	if got := strings.Join(lines, ", "); got != want {
		t.Errorf("history:\n%s, want\n%s", got, want)
	}
	all, err := s.etcd.Client().Get(t.Context(), "/serviceforge/v1/history/", clientv3.WithPrefix())
	must(t, err)
	for _, kv := range all.Kvs {
		if strings.Contains(string(kv.Value), "canary") {
			t.Errorf("a secret in the history: %s", kv.Value)
		}
	}
}

func TestHistoryOutlivesTheInstance(t *testing.T) {
	s := open(t)
	i := instance("i")
	_, err := s.CreateInstance(t.Context(), i)
	must(t, err)
	for n := range 150 { // every one a change of standing
		i.Operation.ID = fmt.Sprint("op", n)
		must(t, s.PutInstance(t.Context(), i, 0))
	}
	stored, err := s.etcd.Client().Get(t.Context(), "/serviceforge/v1/history/i/", clientv3.WithPrefix(), clientv3.WithCountOnly())
	must(t, err)
	if stored.Count > 120 {
		t.Errorf("%d changes are kept", stored.Count)
	}
	i.State, i.Operation.State = serviceforge.Destroyed, serviceforge.Succeeded
	must(t, s.BuryInstance(t.Context(), i, 0))
	told, err := s.again(t).History(t.Context(), "i")
	must(t, err)
	if len(told) != 100 || told[98].Operation != "op149" || told[99].After != serviceforge.Destroyed {
		t.Errorf("%d changes, the last %+v", len(told), told[len(told)-1])
	}
	kept, err := s.etcd.Client().Get(t.Context(), "/serviceforge/v1/history/i/", clientv3.WithPrefix())
	must(t, err)
	for _, kv := range kept.Kvs {
		if kv.Lease == 0 {
			t.Fatalf("%s is kept for ever", kv.Key)
		}
	}
	_, err = s.History(t.Context(), "never")
	code(t, err, serviceforge.NotFound)
}

// revision is etcd's present revision: each transaction that writes makes one.
func revision(t *testing.T, s opened) int64 {
	t.Helper()
	answer, err := s.etcd.Client().Get(t.Context(), "x")
	must(t, err)
	return answer.Header.Revision
}
