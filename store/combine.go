package store

import (
	"context"
	"slices"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/serviceforge/serviceforge"
)

// maxTogether is how many changes one transaction holds at most.
const maxTogether = 50

// change is a write of one instance that changes what it takes of the quotas.
// Those of one replica that come while another is written are written together,
// for what they have in common are the counters.
type change struct {
	instance        string
	before, after   serviceforge.Account
	compares        []clientv3.Cmp
	then, otherwise []clientv3.Op

	wanted context.Context // whoever asked waits as long as it lasts
	over   bool            // its outcome is told
	done   chan outcome    // holds it
}

type outcome struct {
	answer *clientv3.TxnResponse // with the responses to the change's own operations
	err    error
}

func (c *change) end(answer *clientv3.TxnResponse, err error) {
	c.over = true
	c.done <- outcome{answer, err}
}

// commitCounted is commit for a write of the instance's record: its counters
// move in the same transaction to the account after. Errors: Exhausted, which
// names the limit; Unavailable.
func (s *Store) commitCounted(ctx context.Context, i *serviceforge.Instance, after serviceforge.Account,
	compares []clientv3.Cmp, then, otherwise []clientv3.Op,
) (*clientv3.TxnResponse, error) {
	if i.Counted.Equal(after) {
		return s.commit(ctx, compares, then, otherwise)
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	l, err := s.quotas.ready(ctx)
	if err != nil {
		return nil, err
	}
	c := &change{instance: i.ID, before: i.Counted, after: after, compares: compares, then: then, otherwise: otherwise,
		wanted: ctx, done: make(chan outcome, 1)}
	if len(l.steps(c.before, c.after)) == 0 {
		s.write(ctx, []*change{c})
	} else {
		select {
		case s.counted <- c:
		case <-ctx.Done():
			return nil, unavailable(ctx.Err())
		}
	}
	select {
	case o := <-c.done:
		return o.answer, o.err
	case <-ctx.Done(): // it may be written all the same
		return nil, unavailable(ctx.Err())
	}
}

// combine writes changes, those that wait together, until ctx ends.
func (s *Store) combine(ctx context.Context) {
	for {
		var waiting []*change
		select {
		case <-ctx.Done():
			return
		case c := <-s.counted:
			waiting = append(waiting, c)
		}
		for len(waiting) < maxTogether && len(s.counted) > 0 {
			waiting = append(waiting, <-s.counted) // nobody else receives
		}
		waiting = slices.DeleteFunc(waiting, func(c *change) bool { return c.wanted.Err() != nil })
		within, cancel := context.WithTimeout(ctx, requestTimeout)
		s.write(within, waiting)
		cancel()
	}
}

// write writes changes in as few transactions as it takes, and ends each: it is
// written, or its own compares did not hold, or a limit is used up.
func (s *Store) write(ctx context.Context, changes []*change) {
	sure := map[serviceforge.Quota]bool{} // counters that were read, not only remembered
	for len(changes) > 0 {
		l, err := s.quotas.ready(ctx)
		if err == nil {
			b := newBatch(l, s.quotas, changes)
			if doubt := b.doubt(sure); len(doubt) > 0 {
				err = s.readCounters(ctx, doubt, sure) // nobody is refused because memory lags
			} else {
				err = s.try(ctx, b, sure)
			}
		}
		if err != nil {
			for _, c := range changes {
				if !c.over {
					c.end(nil, err)
				}
			}
			return
		}
		changes = slices.DeleteFunc(changes, func(c *change) bool { return c.over })
	}
}

// try ends the changes of a batch whose outcome is known after one transaction.
func (s *Store) try(ctx context.Context, b *batch, sure map[serviceforge.Quota]bool) error {
	for _, r := range b.refused {
		r.change.end(nil, serviceforge.UsedUp{Limit: serviceforge.Limit{Quota: r.quota, Most: r.most}}.Refusal(r.quota.ID))
	}
	if len(b.taken) == 0 {
		return nil
	}
	answer, err := s.commit(ctx, b.allCompares(), b.allThen(), b.allOtherwise())
	if err != nil {
		return err
	}
	if answer.Succeeded {
		b.written(s.quotas, answer)
		return nil
	}
	switch {
	case b.outdated(s.quotas, answer, sure): // another replica was faster: again
	case len(b.taken) == 1:
		b.taken[0].end(part(answer, answer.Responses[1+len(b.counters):]), nil)
	default: // one of them does not hold: each by itself
		for _, c := range b.taken {
			s.write(ctx, []*change{c})
		}
	}
	return nil
}

// readCounters reads counters, linearizably.
func (s *Store) readCounters(ctx context.Context, wanted []serviceforge.Quota, sure map[serviceforge.Quota]bool) error {
	var reads []clientv3.Op
	for _, q := range wanted {
		reads = append(reads, clientv3.OpGet(counterKey(q)))
	}
	answer, err := s.commit(ctx, nil, reads, nil)
	if err != nil {
		return err
	}
	for n, q := range wanted {
		s.quotas.learn(q, counterIn(answer, n))
		sure[q] = true
	}
	return nil
}

// counterIn is the counter that the n-th response holds.
func counterIn(answer *clientv3.TxnResponse, n int) counter {
	at := answer.Header.Revision
	if kvs := answer.Responses[n].GetResponseRange().Kvs; len(kvs) > 0 {
		return counterOf(kvs[0], at)
	}
	return counter{at: at}
}

// part is what an answer says to one change.
func part(answer *clientv3.TxnResponse, responses []*etcdserverpb.ResponseOp) *clientv3.TxnResponse {
	return &clientv3.TxnResponse{Header: answer.Header, Succeeded: answer.Succeeded, Responses: responses}
}
