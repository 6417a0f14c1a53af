package store

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/serviceforge/serviceforge"
)

// tombstoneLife is how long a deleted instance is remembered (DESIGN §3).
const tombstoneLife = 90 * 24 * time.Hour

// tombstoneLineage is how many operations of earlier instances of an id are
// remembered.
const tombstoneLineage = 100

// Tombstone is what remains of a deleted instance: enough to answer a late
// poll and to recognise a deployment that should be gone. It stays when the id
// is taken again: tasks of a director may still tell of the earlier instance.
type Tombstone struct {
	header
	ID          string    `json:"id"`
	Platform    string    `json:"platform"`
	Deployment  string    `json:"deployment"`
	Pool        string    `json:"pool"`
	OperationID string    `json:"operation_id"`
	Operations  []string  `json:"operations"` // of it, and of earlier ones with its deployment's name: context ids of that begin with one of these
	DeletedAt   time.Time `json:"deleted_at"`
}

// tombstoneOf is the tombstone of an instance; before is that of the last one of
// the same id, or nothing.
func tombstoneOf(i *serviceforge.Instance, before Tombstone) Tombstone {
	var earlier []string
	if before.Deployment == i.Deployment {
		earlier = before.Operations[max(0, len(before.Operations)-tombstoneLineage):]
	}
	return Tombstone{
		header: header{recordVersion, 1},
		ID:     i.ID, Platform: i.Platform, Deployment: i.Deployment, Pool: i.Pool,
		OperationID: i.Operation.ID, Operations: slices.Concat(earlier, i.Operations), DeletedAt: i.Operation.FinishedAt,
	}
}

// Tombstone returns what remains of a deleted instance. Errors: NotFound, Unavailable.
func (s *Store) Tombstone(ctx context.Context, id string) (Tombstone, error) {
	answer, err := s.get(ctx, key(tombstonesKey, id))
	if err != nil {
		return Tombstone{}, err
	}
	if len(answer.Kvs) == 0 {
		return Tombstone{}, noInstance(id)
	}
	var stone Tombstone
	if err := json.Unmarshal(answer.Kvs[0].Value, &stone); err != nil {
		return Tombstone{}, serviceforge.Wrap(err, serviceforge.Internal, "the tombstone of %q is damaged", id)
	}
	return stone, nil
}

// Tombstones lists all tombstones. Errors: Unavailable.
func (s *Store) Tombstones(ctx context.Context) ([]Tombstone, error) {
	var stones []Tombstone
	_, err := s.pages(ctx, tombstonesKey, func(kvs []*mvccpb.KeyValue) {
		for _, kv := range kvs {
			var stone Tombstone
			if err := json.Unmarshal(kv.Value, &stone); err != nil {
				s.log.Error("a record in the store is damaged", "key", string(kv.Key), "error", err)
				continue
			}
			stones = append(stones, stone)
		}
	})
	return stones, err
}

// lease makes an etcd lease, so that etcd itself forgets.
func (s *Store) lease(ctx context.Context, life time.Duration) (clientv3.LeaseID, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	answer, err := s.client.Grant(ctx, int64(life.Seconds()))
	if err != nil {
		return 0, unavailable(err)
	}
	return answer.ID, nil
}

// revoke ends leases that nothing came to use; else they end by themselves.
func (s *Store) revoke(ctx context.Context, leases ...clientv3.LeaseID) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	for _, lease := range leases {
		_, _ = s.client.Revoke(ctx, lease)
	}
}
