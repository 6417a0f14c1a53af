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
		return serviceforge.Instance{}, noInstance(id)
	}
	return s.instanceOf(answer.Kvs[0])
}

func noInstance(id string) error {
	return serviceforge.Errorf(serviceforge.NotFound, "there is no service instance %q", id)
}

func (s *Store) instanceOf(kv *mvccpb.KeyValue) (serviceforge.Instance, error) {
	return s.decodeInstance(string(kv.Key), kv.Value, kv.ModRevision)
}

// CreateInstance stores a new instance, counts it, tells it in the history, and
// sets its Revision. Its release must not be about to be removed. If the id is taken, it stores nothing and returns what is
// there with a Conflict error, in the same round trip. Errors: Conflict,
// Exhausted (a limit is used up), Unprocessable (the release), Unavailable.
func (s *Store) CreateInstance(ctx context.Context, i *serviceforge.Instance) (existing serviceforge.Instance, err error) {
	place := key(instancesKey, i.ID)
	value, err := s.encodeInstance(i)
	if err != nil {
		return existing, err
	}
	first, told, err := line(i.ID, changeOf(i, i.CreatedAt))
	if err != nil {
		return existing, err
	}
	answer, err := s.commitCounted(ctx, i, i.Account(),
		[]clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(place), "=", 0), open(i.Release)},
		[]clientv3.Op{clientv3.OpPut(place, value), clientv3.OpPut(first, told)},
		[]clientv3.Op{clientv3.OpGet(place)})
	if err != nil {
		return existing, err
	}
	if !answer.Succeeded {
		found := answer.Responses[0].GetResponseRange().Kvs
		if len(found) == 0 {
			return existing, serviceforge.Errorf(serviceforge.Unprocessable, "the service release %s was just uninstalled", i.Release)
		}
		existing, err = s.instanceOf(found[0])
		if err != nil {
			return existing, err
		}
		return existing, serviceforge.Errorf(serviceforge.Conflict, "service instance %q exists", i.ID)
	}
	s.wrote(ctx, i, answer, nil)
	return existing, nil
}

// wrote notes on i what its write made of it.
func (s *Store) wrote(ctx context.Context, i *serviceforge.Instance, answer *clientv3.TxnResponse, told []clientv3.Op) {
	i.Revision, i.Stored, i.Claimed, i.Counted = answer.Header.Revision, i.Standing(), i.Claim(), i.Account()
	s.view.apply(SummaryOf(i))
	s.pruneHistory(ctx, i.ID, told, answer)
}

// PutInstance replaces a record that still has the Revision it was read with,
// and sets the new Revision. Where the instance's standing differs from the
// stored one, the same transaction tells it in the history, with further
// changes. A term other than 0 must be the present leader's.
// The claim on a place in a pool moves with it, and what it takes of the quotas.
// Errors: Conflict (somebody wrote since, or another leader rules: read again),
// Busy (the place that the record claims is somebody else's), Exhausted (it takes
// more than before, and a limit is used up), Unavailable.
func (s *Store) PutInstance(ctx context.Context, i *serviceforge.Instance, term int64, changes ...serviceforge.Change) error {
	value, err := s.encodeInstance(i)
	if err != nil {
		return err
	}
	if i.Standing() != i.Stored {
		changes = append(changes, changeOf(i, i.UpdatedAt))
	}
	told, err := tell(i.ID, changes...)
	if err != nil {
		return err
	}
	place := key(instancesKey, i.ID)
	free, moved, taken := move(i)
	if o := &i.Operation; term == 0 && i.Busy() && o.Kind == serviceforge.Update && o.Wish.Release != i.Release {
		free = append(free, open(o.Wish.Release))
	}
	answer, err := s.commitCounted(ctx, i, i.Account(), append(unchanged(place, i.Revision, term), free...),
		append(append(told, clientv3.OpPut(place, value)), moved...), taken)
	if err != nil {
		return err
	}
	if !answer.Succeeded {
		return refused(i, answer)
	}
	if o := &i.Operation; o.Done() && (i.Stored.Operation != o.ID || i.Stored.Result == serviceforge.InProgress) {
		s.ended(o.Kind, o.State)
	}
	s.wrote(ctx, i, answer, told)
	return nil
}

// BuryInstance deletes an instance with its bindings and leaves a tombstone; its
// claim and what it took of the quotas are given back, its history is kept for a
// year. Errors as PutInstance.
func (s *Store) BuryInstance(ctx context.Context, i *serviceforge.Instance, term int64) error {
	before, err := s.Tombstone(ctx, i.ID)
	if err != nil && serviceforge.CodeOf(err) != serviceforge.NotFound {
		return err
	}
	stone, err := encode(key(tombstonesKey, i.ID), nil, tombstoneOf(i, before))
	if err != nil {
		return err
	}
	lease, err := s.lease(ctx, tombstoneLife)
	if err != nil {
		return err
	}
	last, kept, untold, err := s.lastChange(ctx, i)
	if err != nil {
		return err
	}
	place := key(instancesKey, i.ID)
	answer, err := s.commitCounted(ctx, i, serviceforge.Account{}, append(unchanged(place, i.Revision, term), untold), append(append(last,
		clientv3.OpDelete(place),
		clientv3.OpDelete(key(bindingsKey, i.ID)+"/", clientv3.WithPrefix()),
		clientv3.OpDelete(key(dueKey, i.ID)+"/", clientv3.WithPrefix()),
		clientv3.OpPut(key(tombstonesKey, i.ID), stone, clientv3.WithLease(lease)),
	), giveBack(i)...), nil)
	if err != nil {
		return err
	}
	if !answer.Succeeded {
		s.revoke(ctx, lease, kept)
		return serviceforge.Errorf(serviceforge.Conflict, "service instance %q was changed meanwhile", i.ID)
	}
	s.view.remove(i.ID, answer.Header.Revision)
	s.ended(i.Operation.Kind, serviceforge.Succeeded)
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
