package store

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// silence is how long the watch may say nothing, not even its regular
	// progress note, before the view lists again.
	silence = 15 * time.Second
	note    = 5 * time.Second
	relist  = 200 * time.Millisecond // pause before listing again after an error

	viewStream = "view"
)

// view is the watch-fed memory of all instances.
type view struct {
	store  *Store
	cancel context.CancelFunc
	done   chan struct{}

	mu        sync.RWMutex
	summaries map[string]*entry
	buried    map[string]int64 // deleted by us: id -> revision, until the watch has passed it
	revision  int64            // everything up to here has been seen
	moved     chan struct{}    // closed and replaced when revision has moved
	feeds     map[*Feed]struct{}
	uses      map[string]*use     // by pool: what the summaries count up to
	marks     map[string]PoolMark // by pool
	marked    int64               // revision of the newest mark
}

func newView(s *Store) *view {
	return &view{store: s, done: make(chan struct{}), moved: make(chan struct{}), summaries: map[string]*entry{},
		buried: map[string]int64{}, feeds: map[*Feed]struct{}{}, uses: map[string]*use{}, marks: map[string]PoolMark{}}
}

// start lists once, so that the view is complete before anybody asks it, and
// then keeps watching until stop.
func (v *view) start(ctx context.Context) error {
	if err := v.list(ctx); err != nil {
		return err
	}
	ctx, v.cancel = context.WithCancel(context.WithoutCancel(ctx))
	go v.run(ctx)
	return nil
}

func (v *view) stop() {
	v.cancel()
	<-v.done
}

func (v *view) run(ctx context.Context) {
	defer close(v.done)
	for ctx.Err() == nil {
		err := v.watch(ctx)
		for err != nil && ctx.Err() == nil {
			v.store.log.Warn("the watch on the store broke; listing again", "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(relist):
			}
			err = v.list(ctx)
		}
	}
}

// list reads all summaries at one revision.
func (v *view) list(ctx context.Context) error {
	fresh := map[string]*entry{}
	at, err := v.store.pages(ctx, instancesKey, func(kvs []*mvccpb.KeyValue) {
		for _, kv := range kvs {
			if s, ok := v.decode(kv); ok {
				e := compact(&s)
				fresh[e.id] = e
			}
		}
	})
	if err != nil {
		return err
	}
	marks, err := v.store.get(ctx, poolsKey, clientv3.WithPrefix(), clientv3.WithRev(at))
	if err != nil {
		return err
	}
	quotas, err := v.store.get(ctx, limitsKey, clientv3.WithPrefix(), clientv3.WithRev(at))
	if err != nil {
		return err
	}
	v.store.quotas.load(quotas.Kvs, at)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.summaries = fresh
	v.move(at)
	v.marks, v.marked = v.decodeMarks(marks.Kvs), at
	clear(v.buried)
	clear(v.uses)
	for id, e := range fresh {
		v.count(e, 1)
		v.tell(id)
	}
	return nil
}

func (v *view) watch(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ownStream(ctx, viewStream))
	defer cancel()
	from := clientv3.WithRev(v.seen())
	channel := v.store.client.Watch(ctx, instancesKey, clientv3.WithPrefix(), from, clientv3.WithProgressNotify())
	marks := v.store.client.Watch(ctx, poolsKey, clientv3.WithPrefix(), from)
	quotas := v.store.client.Watch(ctx, limitsKey, clientv3.WithPrefix(), from)
	quiet := time.NewTimer(silence)
	defer quiet.Stop()
	ask := time.NewTicker(note)
	defer ask.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ask.C:
			_ = v.store.client.RequestProgress(ctx) // an error shows as silence
		case <-quiet.C:
			return errors.New("no word from etcd")
		case answer, ok := <-marks:
			if err := broken(answer, ok); err != nil {
				return err
			}
			v.takeMarks(answer)
		case answer, ok := <-quotas:
			if err := broken(answer, ok); err != nil {
				return err
			}
			v.store.quotas.take(answer)
		case answer, ok := <-channel:
			if err := broken(answer, ok); err != nil {
				return err
			}
			quiet.Reset(silence)
			v.take(answer)
		}
	}
}

// broken says whether a watch has ended.
func broken(answer clientv3.WatchResponse, ok bool) error {
	if !ok {
		return rpctypes.ErrNoLeader
	}
	return answer.Err()
}

// take applies one batch of events.
func (v *view) take(answer clientv3.WatchResponse) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, event := range answer.Events {
		id := idOf(event.Kv)
		switch {
		case event.Type == mvccpb.DELETE:
			v.removeLocked(id, event.Kv.ModRevision)
		case v.knows(id, event.Kv.ModRevision): // an own write
		default:
			if s, ok := v.decode(event.Kv); ok {
				v.applyLocked(s)
			}
		}
	}
	at := answer.Header.Revision // of the store: a view that catches up gets there in several batches
	if n := len(answer.Events); n > 0 {
		at = answer.Events[n-1].Kv.ModRevision
	}
	v.move(max(v.revision, at))
	maps.DeleteFunc(v.buried, func(_ string, at int64) bool { return at <= v.revision })
}

// move notes up to where everything has been seen; v.mu is held.
func (v *view) move(revision int64) {
	v.revision = revision
	close(v.moved)
	v.moved = make(chan struct{})
}

func (v *view) seen() int64 {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.revision
}

// decode makes an entry of a record; false = it is damaged, which the log tells.
func (v *view) decode(kv *mvccpb.KeyValue) (Summary, bool) {
	s, ok := decodeSummary(kv)
	if !ok {
		v.store.log.Error("a record in the store is damaged", "key", string(kv.Key))
	}
	return s, ok
}

// apply takes an own write from its transaction's answer, before the watch brings
// it. Where the watch was first the instance may have been buried since.
func (v *view) apply(s Summary) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if s.Revision > v.revision {
		v.applyLocked(s)
	}
}

func (v *view) applyLocked(s Summary) {
	if v.knows(s.ID, s.Revision) {
		return
	}
	if old, ok := v.summaries[s.ID]; ok {
		v.count(old, -1)
	}
	e := compact(&s)
	v.count(e, 1)
	v.summaries[e.id] = e
	v.tell(e.id)
}

// knows says whether the view has seen a revision of an instance, or a newer one.
func (v *view) knows(id string, revision int64) bool {
	e, ok := v.summaries[id]
	return ok && revision <= e.revision || revision <= v.buried[id]
}

func (v *view) remove(id string, revision int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.buried[id] = revision
	v.removeLocked(id, revision)
}

func (v *view) removeLocked(id string, revision int64) {
	if old, ok := v.summaries[id]; ok && old.revision < revision {
		v.count(old, -1)
		delete(v.summaries, id)
		v.tell(id)
	}
}

// tell wakes the feeds; v.mu is held.
func (v *view) tell(id string) {
	for f := range v.feeds {
		f.add(id)
	}
}

// Summary looks an instance up in memory. seen is the revision up to which the
// view knows everything.
func (s *Store) Summary(id string) (summary Summary, found bool, seen int64) {
	s.view.mu.RLock()
	defer s.view.mu.RUnlock()
	e, found := s.view.summaries[id]
	if found {
		summary = e.summary()
	}
	return summary, found, s.view.revision
}

// ReleaseUse counts the instances that are made with a version of a service
// release ("name/version"), or are on the way to it, in memory.
func (s *Store) ReleaseUse(ref string) (instances int) {
	s.view.mu.RLock()
	defer s.view.mu.RUnlock()
	for _, e := range s.view.summaries {
		if w := e.words.Value(); w.release == ref || w.moving == ref {
			instances++
		}
	}
	return instances
}

// Summaries lists everything in memory, by id.
func (s *Store) Summaries() []Summary {
	s.view.mu.RLock()
	all := make([]Summary, 0, len(s.view.summaries))
	for _, e := range s.view.summaries {
		all = append(all, e.summary())
	}
	s.view.mu.RUnlock()
	slices.SortFunc(all, func(a, b Summary) int { return strings.Compare(a.ID, b.ID) })
	return all
}
