package store

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/tidwall/gjson"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/serviceforge/serviceforge"
)

// resealFor is how long one call of RotateKeys seals anew.
const resealFor = time.Second

// KeyUse tells of one key.
type KeyUse struct {
	ID        string
	Current   bool     // what is new is sealed with it
	Here      bool     // the answering replica has it; false with Records above 0 = it is lost, or not given to this replica
	Records   int      // instances and bindings that are sealed with it
	Lacking   []string // replicas that have not got it
	Instances []string // instances that are sealed with it, where it is not here; at most a hundred
}

// Rotation tells how far a rotation is.
type Rotation struct {
	To      string   // the key it goes to
	Sealed  int      // records that this call sealed anew
	Left    int      // records that another key seals
	Lost    int      // of those: with keys that are not here
	Waiting []string // replicas that have yet to learn that To is in use
}

// Done says that nothing is left that a rotation could do.
func (r *Rotation) Done() bool { return r.Left == r.Lost && len(r.Waiting) == 0 }

// KeyUses tells of every key that a replica has or a record was sealed with. It
// reads all records.
func (s *Store) KeyUses(ctx context.Context) ([]KeyUse, error) {
	replicas, err := s.Replicas(ctx)
	if err != nil {
		return nil, err
	}
	record, _, err := s.brokerRecord(ctx)
	if err != nil {
		return nil, err
	}
	here, _ := s.keys.state()
	var all []KeyUse
	at := func(id string) *KeyUse {
		for i := range all {
			if all[i].ID == id {
				return &all[i]
			}
		}
		all = append(all, KeyUse{ID: id, Current: id == record.Probe.KeyID, Here: slices.Contains(here, id),
			Lacking: without(replicas, func(r *Replica) bool { return slices.Contains(r.Keys, id) })})
		return &all[len(all)-1]
	}
	for _, id := range here {
		at(id)
	}
	for _, r := range replicas { // one that was not given to this replica is told of
		for _, id := range r.Keys {
			at(id)
		}
	}
	err = s.sealedRecords(ctx, func(kv *mvccpb.KeyValue, id string) error {
		use := at(id)
		use.Records++
		if instance, ok := strings.CutPrefix(string(kv.Key), instancesKey); ok && !use.Here && len(use.Instances) < 100 {
			use.Instances = append(use.Instances, unescape(instance))
		}
		return nil
	})
	return all, err
}

// RotateKeys makes the newest key of the ring the one that seals, once every
// replica has it, and seals records anew for about a second. It is repeated
// until it is Done; it may be given up and begun again, and run while
// operations do: who writes a record between has sealed it himself.
// Errors: Unprocessable (a replica has not got the key), Unavailable.
func (s *Store) RotateKeys(ctx context.Context) (Rotation, error) {
	to := s.keys.newest()
	replicas, err := s.Replicas(ctx)
	if err != nil {
		return Rotation{}, err
	}
	if err := allHave(replicas, to); err != nil {
		return Rotation{}, err
	}
	if err := s.turnTo(ctx, to); err != nil {
		return Rotation{}, err
	}
	r := Rotation{To: to, Waiting: without(replicas, func(r *Replica) bool { return r.Uses == to })}
	until := time.Now().Add(resealFor)
	err = s.sealedRecords(ctx, func(kv *mvccpb.KeyValue, id string) error {
		if id == to {
			return nil
		}
		r.Left++
		if time.Now().After(until) {
			return nil // counted only
		}
		done, err := s.reseal(ctx, kv, to)
		switch {
		case done:
			r.Left--
			r.Sealed++
		case serviceforge.CodeOf(err) == serviceforge.Unprocessable:
			r.Lost++
			err = nil
		}
		return err
	})
	return r, err
}

// allHave refuses while a replica has not got the key that a rotation goes to,
// or what another would go to: this one may be the one that was forgotten.
func allHave(replicas []Replica, to string) error {
	wanted := []string{to}
	for _, r := range replicas {
		wanted = append(wanted, r.Keys[max(0, len(r.Keys)-1):]...)
	}
	for _, id := range wanted {
		if lacking := without(replicas, func(r *Replica) bool { return slices.Contains(r.Keys, id) }); len(lacking) > 0 {
			return serviceforge.Errorf(serviceforge.Unprocessable,
				"the key %s is not known to %s: give all replicas the same key file first", id, strings.Join(lacking, ", "))
		}
	}
	return nil
}

// turnTo seals the broker's probe with a key: from then on it is the one in use.
func (s *Store) turnTo(ctx context.Context, id string) error {
	record, revision, err := s.brokerRecord(ctx)
	if err != nil {
		return err
	}
	if record.Probe.KeyID != id {
		record.Probe = s.keys.sealWith(id, brokerKey, []byte(record.ID))
		value, err := json.Marshal(record)
		if err != nil {
			return damaged(brokerKey, err)
		}
		answer, err := s.commit(ctx, unchanged(brokerKey, revision, 0), []clientv3.Op{clientv3.OpPut(brokerKey, string(value))}, nil)
		if err != nil {
			return err
		}
		if !answer.Succeeded {
			return serviceforge.Errorf(serviceforge.Busy, "the key in use was changed by somebody else meanwhile: try again")
		}
		s.log.Info("another key seals", "key", id)
	}
	s.keys.use(id)
	return nil
}

// reseal seals one record's secrets with another key, unless the record was
// written meanwhile. Errors: Unprocessable (its key is not here), Unavailable.
func (s *Store) reseal(ctx context.Context, kv *mvccpb.KeyValue, to string) (done bool, err error) {
	place := string(kv.Key)
	var record map[string]json.RawMessage
	var closed sealed
	if err = json.Unmarshal(kv.Value, &record); err == nil {
		err = json.Unmarshal(record["sealed"], &closed)
	}
	if err != nil {
		return false, damaged(place, err)
	}
	plain, err := s.keys.open(place, closed)
	if err != nil {
		return false, serviceforge.Wrap(err, serviceforge.Unprocessable, "the secrets of %s cannot be opened", place)
	}
	if record["sealed"], err = json.Marshal(s.keys.sealWith(to, place, plain)); err != nil {
		return false, damaged(place, err)
	}
	value, err := json.Marshal(record)
	if err != nil {
		return false, damaged(place, err)
	}
	answer, err := s.commit(ctx, unchanged(place, kv.ModRevision, 0), []clientv3.Op{clientv3.OpPut(place, string(value))}, nil)
	return err == nil && answer.Succeeded, err
}

// sealedRecords calls do for every record with secrets, and the id of their key.
func (s *Store) sealedRecords(ctx context.Context, do func(kv *mvccpb.KeyValue, id string) error) error {
	for _, prefix := range []string{instancesKey, bindingsKey} {
		var failed error
		_, err := s.pages(ctx, prefix, func(page []*mvccpb.KeyValue) {
			for _, kv := range page {
				if id := gjson.GetBytes(kv.Value, "sealed.key_id").String(); id != "" && failed == nil {
					failed = do(kv, id)
				}
			}
		})
		if err != nil {
			return err
		}
		if failed != nil {
			return failed
		}
	}
	return nil
}

// brokerRecord reads the broker's record and its revision.
func (s *Store) brokerRecord(ctx context.Context) (record brokerRecord, revision int64, err error) {
	answer, err := s.get(ctx, brokerKey)
	if err != nil {
		return record, 0, err
	}
	if len(answer.Kvs) == 0 {
		return record, 0, serviceforge.Errorf(serviceforge.Internal, "the broker's record in etcd is gone")
	}
	if err := json.Unmarshal(answer.Kvs[0].Value, &record); err != nil {
		return record, 0, damaged(brokerKey, err)
	}
	return record, answer.Kvs[0].ModRevision, nil
}
