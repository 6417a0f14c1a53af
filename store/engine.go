package store

import (
	"context"
	"encoding/json"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/serviceforge/serviceforge"
)

// switchAgain is the pause before an engine's switch is watched anew.
const switchAgain = 200 * time.Millisecond

// Switch says whether the engine works. It holds for all replicas and for
// every leader to come.
type Switch struct {
	header
	Paused bool      `json:"paused"`
	Actor  string    `json:"actor,omitempty"` // who said so, e.g. "token 1"
	Reason string    `json:"reason,omitempty"`
	At     time.Time `json:"at,omitzero"`
}

// PutSwitch stores what an operator decided. Errors: Unavailable.
func (s *Store) PutSwitch(ctx context.Context, w Switch) error {
	w.header, w.Reason = header{recordVersion, 1}, serviceforge.Cut(w.Reason)
	value, err := encode(engineKey, nil, w)
	if err != nil {
		return err
	}
	_, err = s.commit(ctx, nil, []clientv3.Op{clientv3.OpPut(engineKey, value)}, nil)
	return err
}

// ReadSwitch reads it, linearizably; zero = the engine works. Errors: Unavailable.
func (s *Store) ReadSwitch(ctx context.Context) (Switch, error) {
	w, _, err := s.readSwitch(ctx)
	return w, err
}

func (s *Store) readSwitch(ctx context.Context) (w Switch, at int64, err error) {
	answer, err := s.get(ctx, engineKey)
	if err != nil {
		return w, 0, err
	}
	if len(answer.Kvs) > 0 {
		err = json.Unmarshal(answer.Kvs[0].Value, &w)
	}
	if err != nil {
		return w, 0, serviceforge.Wrap(err, serviceforge.Internal, "the record %s is damaged", engineKey)
	}
	return w, answer.Header.Revision, nil
}

// FollowSwitch tells of the switch, first as it is and then of every change,
// until ctx ends.
func (s *Store) FollowSwitch(ctx context.Context, tell func(Switch)) {
	for ctx.Err() == nil {
		w, at, err := s.readSwitch(ctx)
		if err == nil {
			tell(w)
			s.watchSwitch(ctx, at)
			continue
		}
		if ctx.Err() == nil {
			s.log.Warn("the engine's switch cannot be read; trying again", "error", serviceforge.DetailOf(err))
		}
		timer := time.NewTimer(switchAgain)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

// watchSwitch returns when the switch changed after a revision, or may have: a
// watch that says nothing for a while may be broken.
func (s *Store) watchSwitch(ctx context.Context, at int64) {
	ctx, cancel := context.WithTimeout(clientv3.WithRequireLeader(ctx), silence)
	defer cancel()
	<-s.client.Watch(ctx, engineKey, clientv3.WithRev(at+1))
}

// Leader returns the name of the replica that leads; "" = none does. Errors: Unavailable.
func (s *Store) Leader(ctx context.Context) (string, error) {
	answer, err := s.get(ctx, leaderKey)
	if err != nil || len(answer.Kvs) == 0 {
		return "", err
	}
	return string(answer.Kvs[0].Value), nil
}
