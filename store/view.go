package store

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/serviceforge/serviceforge"
)

// Summary is what the in-memory view keeps of an instance: enough to answer
// polls and lists, small enough for a hundred thousand of them (≤ 0.3 KB).
type Summary struct {
	ID, ServiceID, PlanID string
	Platform              string
	Deployment            string
	Pool, Slot            string
	State                 serviceforge.State
	OperationID           string
	Kind                  serviceforge.Kind
	OperationState        serviceforge.OperationState
	Step                  serviceforge.Step
	Task                  int
	Message               string
	NotBefore             time.Time
	StartedAt, CreatedAt  time.Time
	Revision              int64
}

// Busy says that an operation is running.
func (s *Summary) Busy() bool { return s.OperationState == serviceforge.InProgress }

// SummaryOf returns what the view would keep of a record.
func SummaryOf(i *serviceforge.Instance) Summary {
	o := &i.Operation
	return Summary{
		ID: i.ID, ServiceID: i.ServiceID, PlanID: i.PlanID, Platform: i.Platform,
		Deployment: i.Deployment, Pool: i.Pool, Slot: i.Slot, State: i.State,
		OperationID: o.ID, Kind: o.Kind, OperationState: o.State, Step: o.Step, Task: o.Intent.Task,
		Message: o.Message, NotBefore: o.NotBefore, StartedAt: o.StartedAt, CreatedAt: i.CreatedAt, Revision: i.Revision,
	}
}

const (
	listPage = 1000
	// silence is how long the watch may say nothing, not even its regular
	// progress note, before the view lists again.
	silence = 15 * time.Second
	note    = 5 * time.Second
	relist  = 200 * time.Millisecond // pause before listing again after an error
)

// view is the watch-fed memory of all instances.
type view struct {
	store  *Store
	cancel context.CancelFunc
	done   chan struct{}

	mu        sync.RWMutex
	summaries map[string]Summary
	buried    map[string]int64 // deleted by us: id -> revision, until the watch has passed it
	revision  int64            // everything up to here has been seen
	feeds     map[*Feed]struct{}
	uses      map[string]*use     // by pool: what the summaries count up to
	marks     map[string]PoolMark // by pool
	marked    int64               // revision of the newest mark
}

func newView(s *Store) *view {
	return &view{store: s, done: make(chan struct{}), summaries: map[string]Summary{},
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

// list reads all summaries at one revision, page by page.
func (v *view) list(ctx context.Context) error {
	fresh := map[string]Summary{}
	var at int64
	from, end := instancesKey, clientv3.GetPrefixRangeEnd(instancesKey)
	for {
		answer, err := v.store.get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(listPage), clientv3.WithRev(at))
		if err != nil {
			return err
		}
		if at == 0 {
			at = answer.Header.Revision
		}
		for _, kv := range answer.Kvs {
			if s, ok := v.decode(kv); ok {
				fresh[s.ID] = s
			}
		}
		if !answer.More {
			break
		}
		from = string(answer.Kvs[len(answer.Kvs)-1].Key) + "\x00"
	}
	marks, err := v.store.get(ctx, poolsKey, clientv3.WithPrefix(), clientv3.WithRev(at))
	if err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.summaries, v.revision = fresh, at
	v.marks, v.marked = v.decodeMarks(marks.Kvs), at
	clear(v.buried)
	clear(v.uses)
	for id, s := range fresh {
		v.count(&s, 1)
		v.tell(id)
	}
	return nil
}

func (v *view) watch(ctx context.Context) error {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	channel := v.store.client.Watch(ctx, instancesKey, clientv3.WithPrefix(),
		clientv3.WithRev(v.seen()+1), clientv3.WithProgressNotify())
	marks := v.store.client.Watch(ctx, poolsKey, clientv3.WithPrefix(), clientv3.WithRev(v.seen()+1))
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
			if !ok {
				return rpctypes.ErrNoLeader
			}
			if err := answer.Err(); err != nil {
				return err
			}
			v.takeMarks(answer)
		case answer, ok := <-channel:
			if !ok {
				return rpctypes.ErrNoLeader
			}
			if err := answer.Err(); err != nil {
				return err
			}
			quiet.Reset(silence)
			v.take(answer)
		}
	}
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
		case v.summaries[id].Revision >= event.Kv.ModRevision: // an own write: known already
		default:
			if s, ok := v.decode(event.Kv); ok {
				v.applyLocked(s)
			}
		}
	}
	v.revision = max(v.revision, answer.Header.Revision)
	maps.DeleteFunc(v.buried, func(_ string, at int64) bool { return at <= v.revision })
}

func (v *view) seen() int64 {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.revision
}

// decode reads only what a summary needs; the secrets stay sealed.
func (v *view) decode(kv *mvccpb.KeyValue) (Summary, bool) {
	var r struct {
		ID         string             `json:"id"`
		ServiceID  string             `json:"service_id"`
		PlanID     string             `json:"plan_id"`
		Platform   string             `json:"platform"`
		Deployment string             `json:"deployment"`
		Pool       string             `json:"pool"`
		Slot       string             `json:"slot"`
		State      serviceforge.State `json:"state"`
		Operation  operationRecord    `json:"operation"`
		CreatedAt  time.Time          `json:"created_at"`
	}
	if err := json.Unmarshal(kv.Value, &r); err != nil {
		v.store.log.Error("a record in the store is damaged", "key", string(kv.Key), "error", err)
		return Summary{}, false
	}
	return SummaryOf(&serviceforge.Instance{
		ID: r.ID, ServiceID: r.ServiceID, PlanID: r.PlanID, Platform: r.Platform, Deployment: r.Deployment,
		Pool: r.Pool, Slot: r.Slot, State: r.State, Operation: operationFromRecord(&r.Operation), CreatedAt: r.CreatedAt, Revision: kv.ModRevision,
	}), true
}

func idOf(kv *mvccpb.KeyValue) string {
	return unescape(strings.TrimPrefix(string(kv.Key), instancesKey))
}

// apply takes an own write from its transaction's answer, before the watch brings it.
func (v *view) apply(s Summary) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.applyLocked(s)
}

func (v *view) applyLocked(s Summary) {
	if s.Revision <= v.summaries[s.ID].Revision || s.Revision <= v.buried[s.ID] {
		return
	}
	if old, ok := v.summaries[s.ID]; ok {
		v.count(&old, -1)
	}
	v.count(&s, 1)
	v.summaries[s.ID] = s
	v.tell(s.ID)
}

func (v *view) remove(id string, revision int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.buried[id] = revision
	v.removeLocked(id, revision)
}

func (v *view) removeLocked(id string, revision int64) {
	if old, ok := v.summaries[id]; ok && old.Revision < revision {
		v.count(&old, -1)
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
	summary, found = s.view.summaries[id]
	return summary, found, s.view.revision
}

// Summaries lists everything in memory, by id.
func (s *Store) Summaries() []Summary {
	s.view.mu.RLock()
	defer s.view.mu.RUnlock()
	return slices.SortedFunc(maps.Values(s.view.summaries), func(a, b Summary) int { return strings.Compare(a.ID, b.ID) })
}
