package store

import (
	"strconv"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/serviceforge/serviceforge"
)

// Bounds of one transaction: etcd takes 128 operations, as many compares, and
// 1.5 MiB.
const (
	maxOps   = 128
	maxBytes = 1 << 20
)

// batch is one transaction of several changes. First in its compares and
// operations are those of the limits and the counters.
type batch struct {
	limits   limits
	counters []*moving
	taken    []*change
	refused  []overrun

	moving    map[serviceforge.Quota]*moving
	instances map[string]bool // of the changes: a key may be written once

	compares        []clientv3.Cmp // of the changes
	then, otherwise []clientv3.Op
	bytes           int
}

// moving is a counter that a batch brings from one value to another.
type moving struct {
	quota serviceforge.Quota
	was   counter
	n     int64
}

// overrun is a change that a limit does not allow.
type overrun struct {
	change *change
	quota  serviceforge.Quota
	most   int64
}

// newBatch takes the first changes that fit into one transaction, and refuses
// those that go beyond a limit, as far as memory knows. The others wait for the
// next batch.
func newBatch(l limits, q *quotas, changes []*change) *batch {
	b := &batch{limits: l, moving: map[serviceforge.Quota]*moving{}, instances: map[string]bool{}}
	for _, c := range changes {
		if !b.add(q, c) {
			break
		}
	}
	return b
}

// add says whether there may be room for another change.
func (b *batch) add(q *quotas, c *change) bool {
	steps := b.limits.steps(c.before, c.after)
	counters, fresh := make([]*moving, len(steps)), 0
	wait := b.instances[c.instance]
	for n, s := range steps {
		m, known := b.moving[s.quota]
		if !known {
			was := q.counter(s.quota)
			m = &moving{quota: s.quota, was: was, n: was.n}
			fresh++
		}
		counters[n] = m
		most, _ := b.limits.of(s.quota)
		if s.n > 0 && s.n > most-m.was.n {
			b.refused = append(b.refused, overrun{c, s.quota, most})
			return true
		}
		wait = wait || s.n > 0 && s.n > most-m.n // whether those before it will be written is not known yet
	}
	if wait {
		return true
	}
	if bytes := b.bytes + bytesOf(c.then) + bytesOf(c.otherwise); len(b.taken) == 0 || b.fits(c, fresh, bytes) {
		b.take(c, steps, counters)
		b.bytes = bytes
		return true
	}
	return false
}

func (b *batch) fits(c *change, fresh, bytes int) bool {
	counters := len(b.counters) + fresh
	return bytes <= maxBytes && counters+len(b.then)+len(c.then) <= maxOps &&
		1+counters+max(len(b.compares)+len(c.compares), len(b.otherwise)+len(c.otherwise)) <= maxOps
}

func (b *batch) take(c *change, steps []step, counters []*moving) {
	for n, m := range counters {
		if b.moving[m.quota] == nil {
			b.moving[m.quota] = m
			b.counters = append(b.counters, m)
		}
		m.n += steps[n].n
	}
	b.instances[c.instance] = true
	b.taken = append(b.taken, c)
	b.compares = append(b.compares, c.compares...)
	b.then = append(b.then, c.then...)
	b.otherwise = append(b.otherwise, c.otherwise...)
}

func bytesOf(operations []clientv3.Op) (n int) {
	for _, o := range operations {
		n += len(o.KeyBytes()) + len(o.ValueBytes())
	}
	return n
}

// doubt lists the counters that refuse a change and are only remembered.
func (b *batch) doubt(sure map[serviceforge.Quota]bool) (doubt []serviceforge.Quota) {
	listed := map[serviceforge.Quota]bool{}
	for _, r := range b.refused {
		if !sure[r.quota] && !listed[r.quota] && len(doubt) < maxOps {
			listed[r.quota] = true
			doubt = append(doubt, r.quota)
		}
	}
	return doubt
}

func (b *batch) allCompares() []clientv3.Cmp {
	all := []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(limitsKey), "=", b.limits.revision)}
	for _, m := range b.counters {
		all = append(all, clientv3.Compare(clientv3.ModRevision(counterKey(m.quota)), "=", m.was.revision))
	}
	return append(all, b.compares...)
}

func (b *batch) allThen() []clientv3.Op {
	var all []clientv3.Op
	for _, m := range b.counters {
		all = append(all, setCounter(m.quota, m.n))
	}
	return append(all, b.then...)
}

// setCounter makes the operation that sets a counter; one at 0 has no key.
func setCounter(q serviceforge.Quota, n int64) clientv3.Op {
	if n == 0 {
		return clientv3.OpDelete(counterKey(q))
	}
	return clientv3.OpPut(counterKey(q), strconv.FormatInt(n, 10))
}

func (b *batch) allOtherwise() []clientv3.Op {
	all := []clientv3.Op{clientv3.OpGet(limitsKey)}
	for _, m := range b.counters {
		all = append(all, clientv3.OpGet(counterKey(m.quota)))
	}
	return append(all, b.otherwise...)
}

// written ends the changes of a batch that was written.
func (b *batch) written(q *quotas, answer *clientv3.TxnResponse) {
	at := answer.Header.Revision
	for _, m := range b.counters {
		now := counter{n: m.n, at: at}
		if m.n != 0 {
			now.revision = at
		}
		q.learn(m.quota, now)
	}
	responses := answer.Responses[len(b.counters):]
	for _, c := range b.taken {
		c.end(part(answer, responses[:len(c.then)]), nil)
		responses = responses[len(c.then):]
	}
}

// outdated takes what the answer to a batch that was not written tells of limits
// and counters, and says whether they are not what the batch went by.
func (b *batch) outdated(q *quotas, answer *clientv3.TxnResponse, sure map[serviceforge.Quota]bool) bool {
	record := answer.Responses[0].GetResponseRange().Kvs
	q.learnLimits(record)
	outdated := len(record) > 0 && record[0].ModRevision != b.limits.revision
	for n, m := range b.counters {
		now := counterIn(answer, 1+n)
		q.learn(m.quota, now)
		sure[m.quota] = true
		outdated = outdated || now.revision != m.was.revision
	}
	return outdated
}
