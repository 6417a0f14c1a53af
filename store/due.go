package store

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/serviceforge/serviceforge"
)

// What the engine has to do for bindings stands under due/<instance>/: an entry
// for every binding that is not finished or that will expire, written by the
// transactions that write the binding, and one for every user to be revoked.
// The rest, nearly all bindings there are, costs the engine nothing.
const (
	dueOfBinding = "/b/"
	dueOfUser    = "/u/"
)

// dueRecord is an entry in etcd; the binding or the user is named by its key.
type dueRecord struct {
	header
	At      time.Time `json:"at"`
	Since   time.Time `json:"since,omitzero"`    // of a revocation
	Repeats int       `json:"repeats,omitempty"` // of a revocation
}

// Due is one thing to do for an instance: Binding is to be looked after, or,
// where that is empty, Revoke is to be revoked.
type Due struct {
	At      time.Time
	Binding string
	Revoke  serviceforge.Revocation
}

func dueBinding(b *serviceforge.Binding) string {
	return key(key(dueKey, b.InstanceID)+dueOfBinding, b.ID)
}

func dueRevocation(r serviceforge.Revocation) string {
	return key(key(dueKey, r.InstanceID)+dueOfUser, r.User)
}

func putRevocation(r serviceforge.Revocation) (clientv3.Op, error) {
	value, err := encode(dueRevocation(r), nil, dueRecord{header: header{recordVersion, 1}, At: r.At, Since: r.Since, Repeats: r.Repeats})
	return clientv3.OpPut(dueRevocation(r), value), err
}

// Due lists what is to be done for an instance, now or later. Errors: Unavailable.
func (s *Store) Due(ctx context.Context, instanceID string) ([]Due, error) {
	prefix := key(dueKey, instanceID)
	answer, err := s.get(ctx, prefix+"/", clientv3.WithPrefix())
	if err != nil {
		return nil, err
	}
	var all []Due
	for _, kv := range answer.Kvs {
		var r dueRecord
		if err := json.Unmarshal(kv.Value, &r); err != nil {
			s.log.Error("a record in the store is damaged", "key", string(kv.Key), "error", err)
			continue
		}
		rest := string(kv.Key[len(prefix):])
		if id, found := strings.CutPrefix(rest, dueOfBinding); found {
			all = append(all, Due{At: r.At, Binding: unescape(id)})
		}
		if user, found := strings.CutPrefix(rest, dueOfUser); found {
			all = append(all, Due{At: r.At, Revoke: serviceforge.Revocation{
				InstanceID: instanceID, User: unescape(user), Since: r.Since, At: r.At, Repeats: r.Repeats,
			}})
		}
	}
	return all, nil
}

// PutRevocation stores when a revocation that is on the list is tried again.
// Errors: Conflict (another leader rules), Unavailable.
func (s *Store) PutRevocation(ctx context.Context, r serviceforge.Revocation, term int64) error {
	put, err := putRevocation(r)
	if err != nil {
		return err
	}
	return s.asLeader(ctx, r, put, term)
}

// DeleteRevocation takes a revocation off the list. Errors as PutRevocation's.
func (s *Store) DeleteRevocation(ctx context.Context, r serviceforge.Revocation, term int64) error {
	return s.asLeader(ctx, r, clientv3.OpDelete(dueRevocation(r)), term)
}

// asLeader changes an entry that is still there: the instance's end deletes them all.
func (s *Store) asLeader(ctx context.Context, r serviceforge.Revocation, operation clientv3.Op, term int64) error {
	answer, err := s.commit(ctx, []clientv3.Cmp{
		clientv3.Compare(clientv3.CreateRevision(dueRevocation(r)), ">", 0),
		clientv3.Compare(clientv3.CreateRevision(leaderKey), "=", term),
	}, []clientv3.Op{operation}, nil)
	if err == nil && !answer.Succeeded {
		err = serviceforge.Errorf(serviceforge.Conflict, "the revocation of a user of service instance %q was changed meanwhile", r.InstanceID)
	}
	return err
}

// FollowDue tells which instances have something due, now or later: first all
// of them, then each that changes, until ctx ends.
func (s *Store) FollowDue(ctx context.Context, tell func(instanceID string)) {
	for ctx.Err() == nil {
		at, err := s.listDue(ctx, tell)
		if err == nil {
			err = s.watchDue(ctx, at, tell)
		}
		if ctx.Err() != nil {
			return
		}
		s.log.Warn("the watch on what is due broke; listing again", "error", err)
		timer := time.NewTimer(relist)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

// listDue returns the revision it has read at.
func (s *Store) listDue(ctx context.Context, tell func(string)) (at int64, err error) {
	from, end := dueKey, clientv3.GetPrefixRangeEnd(dueKey)
	for {
		answer, err := s.get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(listPage), clientv3.WithRev(at), clientv3.WithKeysOnly())
		if err != nil {
			return 0, err
		}
		if at == 0 {
			at = answer.Header.Revision
		}
		for _, kv := range answer.Kvs {
			tell(instanceOfDue(kv.Key))
		}
		if !answer.More {
			return at, nil
		}
		from = string(answer.Kvs[len(answer.Kvs)-1].Key) + "\x00"
	}
}

func (s *Store) watchDue(ctx context.Context, at int64, tell func(string)) error {
	ctx, cancel := context.WithCancel(ownStream(ctx, "due"))
	defer cancel()
	channel := s.client.Watch(ctx, dueKey, clientv3.WithPrefix(), clientv3.WithRev(at), clientv3.WithProgressNotify())
	quiet := time.NewTimer(silence)
	defer quiet.Stop()
	ask := time.NewTicker(note)
	defer ask.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ask.C:
			_ = s.client.RequestProgress(ctx) // an error shows as silence
		case <-quiet.C:
			return errors.New("no word from etcd")
		case answer, ok := <-channel:
			if err := broken(answer, ok); err != nil {
				return err
			}
			quiet.Reset(silence)
			for _, event := range answer.Events {
				tell(instanceOfDue(event.Kv.Key))
			}
		}
	}
}

func instanceOfDue(place []byte) string {
	id, _, _ := strings.Cut(strings.TrimPrefix(string(place), dueKey), "/")
	return unescape(id)
}
