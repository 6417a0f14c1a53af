package store_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/store"
)

// ring is a key file and a replica's ring of it.
type ring struct {
	*store.KeyRing
	t    *testing.T
	path string
}

func newRing(t *testing.T) *ring {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys")
	keys, err := store.LoadKeyRing(path)
	must(t, err)
	return &ring{keys, t, path}
}

// change reads the file again, after do has changed the list of keys.
func (r *ring) change(do func(keys []any) []any) {
	r.t.Helper()
	var file map[string][]any
	data, err := os.ReadFile(r.path)
	must(r.t, err)
	must(r.t, json.Unmarshal(data, &file))
	file["keys"] = do(file["keys"])
	data, err = json.Marshal(file)
	must(r.t, err)
	must(r.t, os.WriteFile(r.path, data, 0o600))
	must(r.t, r.Replace(data))
}

func openWith(t *testing.T, etcd *store.Embedded, r *ring, lost string) (*store.Store, error) {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{Client: etcd.Client(), Keys: r.KeyRing, Log: slog.New(slog.DiscardHandler), LostKey: lost})
	if err == nil {
		t.Cleanup(s.Close)
	}
	return s, err
}

// TestKeysAreRotatedWhileRecordsChange rotates beside a writer, with another
// replica that gets the key later, and then takes the old key away.
func TestKeysAreRotatedWhileRecordsChange(t *testing.T) {
	etcd, err := store.StartEmbedded(t.TempDir(), "")
	must(t, err)
	t.Cleanup(etcd.Close)
	ours := newRing(t)
	s, err := openWith(t, etcd, ours, "")
	must(t, err)
	other, err := store.LoadKeyRing(ours.path)
	must(t, err)
	theirs := &ring{other, t, ours.path}
	second, err := openWith(t, etcd, theirs, "")
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	announced := make(chan struct{})
	go func() { defer close(announced); second.Announce(ctx, "second") }()
	t.Cleanup(func() { cancel(); <-announced })
	for all, err := second.Replicas(ctx); err != nil || len(all) == 0; all, err = second.Replicas(ctx) {
		must(t, err)
	}
	const many = 50
	names := make([]string, many)
	for n := range names {
		i := instance(string(rune('a'+n/26)) + string(rune('a'+n%26)))
		_, err := s.CreateInstance(ctx, i)
		must(t, err)
		names[n] = i.ID
		must(t, s.CreateBinding(ctx, &serviceforge.Binding{ID: "b", InstanceID: i.ID, Password: serviceforge.NewSecret("p")}, i.Revision))
	}
	old, err := s.KeyUses(ctx)
	must(t, err)
	if len(old) != 1 || old[0].Records != 2*many || !old[0].Current {
		t.Fatalf("%+v", old)
	}

	fresh, err := store.AddKey(ours.path)
	must(t, err)
	ours.change(func(keys []any) []any { return keys })
	_, err = s.RotateKeys(ctx)
	code(t, err, serviceforge.Unprocessable) // the second replica has not got it
	theirs.change(func(keys []any) []any { return keys })

	writing := make(chan error)
	stop := make(chan struct{})
	go func() { // an engine at work on the other replica
		var failed error
		for n := 0; failed == nil; n++ {
			select {
			case <-stop:
				writing <- failed
				return
			default:
			}
			i, err := second.Instance(ctx, names[n%many])
			if err == nil {
				i.Operation.Attempt++
				err = second.PutInstance(ctx, &i, 0)
			}
			if serviceforge.CodeOf(err) != serviceforge.Conflict {
				failed = err
			}
		}
		writing <- failed
	}()
	sealed, settled := 0, 0
	for settled < 2 {
		r, err := s.RotateKeys(ctx)
		if serviceforge.CodeOf(err) == serviceforge.Unprocessable {
			continue // until the second has told of its key
		}
		must(t, err)
		sealed += r.Sealed
		if r.Done() {
			settled++
		}
	}
	close(stop)
	must(t, <-writing)
	uses, err := s.KeyUses(ctx)
	must(t, err)
	if len(uses) != 2 || uses[0].Records != 0 || uses[1].ID != fresh || !uses[1].Current || uses[1].Records != 2*many || sealed == 0 {
		t.Fatalf("%+v, sealed %d", uses, sealed)
	}
	ours.change(func(keys []any) []any { return keys[1:] })
	for _, name := range names {
		i, err := s.Instance(ctx, name)
		must(t, err)
		b, err := s.Binding(ctx, name, "b")
		must(t, err)
		if i.LostKey != "" || i.Parameters.Empty() || b.Password.Reveal() != "p" {
			t.Fatalf("%+v %+v", i, b)
		}
	}
	if err := ours.Replace([]byte(`{"keys":[{"id":"x","key":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}]}`)); serviceforge.CodeOf(err) != serviceforge.Unprocessable {
		t.Errorf("the key in use was taken away: %v", err)
	}
}

// TestALostKeyCostsItsSecretsOnly starts without the key in use: records are
// there, without their secrets, which a write leaves as they are.
func TestALostKeyCostsItsSecretsOnly(t *testing.T) {
	etcd, err := store.StartEmbedded(t.TempDir(), "")
	must(t, err)
	t.Cleanup(etcd.Close)
	before := newRing(t)
	s, err := openWith(t, etcd, before, "")
	must(t, err)
	i := instance("i")
	_, err = s.CreateInstance(t.Context(), i)
	must(t, err)
	uses, err := s.KeyUses(t.Context())
	must(t, err)
	lost := uses[0].ID

	after := newRing(t)
	_, err = openWith(t, etcd, after, "")
	code(t, err, serviceforge.Unprocessable)
	_, err = openWith(t, etcd, after, "another")
	code(t, err, serviceforge.Unprocessable)
	again, err := openWith(t, etcd, after, lost)
	must(t, err)
	if again.BrokerID() != s.BrokerID() {
		t.Error("it is another broker")
	}
	read, err := again.Instance(t.Context(), "i")
	must(t, err)
	if read.LostKey != lost || !read.Parameters.Empty() || read.Deployment != i.Deployment {
		t.Fatalf("%+v", read)
	}
	read.UpdatedAt = time.Now().UTC()
	must(t, again.PutInstance(t.Context(), &read, 0))
	if kept, err := s.Instance(t.Context(), "i"); err != nil || kept.Parameters.Reveal() != i.Parameters.Reveal() {
		t.Errorf("the write destroyed what a found key could open: %v %v", kept, err)
	}
	uses, err = again.KeyUses(t.Context())
	must(t, err)
	if len(uses) != 2 || uses[1].ID != lost || uses[1].Here || len(uses[1].Instances) != 1 || uses[1].Instances[0] != "i" {
		t.Errorf("%+v", uses)
	}
	if r, err := again.RotateKeys(t.Context()); err != nil || !r.Done() || r.Lost != 1 {
		t.Errorf("%+v %v", r, err)
	}
	read, err = again.Instance(t.Context(), "i")
	must(t, err)
	read.LostKey, read.Secrets = "", serviceforge.NewSecret("new")
	must(t, again.PutInstance(t.Context(), &read, 0))
	if read, err = again.Instance(t.Context(), "i"); err != nil || read.LostKey != "" || read.Secrets.Reveal() != "new" || len(read.Unknown) != 0 {
		t.Errorf("%+v %v", read, err)
	}
}
