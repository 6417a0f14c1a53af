package store

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/serviceforge/serviceforge"
)

// Breaker is what the leader knows of a pool's breaker: written when it opens
// or closes, so that other replicas can tell and a new leader goes on with it.
type Breaker struct {
	header
	Away   bool      `json:"away,omitempty"` // the director does not answer
	Sick   bool      `json:"sick,omitempty"` // its tasks fail for reasons of the infrastructure
	Since  time.Time `json:"since,omitzero"` // when it opened
	Cause  string    `json:"cause,omitempty"`
	Stalls []Stall   `json:"stalls,omitempty"` // the last times it was open, oldest first
}

// Open says whether new work waits.
func (b *Breaker) Open() bool { return b.Away || b.Sick }

// PutBreaker stores a pool's breaker, for the leader of the term. Errors:
// Conflict (another leader rules), Unavailable.
func (s *Store) PutBreaker(ctx context.Context, pool string, b Breaker, term int64) error {
	b.header, b.Cause = header{recordVersion, 1}, serviceforge.Cut(b.Cause)
	place := key(breakersKey, pool)
	_, err := s.putForTerm(ctx, place, b, term)
	return err
}

// putForTerm writes a record of the leader's own and says how large it is.
// Errors: Conflict (another leader rules), Unavailable.
func (s *Store) putForTerm(ctx context.Context, place string, record any, term int64) (size int, err error) {
	value, err := encode(place, nil, record)
	if err != nil {
		return 0, err
	}
	answer, err := s.commit(ctx, []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(leaderKey), "=", term)},
		[]clientv3.Op{clientv3.OpPut(place, value)}, nil)
	if err == nil && !answer.Succeeded {
		err = serviceforge.Errorf(serviceforge.Conflict, "another replica leads")
	}
	return len(value), err
}

// Breakers reads all breakers that ever opened, by pool. Errors: Unavailable.
func (s *Store) Breakers(ctx context.Context) (map[string]Breaker, error) {
	answer, err := s.get(ctx, breakersKey, clientv3.WithPrefix())
	if err != nil {
		return nil, err
	}
	all := make(map[string]Breaker, len(answer.Kvs))
	for _, kv := range answer.Kvs {
		var b Breaker
		if err := json.Unmarshal(kv.Value, &b); err != nil {
			return nil, serviceforge.Wrap(err, serviceforge.Internal, "the record %s is damaged", kv.Key)
		}
		all[unescape(strings.TrimPrefix(string(kv.Key), breakersKey))] = b
	}
	return all, nil
}
