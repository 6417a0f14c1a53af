package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/oklog/ulid/v2"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/serviceforge/serviceforge"
)

const (
	// historyKept is how many changes of one instance are kept; a few more may
	// stand until the next pruning, which is a write of its own.
	historyKept  = 100
	historySlack = 20
	// historyLife is how long the history of a deleted instance is kept.
	historyLife = 365 * 24 * time.Hour
)

// changeRecord is a line of history in etcd.
type changeRecord struct {
	header
	At        time.Time                   `json:"at"`
	What      string                      `json:"what"`
	Operation string                      `json:"operation,omitempty"`
	Binding   string                      `json:"binding,omitempty"`
	Before    serviceforge.State          `json:"before,omitempty"`
	After     serviceforge.State          `json:"after,omitempty"`
	Result    serviceforge.OperationState `json:"result,omitempty"`
	Actor     string                      `json:"actor,omitempty"`
	Identity  string                      `json:"identity,omitempty"`
	Message   string                      `json:"message,omitempty"`
	Cause     string                      `json:"cause,omitempty"`
	Pool      string                      `json:"pool,omitempty"`
	Task      int                         `json:"task,omitempty"`
}

// changeOf tells what a write of the instance changes.
func changeOf(i *serviceforge.Instance, at time.Time) serviceforge.Change {
	o := &i.Operation
	return serviceforge.Change{
		At: at, What: string(o.Kind), Operation: o.ID, Before: i.Stored.State, After: i.State, Result: o.State,
		Actor: o.Actor, Identity: o.Identity, Message: o.Message, Cause: o.Cause, Pool: i.Pool, Task: o.Intent.Task,
	}
}

func historyOf(instance string) string { return key(historyKey, instance) + "/" }

// tell makes the operations that tell changes in an instance's history. The
// last one counts what is there, for pruneHistory.
func tell(instance string, changes ...serviceforge.Change) ([]clientv3.Op, error) {
	if len(changes) == 0 {
		return nil, nil
	}
	var operations []clientv3.Op
	for _, c := range changes {
		place, value, err := line(instance, c)
		if err != nil {
			return nil, err
		}
		operations = append(operations, clientv3.OpPut(place, value))
	}
	return append(operations, clientv3.OpGet(historyOf(instance), clientv3.WithPrefix(), clientv3.WithCountOnly())), nil
}

// line encodes one change, within bounds whatever others said.
func line(instance string, c serviceforge.Change) (place, value string, err error) {
	place = historyOf(instance) + ulid.Make().String()
	value, err = encode(place, nil, changeRecord{
		header: header{recordVersion, 1}, At: c.At, What: c.What, Operation: c.Operation, Binding: c.Binding,
		Before: c.Before, After: c.After, Result: c.Result, Actor: c.Actor, Identity: serviceforge.Cut(c.Identity),
		Message: serviceforge.Cut(c.Message), Cause: serviceforge.Cut(c.Cause), Pool: c.Pool, Task: c.Task,
	})
	return place, value, err
}

// pruneHistory forgets the oldest changes once there are too many; told is what
// tell made, at the beginning of the transaction. An error only means that the
// next change prunes.
func (s *Store) pruneHistory(ctx context.Context, instance string, told []clientv3.Op, answer *clientv3.TxnResponse) {
	if len(told) == 0 || answer.Responses[len(told)-1].GetResponseRange().Count <= historyKept+historySlack {
		return
	}
	kvs, _, err := s.changes(ctx, instance)
	if err == nil && len(kvs) > historyKept {
		_, err = s.commit(ctx, nil, forget(kvs[:len(kvs)-historyKept]), nil)
	}
	if err != nil {
		s.log.Warn("a history was not pruned", "instance", instance, "error", serviceforge.DetailOf(err))
	}
}

func forget(kvs []*mvccpb.KeyValue) []clientv3.Op {
	operations := make([]clientv3.Op, 0, len(kvs))
	for _, kv := range kvs[:min(len(kvs), historyKept)] { // etcd takes 128 operations
		operations = append(operations, clientv3.OpDelete(string(kv.Key)))
	}
	return operations
}

// changes reads an instance's history in the order it was written: by etcd's
// revision, for the clocks of two replicas may differ. at is the revision it
// was read at.
func (s *Store) changes(ctx context.Context, instance string) (kvs []*mvccpb.KeyValue, at int64, err error) {
	answer, err := s.get(ctx, historyOf(instance), clientv3.WithPrefix(),
		clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortAscend))
	if err != nil {
		return nil, 0, err
	}
	return answer.Kvs, answer.Header.Revision, nil
}

// lastChange makes the operations that tell the end of an instance and let its
// history end in a year. They stand only if nothing was told meanwhile: untold
// compares that.
func (s *Store) lastChange(ctx context.Context, i *serviceforge.Instance) (operations []clientv3.Op, kept clientv3.LeaseID, untold clientv3.Cmp, err error) {
	kvs, at, err := s.changes(ctx, i.ID)
	if err == nil && len(kvs) >= historyKept {
		_, err = s.commit(ctx, nil, forget(kvs[:len(kvs)-historyKept+1]), nil)
		kvs = kvs[len(kvs)-historyKept+1:]
	}
	if err != nil {
		return nil, 0, untold, err
	}
	if kept, err = s.lease(ctx, historyLife); err != nil {
		return nil, 0, untold, err
	}
	for _, kv := range kvs {
		operations = append(operations, clientv3.OpPut(string(kv.Key), string(kv.Value), clientv3.WithLease(kept)))
	}
	place, value, err := line(i.ID, changeOf(i, i.Operation.FinishedAt))
	operations = append(operations, clientv3.OpPut(place, value, clientv3.WithLease(kept)))
	return operations, kept, clientv3.Compare(clientv3.ModRevision(historyOf(i.ID)), "<", at+1).WithPrefix(), err
}

// History returns what is kept of an instance's changes, oldest first; it
// outlives the instance for a year. Errors: NotFound (nothing is known of it),
// Unavailable.
func (s *Store) History(ctx context.Context, instance string) ([]serviceforge.Change, error) {
	kvs, _, err := s.changes(ctx, instance)
	if err != nil {
		return nil, err
	}
	if len(kvs) == 0 {
		return nil, serviceforge.Errorf(serviceforge.NotFound, "nothing is known of a service instance %q", instance)
	}
	kvs = kvs[max(0, len(kvs)-historyKept):]
	changes := make([]serviceforge.Change, 0, len(kvs))
	for _, kv := range kvs {
		var r changeRecord
		if err := json.Unmarshal(kv.Value, &r); err != nil {
			return nil, serviceforge.Wrap(err, serviceforge.Internal, "the record %s is damaged", kv.Key)
		}
		changes = append(changes, serviceforge.Change{
			ID: string(kv.Key[len(historyOf(instance)):]), At: r.At, What: r.What, Operation: r.Operation, Binding: r.Binding,
			Before: r.Before, After: r.After, Result: r.Result, Actor: r.Actor, Identity: r.Identity,
			Message: r.Message, Cause: r.Cause, Pool: r.Pool, Task: r.Task,
		})
	}
	return changes, nil
}
