package store

import (
	"context"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/serviceforge/serviceforge"
)

// A claim is an existence key: slots/<pool>/<slot> holds the id of the one
// instance that has the place. It is made, moved and given back by the
// transactions that write the instance, so that neither can be without the other.

func claimKey(c serviceforge.Claim) string { return key(slotsKey, c.Pool, c.Slot) }

// move makes what brings the claim of an instance to where its record is to
// say. taken are the operations for the case that a compare fails: they tell
// whether the claim is somebody else's.
func move(i *serviceforge.Instance) (compares []clientv3.Cmp, operations, taken []clientv3.Op) {
	before, after := i.Claimed, i.Claim()
	if before == after {
		return nil, nil, nil
	}
	if before != (serviceforge.Claim{}) {
		operations = append(operations, clientv3.OpDelete(claimKey(before)))
	}
	if after != (serviceforge.Claim{}) {
		place := claimKey(after)
		compares = append(compares, clientv3.Compare(clientv3.CreateRevision(place), "=", 0))
		operations = append(operations, clientv3.OpPut(place, i.ID))
		taken = append(taken, clientv3.OpGet(place))
	}
	return compares, operations, taken
}

// refused says why a write of an instance was refused: Busy where it is about
// a claim that somebody else has, else Conflict.
func refused(i *serviceforge.Instance, answer *clientv3.TxnResponse) error {
	for _, r := range answer.Responses {
		if kvs := r.GetResponseRange().GetKvs(); len(kvs) > 0 {
			return serviceforge.Errorf(serviceforge.Busy, "place %s of pool %s is taken by service instance %q", i.Slot, i.Pool, kvs[0].Value)
		}
	}
	return serviceforge.Errorf(serviceforge.Conflict, "service instance %q was changed meanwhile", i.ID)
}

// giveBack makes what gives the claim of an instance back; none = it has none.
func giveBack(i *serviceforge.Instance) []clientv3.Op {
	if i.Claimed == (serviceforge.Claim{}) {
		return nil
	}
	return []clientv3.Op{clientv3.OpDelete(claimKey(i.Claimed))}
}

// Claims lists which instance has which place, linearizably.
func (s *Store) Claims(ctx context.Context) (map[serviceforge.Claim]string, error) {
	answer, err := s.get(ctx, slotsKey, clientv3.WithPrefix())
	if err != nil {
		return nil, err
	}
	claims := make(map[serviceforge.Claim]string, len(answer.Kvs))
	for _, kv := range answer.Kvs {
		pool, slot, _ := strings.Cut(strings.TrimPrefix(string(kv.Key), slotsKey), "/")
		claims[serviceforge.Claim{Pool: unescape(pool), Slot: unescape(slot)}] = string(kv.Value)
	}
	return claims, nil
}
