package store

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/serviceforge/serviceforge"
)

// findingsKept bounds what is kept of one sweep: a record is a few hundred KiB
// at most. Findings says how many there are beyond that.
const findingsKept = 1000

// Sweep is what the leader found when it last looked through a director.
type Sweep struct {
	header
	Pool     string    `json:"-"`           // the first of those on the director
	At       time.Time `json:"at,omitzero"` // end of the last whole round; zero = there was none yet
	Calls    int       `json:"calls"`       // to the director, in that round
	Findings []Finding `json:"findings"`    // at most findingsKept
	More     int       `json:"more"`        // findings that are not kept
	Cause    string    `json:"cause"`       // why the present round cannot go on; "" = it can
}

// Finding is something that is not as the records say.
type Finding struct {
	Kind       string    `json:"kind"`
	Pool       string    `json:"pool"`
	Instance   string    `json:"instance,omitempty"`
	Deployment string    `json:"deployment,omitempty"`
	Slot       string    `json:"slot,omitempty"`
	Says       string    `json:"says"`
	Since      time.Time `json:"since"` // when it was found first
}

// PutSweep stores a sweep, for the leader of the term. Errors: Conflict
// (another leader rules), Unavailable.
func (s *Store) PutSweep(ctx context.Context, w Sweep, term int64) error {
	w.header, w.Cause = header{recordVersion, 1}, serviceforge.Cut(w.Cause)
	if len(w.Findings) > findingsKept {
		w.Findings, w.More = w.Findings[:findingsKept], len(w.Findings)-findingsKept
	}
	_, err := s.putForTerm(ctx, key(sweepsKey, w.Pool), w, term)
	return err
}

// Sweeps reads what was found on each director, by the first of its pools.
// Errors: Unavailable.
func (s *Store) Sweeps(ctx context.Context) (map[string]Sweep, error) {
	answer, err := s.get(ctx, sweepsKey, clientv3.WithPrefix())
	if err != nil {
		return nil, err
	}
	all := make(map[string]Sweep, len(answer.Kvs))
	for _, kv := range answer.Kvs {
		w := Sweep{Pool: unescape(strings.TrimPrefix(string(kv.Key), sweepsKey))}
		if err := json.Unmarshal(kv.Value, &w); err != nil {
			return nil, serviceforge.Wrap(err, serviceforge.Internal, "the record %s is damaged", kv.Key)
		}
		all[w.Pool] = w
	}
	return all, nil
}

// FreeClaim gives a claim back whose instance is no more, or claims another
// place, at this moment. Errors: Conflict (it is somebody's), Unavailable.
func (s *Store) FreeClaim(ctx context.Context, c serviceforge.Claim, instance string, term int64) error {
	i, err := s.Instance(ctx, instance)
	gone := serviceforge.CodeOf(err) == serviceforge.NotFound
	if err != nil && !gone {
		return err
	}
	conflict := serviceforge.Errorf(serviceforge.Conflict, "place %s of pool %s is service instance %q's", c.Slot, c.Pool, instance)
	if !gone && i.Claim() == c {
		return conflict
	}
	compares := append(unchanged(key(instancesKey, instance), i.Revision, term), clientv3.Compare(clientv3.Value(claimKey(c)), "=", instance))
	answer, err := s.commit(ctx, compares, []clientv3.Op{clientv3.OpDelete(claimKey(c))}, nil)
	if err == nil && !answer.Succeeded {
		err = conflict
	}
	return err
}
