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
		return serviceforge.Binding{}, noBinding(id)
	}
	return s.decodeBinding(place, answer.Kvs[0].Value, answer.Kvs[0].ModRevision)
}

func noBinding(id string) error {
	return serviceforge.Errorf(serviceforge.NotFound, "there is no service binding %q", id)
}

// InstanceAndBinding reads both at one revision, in one round trip. A binding
// that is not there has Revision 0. Errors: NotFound (the instance), Unavailable.
func (s *Store) InstanceAndBinding(ctx context.Context, instanceID, id string) (i serviceforge.Instance, b serviceforge.Binding, err error) {
	place := key(bindingsKey, instanceID, id)
	answer, err := s.commit(ctx, nil, []clientv3.Op{clientv3.OpGet(key(instancesKey, instanceID)), clientv3.OpGet(place)}, nil)
	if err != nil {
		return i, b, err
	}
	instances, bindings := answer.Responses[0].GetResponseRange().Kvs, answer.Responses[1].GetResponseRange().Kvs
	if len(instances) == 0 {
		return i, b, noInstance(instanceID)
	}
	if i, err = s.instanceOf(instances[0]); err == nil && len(bindings) > 0 {
		b, err = s.decodeBinding(place, bindings[0].Value, bindings[0].ModRevision)
	}
	return i, b, err
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

// CreateBinding stores a new binding, provided that its instance still has the
// given revision: a deprovision that came first wins. Changes are told in the
// instance's history. Errors: Conflict (the id is taken, or the instance was
// changed: read both again), Unavailable.
func (s *Store) CreateBinding(ctx context.Context, b *serviceforge.Binding, instanceRevision int64, changes ...serviceforge.Change) error {
	return s.writeBinding(ctx, b, []clientv3.Cmp{
		clientv3.Compare(clientv3.CreateRevision(key(bindingsKey, b.InstanceID, b.ID)), "=", 0),
		clientv3.Compare(clientv3.ModRevision(key(instancesKey, b.InstanceID)), "=", instanceRevision),
	}, BindingWrite{Told: changes}, false)
}

// CreateBindingOf is CreateBinding for one that takes something of its instance:
// it writes the record of the instance, as it was read, with it, so that of two
// bindings that are made at the same time one reads again.
func (s *Store) CreateBindingOf(ctx context.Context, b *serviceforge.Binding, i *serviceforge.Instance, changes ...serviceforge.Change) error {
	value, err := s.encodeInstance(i)
	if err != nil {
		return err
	}
	return s.writeBinding(ctx, b, []clientv3.Cmp{
		clientv3.Compare(clientv3.CreateRevision(key(bindingsKey, b.InstanceID, b.ID)), "=", 0),
		clientv3.Compare(clientv3.ModRevision(key(instancesKey, i.ID)), "=", i.Revision),
	}, BindingWrite{Told: changes, instance: value}, false)
}

// BindingWrite is what goes with the write of a binding, in one transaction.
type BindingWrite struct {
	Term   int64                   // other than 0: must be the present leader's
	Revoke serviceforge.Revocation // goes onto the list, if it names a user
	Told   []serviceforge.Change   // in the instance's history

	instance string // the record of the instance; "" = it is not written
}

// PutBinding replaces a binding that still has its Revision. Errors: Conflict
// (somebody wrote since, or another leader rules), Unavailable.
func (s *Store) PutBinding(ctx context.Context, b *serviceforge.Binding, w BindingWrite) error {
	return s.writeBinding(ctx, b, unchanged(key(bindingsKey, b.InstanceID, b.ID), b.Revision, w.Term), w, false)
}

// DeleteBinding forgets a binding that still has its Revision. Errors as PutBinding's.
func (s *Store) DeleteBinding(ctx context.Context, b *serviceforge.Binding, w BindingWrite) error {
	return s.writeBinding(ctx, b, unchanged(key(bindingsKey, b.InstanceID, b.ID), b.Revision, w.Term), w, true)
}

func (s *Store) writeBinding(ctx context.Context, b *serviceforge.Binding, compares []clientv3.Cmp, w BindingWrite, end bool) error {
	told, err := tell(b.InstanceID, w.Told...)
	if err != nil {
		return err
	}
	var operations []clientv3.Op
	if end {
		operations = append(told, clientv3.OpDelete(key(bindingsKey, b.InstanceID, b.ID)), clientv3.OpDelete(dueBinding(b)))
	} else if operations, err = s.puts(b, told); err != nil {
		return err
	}
	if w.instance != "" {
		operations = append(operations, clientv3.OpPut(key(instancesKey, b.InstanceID), w.instance))
	}
	if w.Revoke.User != "" {
		put, err := putRevocation(w.Revoke)
		if err != nil {
			return err
		}
		operations = append(operations, put)
	}
	answer, err := s.commit(ctx, compares, operations, nil)
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

// puts makes the operations that store a binding and when it is due.
func (s *Store) puts(b *serviceforge.Binding, told []clientv3.Op) ([]clientv3.Op, error) {
	value, err := s.encodeBinding(b)
	if err != nil {
		return nil, err
	}
	operations := append(told, clientv3.OpPut(key(bindingsKey, b.InstanceID, b.ID), value))
	at, is := b.Due()
	if !is {
		return append(operations, clientv3.OpDelete(dueBinding(b))), nil
	}
	due, err := encode(dueBinding(b), nil, dueRecord{header: header{recordVersion, 1}, At: at})
	return append(operations, clientv3.OpPut(dueBinding(b), due)), err
}
