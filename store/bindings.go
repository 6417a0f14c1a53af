package store

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/serviceforge/serviceforge"
)

// Binding reads one binding, linearizably. Errors: NotFound, Unavailable.
func (s *Store) Binding(ctx context.Context, instanceID, id string) (serviceforge.Binding, error) {
	place := key(bindingsKey, instanceID, id)
	answer, err := s.get(ctx, place)
	if err != nil {
		return serviceforge.Binding{}, err
	}
	if len(answer.Kvs) == 0 {
		return serviceforge.Binding{}, serviceforge.Errorf(serviceforge.NotFound, "there is no service binding %q", id)
	}
	return s.decodeBinding(place, answer.Kvs[0].Value, answer.Kvs[0].ModRevision)
}

// Bindings lists an instance's bindings by id.
func (s *Store) Bindings(ctx context.Context, instanceID string) ([]serviceforge.Binding, error) {
	answer, err := s.get(ctx, key(bindingsKey, instanceID)+"/", clientv3.WithPrefix())
	if err != nil {
		return nil, err
	}
	bindings := make([]serviceforge.Binding, 0, len(answer.Kvs))
	for _, kv := range answer.Kvs {
		b, err := s.decodeBinding(string(kv.Key), kv.Value, kv.ModRevision)
		if err != nil {
			return nil, err
		}
		bindings = append(bindings, b)
	}
	return bindings, nil
}

// CreateBinding stores the wish for a binding, provided that its instance
// still has the given revision: a deprovision that came first wins. If the id
// is taken it returns what is there with a Conflict error. Errors: Conflict,
// Busy (the instance was changed: read it again), Unavailable.
func (s *Store) CreateBinding(ctx context.Context, b *serviceforge.Binding, instanceRevision int64) (existing serviceforge.Binding, err error) {
	place := key(bindingsKey, b.InstanceID, b.ID)
	value, err := s.encodeBinding(b)
	if err != nil {
		return existing, err
	}
	answer, err := s.commit(ctx,
		[]clientv3.Cmp{
			clientv3.Compare(clientv3.CreateRevision(place), "=", 0),
			clientv3.Compare(clientv3.ModRevision(key(instancesKey, b.InstanceID)), "=", instanceRevision),
		},
		[]clientv3.Op{clientv3.OpPut(place, value)},
		[]clientv3.Op{clientv3.OpGet(place)})
	if err != nil {
		return existing, err
	}
	if answer.Succeeded {
		b.Revision = answer.Header.Revision
		return existing, nil
	}
	kvs := answer.Responses[0].GetResponseRange().Kvs
	if len(kvs) == 0 {
		return existing, serviceforge.Errorf(serviceforge.Busy, "service instance %q was changed meanwhile", b.InstanceID)
	}
	existing, err = s.decodeBinding(place, kvs[0].Value, kvs[0].ModRevision)
	if err != nil {
		return existing, err
	}
	return existing, serviceforge.Errorf(serviceforge.Conflict, "service binding %q exists", b.ID)
}

// PutBinding replaces a binding that still has its Revision, and tells changes
// of it in the instance's history. Errors: Conflict, Unavailable.
func (s *Store) PutBinding(ctx context.Context, b *serviceforge.Binding, changes ...serviceforge.Change) error {
	value, err := s.encodeBinding(b)
	if err != nil {
		return err
	}
	told, err := tell(b.InstanceID, changes...)
	if err != nil {
		return err
	}
	place := key(bindingsKey, b.InstanceID, b.ID)
	answer, err := s.commit(ctx, unchanged(place, b.Revision, 0), append(told, clientv3.OpPut(place, value)), nil)
	if err != nil {
		return err
	}
	if !answer.Succeeded {
		return serviceforge.Errorf(serviceforge.Conflict, "service binding %q was changed meanwhile", b.ID)
	}
	b.Revision = answer.Header.Revision
	s.pruneHistory(ctx, b.InstanceID, told, answer)
	return nil
}

// DeleteBinding forgets a binding that still has its Revision, and tells
// changes of it in the instance's history. Errors: Conflict, Unavailable.
func (s *Store) DeleteBinding(ctx context.Context, b *serviceforge.Binding, changes ...serviceforge.Change) error {
	told, err := tell(b.InstanceID, changes...)
	if err != nil {
		return err
	}
	place := key(bindingsKey, b.InstanceID, b.ID)
	answer, err := s.commit(ctx, unchanged(place, b.Revision, 0), append(told, clientv3.OpDelete(place)), nil)
	if err != nil {
		return err
	}
	if !answer.Succeeded {
		return serviceforge.Errorf(serviceforge.Conflict, "service binding %q was changed meanwhile", b.ID)
	}
	s.pruneHistory(ctx, b.InstanceID, told, answer)
	return nil
}
