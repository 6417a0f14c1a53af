package store

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/serviceforge/serviceforge"
)

const (
	// replicaLife is how long a replica that went silent still counts as one.
	replicaLife = 15 * time.Second
	// replicaBeat is how often a replica looks which key is in use, and tells
	// which keys it has.
	replicaBeat = 2 * time.Second
)

// Replica is a broker process on this store.
type Replica struct {
	Name string   `json:"name"`
	Keys []string `json:"keys"` // ids of those it has
	Uses string   `json:"uses"` // the one it seals with
}

// Announce tells the other replicas of this one, and follows the key that is in
// use, until ctx ends.
func (s *Store) Announce(ctx context.Context, name string) {
	place := key(replicasKey, ulid.Make().String())
	tick := time.NewTicker(replicaBeat)
	defer tick.Stop()
	var lease clientv3.LeaseID
	told := ""
	for {
		var err error
		if lease, told, err = s.announce(ctx, place, name, lease, told); err != nil && ctx.Err() == nil {
			s.log.Warn("this replica cannot be announced", "error", serviceforge.DetailOf(err))
			lease = 0
		}
		select {
		case <-ctx.Done():
			gone, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			_, _ = s.client.Revoke(gone, lease) // else it ends by itself
			return
		case <-tick.C:
		}
	}
}

// announce is one beat: it keeps the lease alive and writes what has changed.
func (s *Store) announce(ctx context.Context, place, name string, lease clientv3.LeaseID, told string) (clientv3.LeaseID, string, error) {
	record, _, err := s.brokerRecord(ctx)
	if err != nil {
		return lease, told, err
	}
	if !s.keys.use(record.Probe.KeyID) {
		s.log.Error("the key that is in use is not in the key file: what is new cannot be read by others, nor theirs here", "key", record.Probe.KeyID)
	}
	if lease != 0 {
		ctx, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		if _, err := s.client.KeepAliveOnce(ctx, lease); err != nil {
			return 0, "", unavailable(err)
		}
	} else if lease, err = s.lease(ctx, replicaLife); err != nil {
		return 0, "", err
	} else {
		told = ""
	}
	ids, current := s.keys.state()
	value, err := json.Marshal(Replica{Name: name, Keys: ids, Uses: current})
	if err != nil || told == string(value) {
		return lease, told, err
	}
	_, err = s.commit(ctx, nil, []clientv3.Op{clientv3.OpPut(place, string(value), clientv3.WithLease(lease))}, nil)
	return lease, string(value), err
}

// Replicas lists the replicas that are at work.
func (s *Store) Replicas(ctx context.Context) ([]Replica, error) {
	answer, err := s.get(ctx, replicasKey, clientv3.WithPrefix())
	if err != nil {
		return nil, err
	}
	all := make([]Replica, 0, len(answer.Kvs))
	for _, kv := range answer.Kvs {
		var r Replica
		if err := json.Unmarshal(kv.Value, &r); err != nil {
			return nil, damaged(string(kv.Key), err)
		}
		all = append(all, r)
	}
	return all, nil
}

// without lists the replicas of which has is not true, by name.
func without(all []Replica, has func(*Replica) bool) []string {
	names := []string{}
	for i := range all {
		if !has(&all[i]) {
			names = append(names, all[i].Name)
		}
	}
	slices.Sort(names)
	return names
}
