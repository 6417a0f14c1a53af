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
	At     time.Time `json:"at,omitzero"`      // since when it is so
	Stalls []Stall   `json:"stalls,omitempty"` // the last times it was paused, oldest first
}

// TurnSwitch stores what an operator decided; to pause again only changes who
// and why. Errors: Unavailable.
func (s *Store) TurnSwitch(ctx context.Context, w Switch) error {
	for {
		before, _, revision, err := s.readSwitch(ctx)
		if err != nil {
			return err
		}
		now := w
		now.header, now.Reason, now.Stalls = header{recordVersion, 1}, serviceforge.Cut(w.Reason), before.Stalls
		switch {
		case before.Paused && w.Paused:
			now.At = before.At
		case before.Paused:
			now.Stalls = Remember(now.Stalls, Stall{From: before.At, To: w.At})
		}
		value, err := encode(engineKey, nil, now)
		if err != nil {
			return err
		}
		answer, err := s.commit(ctx, unchanged(engineKey, revision, 0), []clientv3.Op{clientv3.OpPut(engineKey, value)}, nil)
		if err != nil || answer.Succeeded {
			return err
		}
	}
}

// ReadSwitch reads it, linearizably; zero = the engine works. Errors: Unavailable.
func (s *Store) ReadSwitch(ctx context.Context) (Switch, error) {
	w, _, _, err := s.readSwitch(ctx)
	return w, err
}

// readSwitch also tells at which revision it was read, and the record's own.
func (s *Store) readSwitch(ctx context.Context) (w Switch, at, own int64, err error) {
	answer, err := s.get(ctx, engineKey)
	if err != nil {
		return w, 0, 0, err
	}
	if len(answer.Kvs) > 0 {
		own = answer.Kvs[0].ModRevision
		err = json.Unmarshal(answer.Kvs[0].Value, &w)
	}
	if err != nil {
		return w, 0, 0, serviceforge.Wrap(err, serviceforge.Internal, "the record %s is damaged", engineKey)
	}
	return w, answer.Header.Revision, own, nil
}

// FollowSwitch tells of the switch, first as it is and then of every change,
// until ctx ends.
func (s *Store) FollowSwitch(ctx context.Context, tell func(Switch)) {
	for ctx.Err() == nil {
		w, at, _, err := s.readSwitch(ctx)
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
