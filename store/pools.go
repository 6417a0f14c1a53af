package store

import (
	"context"
	"encoding/json"
	"maps"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/serviceforge/serviceforge"
)

// PoolMark is what an operator decided of an infrastructure pool; it stands
// above the pool file.
type PoolMark struct {
	header
	State  string    `json:"state"` // of package pools; "" = the pool file's
	Reason string    `json:"reason,omitempty"`
	Actor  string    `json:"actor,omitempty"` // which authority, e.g. "token 1"
	At     time.Time `json:"at"`
	Stalls []Stall   `json:"stalls,omitempty"` // the last times it was closed, oldest first
}

// MarkPool stores an operator's decision; all replicas see it. Errors: Unavailable.
func (s *Store) MarkPool(ctx context.Context, pool string, m PoolMark) error {
	m.header = header{recordVersion, 1}
	place := key(poolsKey, pool)
	value, err := encode(place, nil, m)
	if err != nil {
		return err
	}
	answer, err := s.commit(ctx, nil, []clientv3.Op{clientv3.OpPut(place, value)}, nil)
	if err == nil {
		s.view.mark(pool, &m, answer.Header.Revision)
	}
	return err
}

// UnmarkPool gives the word back to the pool file. Errors: Unavailable.
func (s *Store) UnmarkPool(ctx context.Context, pool string) error {
	answer, err := s.commit(ctx, nil, []clientv3.Op{clientv3.OpDelete(key(poolsKey, pool))}, nil)
	if err == nil {
		s.view.mark(pool, nil, answer.Header.Revision)
	}
	return err
}

// PoolMarks returns the operators' decisions by pool, from memory.
func (s *Store) PoolMarks() map[string]PoolMark {
	s.view.mu.RLock()
	defer s.view.mu.RUnlock()
	return maps.Clone(s.view.marks)
}

// ReadPoolMarks reads the operators' decisions by pool, linearizably. Errors: Unavailable.
func (s *Store) ReadPoolMarks(ctx context.Context) (map[string]PoolMark, error) {
	answer, err := s.get(ctx, poolsKey, clientv3.WithPrefix())
	if err != nil {
		return nil, err
	}
	return s.view.decodeMarks(answer.Kvs), nil
}

func poolOf(kv *mvccpb.KeyValue) string {
	return unescape(strings.TrimPrefix(string(kv.Key), poolsKey))
}

func (v *view) decodeMarks(kvs []*mvccpb.KeyValue) map[string]PoolMark {
	marks := make(map[string]PoolMark, len(kvs))
	for _, kv := range kvs {
		var m PoolMark
		if err := json.Unmarshal(kv.Value, &m); err != nil {
			v.store.log.Error("a record in the store is damaged", "key", string(kv.Key), "error", err)
			continue
		}
		marks[poolOf(kv)] = m
	}
	return marks
}

// mark takes an own write, unless something newer was seen; nil = no mark any more.
func (v *view) mark(pool string, m *PoolMark, revision int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if revision <= v.marked {
		return
	}
	v.marked = revision
	if m == nil {
		delete(v.marks, pool)
	} else {
		v.marks[pool] = *m
	}
}

// takeMarks applies one batch of events.
func (v *view) takeMarks(answer clientv3.WatchResponse) {
	for _, event := range answer.Events {
		pool := poolOf(event.Kv)
		if event.Type == mvccpb.DELETE {
			v.mark(pool, nil, event.Kv.ModRevision)
			continue
		}
		if m, ok := v.decodeMarks([]*mvccpb.KeyValue{event.Kv})[pool]; ok {
			v.mark(pool, &m, event.Kv.ModRevision)
		}
	}
}

// use counts the instances of one pool.
type use struct {
	instances int
	ofPlan    map[string]int
	slots     map[string]string // slot -> instance
}

// count adds an instance to its pool (sign 1) or takes it away (-1). Those that
// wait to be placed count for the pool "". v.mu is held.
func (v *view) count(e *entry, sign int) {
	s := e.summary()
	if s.Pool == "" && !(s.Busy() && s.Kind == serviceforge.Provision) {
		return
	}
	u := v.uses[s.Pool]
	if u == nil {
		u = &use{ofPlan: map[string]int{}, slots: map[string]string{}}
		v.uses[s.Pool] = u
	}
	u.instances += sign
	if u.ofPlan[s.PlanID] += sign; u.ofPlan[s.PlanID] == 0 {
		delete(u.ofPlan, s.PlanID)
	}
	switch {
	case s.Slot == "":
	case sign > 0:
		u.slots[s.Slot] = s.ID
	case u.slots[s.Slot] == s.ID:
		delete(u.slots, s.Slot)
	}
}

// PoolUse counts the instances of a pool, and those of one plan among them, in
// memory. The pool "" has those that wait to be placed.
func (s *Store) PoolUse(pool, planID string) (instances, ofPlan int) {
	s.view.mu.RLock()
	defer s.view.mu.RUnlock()
	u := s.view.uses[pool]
	if u == nil {
		return 0, 0
	}
	return u.instances, u.ofPlan[planID]
}

// FreePlace returns the first n of 0 … size-1 whose place no instance holds, as
// far as memory knows, nor skip names; -1 = none.
func (s *Store) FreePlace(pool string, size int, place func(n int) string, skip map[string]bool) int {
	s.view.mu.RLock()
	defer s.view.mu.RUnlock()
	var taken map[string]string
	if u := s.view.uses[pool]; u != nil {
		taken = u.slots
	}
	for n := range size {
		name := place(n)
		if _, held := taken[name]; !held && !skip[name] {
			return n
		}
	}
	return -1
}
