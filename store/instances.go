package store

import (
	"context"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/serviceforge/serviceforge"
)

// Instance reads one whole record, linearizably. Errors: NotFound, Unavailable.
func (s *Store) Instance(ctx context.Context, id string) (serviceforge.Instance, error) {
	place := key(instancesKey, id)
	answer, err := s.get(ctx, place)
	if err != nil {
		return serviceforge.Instance{}, err
	}
	if len(answer.Kvs) == 0 {
		return serviceforge.Instance{}, serviceforge.Errorf(serviceforge.NotFound, "there is no service instance %q", id)
	}
	return s.instanceOf(answer.Kvs[0])
}

func (s *Store) instanceOf(kv *mvccpb.KeyValue) (serviceforge.Instance, error) {
	return s.decodeInstance(string(kv.Key), kv.Value, kv.ModRevision)
}

// CreateInstance stores a new instance and sets its Revision. If the id is
// taken, it stores nothing and returns what is there with a Conflict error, in
// the same round trip.
func (s *Store) CreateInstance(ctx context.Context, i *serviceforge.Instance) (existing serviceforge.Instance, err error) {
	place := key(instancesKey, i.ID)
	value, err := s.encodeInstance(i)
	if err != nil {
		return existing, err
	}
	answer, err := s.commit(ctx,
		[]clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(place), "=", 0)},
		[]clientv3.Op{clientv3.OpPut(place, value), clientv3.OpDelete(key(tombstonesKey, i.ID))},
		[]clientv3.Op{clientv3.OpGet(place)})
	if err != nil {
		return existing, err
	}
	if !answer.Succeeded {
		existing, err = s.instanceOf(answer.Responses[0].GetResponseRange().Kvs[0])
		if err != nil {
			return existing, err
		}
		return existing, serviceforge.Errorf(serviceforge.Conflict, "service instance %q exists", i.ID)
	}
	i.Revision = answer.Header.Revision
	s.view.apply(SummaryOf(i))
	return existing, nil
}

// PutInstance replaces a record that still has the Revision it was read with,
// and sets the new Revision. A term other than 0 must be the present leader's.
// Errors: Conflict (somebody wrote since, or another leader rules: read again),
// Unavailable.
func (s *Store) PutInstance(ctx context.Context, i *serviceforge.Instance, term int64) error {
	value, err := s.encodeInstance(i)
	if err != nil {
		return err
	}
	place := key(instancesKey, i.ID)
	answer, err := s.commit(ctx, unchanged(place, i.Revision, term), []clientv3.Op{clientv3.OpPut(place, value)}, nil)
	if err != nil {
		return err
	}
	if !answer.Succeeded {
		return serviceforge.Errorf(serviceforge.Conflict, "service instance %q was changed meanwhile", i.ID)
	}
	i.Revision = answer.Header.Revision
	s.view.apply(SummaryOf(i))
	return nil
}

// BuryInstance deletes an instance with its bindings and leaves a tombstone.
// Errors as PutInstance.
func (s *Store) BuryInstance(ctx context.Context, i *serviceforge.Instance, term int64) error {
	stone, err := encode(key(tombstonesKey, i.ID), nil, tombstoneOf(i))
	if err != nil {
		return err
	}
	lease, err := s.lease(ctx, tombstoneLife)
	if err != nil {
		return err
	}
	place := key(instancesKey, i.ID)
	answer, err := s.commit(ctx, unchanged(place, i.Revision, term), []clientv3.Op{
		clientv3.OpDelete(place),
		clientv3.OpDelete(key(bindingsKey, i.ID)+"/", clientv3.WithPrefix()),
		clientv3.OpPut(key(tombstonesKey, i.ID), stone, clientv3.WithLease(lease)),
	}, nil)
	if err != nil {
		return err
	}
	if !answer.Succeeded {
		return serviceforge.Errorf(serviceforge.Conflict, "service instance %q was changed meanwhile", i.ID)
	}
	s.view.remove(i.ID, answer.Header.Revision)
	return nil
}

// unchanged compares a record's revision and, for a term other than 0, that
// the leader of that term still rules.
func unchanged(place string, revision, term int64) []clientv3.Cmp {
	compares := []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(place), "=", revision)}
	if term != 0 {
		compares = append(compares, clientv3.Compare(clientv3.CreateRevision(leaderKey), "=", term))
	}
	return compares
}
