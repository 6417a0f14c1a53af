package store

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/serviceforge/serviceforge"
)

// DefaultLease is how long a leader that went silent still counts as the leader.
const DefaultLease = 10 * time.Second

// campaignPause is the longest wait for news of the old leader's end; its
// deletion is watched, the pause only covers a broken watch.
const campaignPause = 2 * time.Second

// Term is a time of leadership. Every write of the engine compares Number, so
// that a leader that was replaced without knowing cannot write.
type Term struct {
	Number int64 // creation revision of the leader key
	store  *Store
	lease  clientv3.LeaseID
	lost   chan struct{}
	cancel context.CancelFunc
}

// Lost is closed when the lease was not kept alive: stop working at once.
func (t *Term) Lost() <-chan struct{} { return t.lost }

// Lead waits until this replica is the leader. name is shown to operators.
// The lease is kept until Resign, ctx's end, or loss of etcd.
func (s *Store) Lead(ctx context.Context, name string) (*Term, error) {
	if s.exclusive {
		if _, err := s.commit(ctx, nil, []clientv3.Op{clientv3.OpDelete(leaderKey)}, nil); err != nil {
			return nil, err
		}
	}
	lease, err := s.lease(ctx, s.leaseLife)
	if err != nil {
		return nil, err
	}
	alive, cancel := context.WithCancel(context.WithoutCancel(ctx))
	beats, err := s.client.KeepAlive(alive, lease)
	if err != nil {
		cancel()
		return nil, unavailable(err)
	}
	term := &Term{store: s, lease: lease, lost: make(chan struct{}), cancel: cancel}
	go func() {
		defer close(term.lost)
		for range beats { // ends when the lease is lost or given up
		}
	}()
	if term.Number, err = s.campaign(ctx, name, lease, term.lost); err != nil {
		term.Resign()
		return nil, err
	}
	return term, nil
}

// campaign takes the leader key when it is free.
func (s *Store) campaign(ctx context.Context, name string, lease clientv3.LeaseID, lost <-chan struct{}) (int64, error) {
	for {
		answer, err := s.commit(ctx,
			[]clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(leaderKey), "=", 0)},
			[]clientv3.Op{clientv3.OpPut(leaderKey, name, clientv3.WithLease(lease))}, nil)
		if err != nil {
			return 0, err
		}
		if answer.Succeeded {
			return answer.Header.Revision, nil
		}
		watch, stop := context.WithTimeout(ctx, campaignPause)
		gone := s.client.Watch(watch, leaderKey, clientv3.WithRev(answer.Header.Revision+1), clientv3.WithFilterPut())
		select {
		case <-gone: // deleted, or the pause is over
		case <-lost:
			stop()
			return 0, serviceforge.Errorf(serviceforge.Unavailable, "the lease was lost while waiting to lead")
		}
		stop()
		if ctx.Err() != nil {
			return 0, unavailable(ctx.Err())
		}
	}
}

// Resign gives the leadership up at once, so that another replica need not
// wait for the lease to end. It returns when nothing of the term runs.
func (t *Term) Resign() {
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	_, _ = t.store.client.Revoke(ctx, t.lease) // else the lease ends by itself
	t.cancel()
	<-t.lost
}
