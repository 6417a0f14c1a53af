package store

import (
	"context"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// catchUp is how long a list waits for a view that lags before it reads the
// records themselves.
const catchUp = time.Second

// List lists all instances, by id, as they are: everything that was written
// before it was asked is in it, through whichever replica. It costs one small
// read where the view is up to date. Errors: Unavailable.
func (s *Store) List(ctx context.Context) ([]Summary, error) {
	if s.exclusive {
		return s.Summaries(), nil
	}
	now, err := s.get(ctx, brokerKey, clientv3.WithKeysOnly())
	if err != nil {
		return nil, err
	}
	if s.view.reaches(ctx, now.Header.Revision) {
		return s.Summaries(), nil
	}
	var all []Summary
	_, err = s.pages(ctx, instancesKey, func(kvs []*mvccpb.KeyValue) {
		for _, kv := range kvs {
			if one, ok := s.view.decode(kv); ok {
				all = append(all, one)
			}
		}
	})
	slices.SortFunc(all, func(a, b Summary) int { return strings.Compare(a.ID, b.ID) })
	return all, err
}

// reaches waits a while until everything up to a revision has been seen. A view
// of which nothing changed learns that by asking its watch, on the same stream.
func (v *view) reaches(ctx context.Context, revision int64) bool {
	ctx, cancel := context.WithTimeout(ownStream(ctx, viewStream), catchUp)
	defer cancel()
	asked := false
	for {
		v.mu.RLock()
		seen, moved := v.revision, v.moved
		v.mu.RUnlock()
		if seen >= revision {
			return true
		}
		if !asked {
			asked = v.store.client.RequestProgress(ctx) == nil
		}
		select {
		case <-ctx.Done():
			return false
		case <-moved:
		}
	}
}
