package store

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/serviceforge/serviceforge"
)

// Quotas are exact because three rules hold:
//
//   - The limits in force are one record. The leader writes it as it is
//     configured; every write that changes what an instance takes compares its
//     revision, whether or not a limit concerns it.
//   - A limit has a counter for each platform, plan, … that something is taken
//     of; it moves in the transaction that writes the instance. No counter = 0.
//   - Counting anew (a new limit, or an operator asks) begins by a write of the
//     limits' record that forbids such writes until the counters are right.

// limitsRecord is the limits in force.
type limitsRecord struct {
	header
	Limits   []string  `json:"limits"`             // as ParseLimit reads them, sorted
	Counting bool      `json:"counting,omitempty"` // nothing may be taken or given back
	Asked    int       `json:"asked,omitempty"`    // recounts that operators asked for
	Counted  int       `json:"counted,omitempty"`  // the last of them that was made
	At       time.Time `json:"at,omitzero"`        // when was counted last
	// Corrections are the counters that were wrong then, at most maxCorrections.
	Corrections []Correction `json:"corrections,omitempty"`
}

// Correction is a counter that was wrong.
type Correction struct {
	Quota string `json:"quota"` // as serviceforge.Quota's String
	Was   int64  `json:"was"`
	Is    int64  `json:"is"`
}

// limits is what may be taken; it is never changed, only replaced.
type limits struct {
	revision int64 // of the record; 0 = there is none
	counting bool
	most     map[serviceforge.Quota]int64
}

func limitsOf(r *limitsRecord, revision int64) limits {
	l := limits{revision: revision, counting: r.Counting, most: make(map[serviceforge.Quota]int64, len(r.Limits))}
	for _, text := range r.Limits {
		if limit, err := serviceforge.ParseLimit(text); err == nil { // one of a newer version is its leader's matter
			l.most[limit.Quota] = limit.Most
		}
	}
	return l
}

// of returns the limit of a quota: its own, else the one for each of its scope.
func (l limits) of(q serviceforge.Quota) (most int64, limited bool) {
	if most, limited = l.most[q]; !limited {
		most, limited = l.most[serviceforge.Quota{Scope: q.Scope, Resource: q.Resource}]
	}
	return most, limited
}

// step is what a change takes of one quota, or gives back.
type step struct {
	quota serviceforge.Quota
	n     int64
}

// steps lists what brings the counters from one account to another.
func (l limits) steps(before, after serviceforge.Account) []step {
	if len(l.most) == 0 {
		return nil
	}
	moved := after.Takes()
	for q, n := range before.Takes() {
		moved[q] -= n
	}
	steps := make([]step, 0, len(moved))
	for q, n := range moved {
		if _, limited := l.of(q); limited && n != 0 {
			steps = append(steps, step{q, n})
		}
	}
	return steps
}

// counter is how much is taken of a quota.
type counter struct {
	n        int64
	revision int64 // of its key; 0 = it has none
	at       int64 // it was so at this revision of etcd
}

func counterKey(q serviceforge.Quota) string {
	return key(countersKey, string(q.Scope), q.ID, q.Resource)
}

// quotaOf undoes counterKey.
func quotaOf(place []byte) (serviceforge.Quota, bool) {
	parts := strings.Split(strings.TrimPrefix(string(place), countersKey), "/")
	if len(parts) != 3 {
		return serviceforge.Quota{}, false
	}
	return serviceforge.Quota{Scope: serviceforge.Scope(parts[0]), ID: unescape(parts[1]), Resource: unescape(parts[2])}, true
}

func counterOf(kv *mvccpb.KeyValue, at int64) counter {
	n, _ := strconv.ParseInt(string(kv.Value), 10, 64) // what is no number is counted anew as any wrong one
	return counter{n: n, revision: kv.ModRevision, at: at}
}

// quotas is what memory knows of limits and counters. A watch feeds it, and the
// answers of own transactions; it may lag, so every write compares.
type quotas struct {
	expected bool // limits are configured: without a record they are not in force yet

	mu       sync.Mutex
	limits   limits
	counters map[serviceforge.Quota]counter
	changed  chan struct{} // closed and replaced when the limits change
}

func newQuotas(expected bool) *quotas {
	return &quotas{expected: expected, counters: map[serviceforge.Quota]counter{}, changed: make(chan struct{})}
}

// ready returns the limits in force, as soon as something may be taken or given
// back. Errors: Unavailable.
func (q *quotas) ready(ctx context.Context) (limits, error) {
	for {
		q.mu.Lock()
		l, changed := q.limits, q.changed
		q.mu.Unlock()
		if !l.counting && (l.revision > 0 || !q.expected) {
			return l, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			e := serviceforge.Wrap(ctx.Err(), serviceforge.Unavailable, "the quotas are being counted; try again")
			e.RetryAfter = retryAfter
			return l, e
		}
	}
}

// news is closed when the limits change.
func (q *quotas) news() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.changed
}

// counter returns what memory knows.
func (q *quotas) counter(quota serviceforge.Quota) counter {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.counters[quota]
}

// learnLimits takes the record as it was at a revision of etcd, and says
// whether it is news.
func (q *quotas) learnLimits(kvs []*mvccpb.KeyValue) bool {
	var r limitsRecord
	revision := int64(0)
	if len(kvs) > 0 {
		revision = kvs[0].ModRevision
		_ = json.Unmarshal(kvs[0].Value, &r) // damaged: no limits, until the leader writes them again
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if revision <= q.limits.revision {
		return false
	}
	q.limits = limitsOf(&r, revision)
	close(q.changed)
	q.changed = make(chan struct{})
	return true
}

// learn takes a counter, unless memory is newer.
func (q *quotas) learn(quota serviceforge.Quota, c counter) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if c.at < q.counters[quota].at {
		return
	}
	q.counters[quota] = c
}

// load takes everything as it is at a revision.
func (q *quotas) load(kvs []*mvccpb.KeyValue, at int64) {
	fresh := make(map[serviceforge.Quota]counter, len(kvs))
	for n, kv := range kvs {
		if string(kv.Key) == limitsKey {
			q.learnLimits(kvs[n : n+1])
		} else if quota, ok := quotaOf(kv.Key); ok {
			fresh[quota] = counterOf(kv, at)
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.counters = fresh
}

// take applies one batch of events.
func (q *quotas) take(answer clientv3.WatchResponse) {
	for _, event := range answer.Events {
		quota, ok := quotaOf(event.Kv.Key)
		switch {
		case string(event.Kv.Key) == limitsKey:
			q.learnLimits([]*mvccpb.KeyValue{event.Kv})
		case !ok:
		case event.Type == mvccpb.DELETE:
			q.forget(quota, event.Kv.ModRevision)
		default:
			q.learn(quota, counterOf(event.Kv, event.Kv.ModRevision))
		}
	}
}

// forget takes the end of a counter's key; what memory does not know is 0.
func (q *quotas) forget(quota serviceforge.Quota, at int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.counters[quota].at <= at {
		delete(q.counters, quota)
	}
}

// QuotaUse is how much is taken of a quota.
type QuotaUse struct {
	serviceforge.Quota
	Used, Most int64
}

// Quotas is what is limited, and what is taken.
type Quotas struct {
	Limits      []string // those in force, as ParseLimit reads them
	Use         []QuotaUse
	Counting    bool
	CountedAt   time.Time
	Corrections []Correction // of the last count
}

// Quotas reads limits and counters, linearizably. Errors: Unavailable.
func (s *Store) Quotas(ctx context.Context) (Quotas, error) {
	answer, err := s.get(ctx, limitsKey, clientv3.WithPrefix())
	if err != nil {
		return Quotas{}, err
	}
	var record limitsRecord
	used := map[serviceforge.Quota]int64{}
	for _, kv := range answer.Kvs {
		if string(kv.Key) == limitsKey {
			if err := json.Unmarshal(kv.Value, &record); err != nil {
				return Quotas{}, damaged(limitsKey, err)
			}
		} else if q, ok := quotaOf(kv.Key); ok {
			used[q] = counterOf(kv, 0).n
		}
	}
	l := limitsOf(&record, 0)
	for q := range l.most {
		if q.ID != "" || q.Scope == serviceforge.BrokerScope {
			used[q] += 0 // shown, though nothing is taken of it
		}
	}
	all := Quotas{Limits: record.Limits, Counting: record.Counting, CountedAt: record.At, Corrections: record.Corrections}
	for _, q := range slices.SortedFunc(maps.Keys(used), func(a, b serviceforge.Quota) int { return strings.Compare(counterKey(a), counterKey(b)) }) {
		if most, limited := l.of(q); limited {
			all.Use = append(all.Use, QuotaUse{Quota: q, Used: used[q], Most: most})
		}
	}
	return all, nil
}
