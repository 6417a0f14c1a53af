package store

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"hash/fnv"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/serviceforge/serviceforge"
)

// Told is what the leader tells the other replicas of one pool's director, so
// that each of them can answer polls: who waits in which order and for how long,
// and how far the tasks are that somebody looks at. It is a convenience: nothing
// depends on it, and what is lost is told anew.
type Told struct {
	header
	// Line names the operations that wait, in the order of their turns: eight
	// bytes each, LineName's. Those far behind may be missing; Waiting counts all.
	Line    []byte `json:"line,omitempty"`
	Waiting int    `json:"waiting,omitempty"`
	Turns   []Turn `json:"turns,omitempty"`
	Trouble bool   `json:"trouble,omitempty"` // the breaker is open: nobody knows when whose turn is
	// Tasks are those that somebody looks at, by operation.
	Tasks map[string]ToldTask `json:"tasks,omitempty"`
	// Took is how long tasks take, by what they do and for which plan.
	Took map[string]time.Duration `json:"took,omitempty"`
}

// Turn says about how long those wait who are at a place in the line, or behind
// it and before the place of the next Turn. Zero = not known.
type Turn struct {
	Place int           `json:"place"` // from 1
	In    time.Duration `json:"in"`
}

// ToldTask is how far a task is.
type ToldTask struct {
	Stage   string        `json:"stage,omitempty"`
	Node    string        `json:"node,omitempty"`
	Percent int           `json:"percent"`
	Left    time.Duration `json:"left,omitempty"` // about; 0 = not known
}

// LineName names an operation in a Line.
func LineName(operation string) uint64 {
	sum := fnv.New64a()
	_, _ = sum.Write([]byte(operation))
	return sum.Sum64()
}

// Queue adds an operation to the end of the Line.
func (t *Told) Queue(operation string) {
	t.Line = binary.BigEndian.AppendUint64(t.Line, LineName(operation))
}

// Places are the places in the Line, from 1, by LineName.
func (t *Told) Places() map[uint64]int {
	places := make(map[uint64]int, len(t.Line)/8)
	for n := 0; n+8 <= len(t.Line); n += 8 {
		places[binary.BigEndian.Uint64(t.Line[n:])] = n/8 + 1
	}
	return places
}

// PutTold stores what is told of a pool, for the leader of the term, and says
// how large it is. Errors: Conflict (another leader rules), Unavailable.
func (s *Store) PutTold(ctx context.Context, pool string, t Told, term int64) (size int, err error) {
	t.header = header{recordVersion, 1}
	return s.putForTerm(ctx, key(progressKey, pool), t, term)
}

// AllTold reads what is told, by pool. Errors: Unavailable.
func (s *Store) AllTold(ctx context.Context) (map[string]Told, error) {
	all := map[string]Told{}
	_, err := s.readAll(ctx, progressKey, func(pool string, value []byte) {
		var t Told
		if json.Unmarshal(value, &t) == nil {
			t.header = header{}
			all[pool] = t
		}
	})
	return all, err
}

// FollowTold tells what is told of each pool, first as it is and then what
// changes, until ctx ends.
func (s *Store) FollowTold(ctx context.Context, tell func(pool string, t Told)) {
	s.followAll(ctx, progressKey, func(pool string, value []byte) {
		var t Told
		if err := json.Unmarshal(value, &t); err != nil {
			s.log.Warn("what is told of a director is damaged", "pool", pool, "error", err)
			return
		}
		tell(pool, t)
	})
}

// PutLooks tells the leader at which instances somebody looks through this
// replica; it holds for the given time. Errors: Unavailable.
func (s *Store) PutLooks(ctx context.Context, replica string, instances []string, life time.Duration) error {
	value, err := json.Marshal(instances)
	if err != nil {
		return serviceforge.Wrap(err, serviceforge.Internal, "the instances that are looked at cannot be written")
	}
	lease, err := s.lease(ctx, life)
	if err != nil {
		return err
	}
	_, err = s.commit(ctx, nil, []clientv3.Op{clientv3.OpPut(key(looksKey, replica), string(value), clientv3.WithLease(lease))}, nil)
	return err
}

// FollowLooks tells at which instances somebody looks through any replica,
// until ctx ends.
func (s *Store) FollowLooks(ctx context.Context, tell func(instances []string)) {
	s.followAll(ctx, looksKey, func(_ string, value []byte) {
		var instances []string
		if json.Unmarshal(value, &instances) == nil {
			tell(instances)
		}
	})
}

// readAll reads the records below a prefix and returns the revision they are of.
func (s *Store) readAll(ctx context.Context, prefix string, take func(name string, value []byte)) (int64, error) {
	answer, err := s.get(ctx, prefix, clientv3.WithPrefix())
	if err != nil {
		return 0, err
	}
	for _, kv := range answer.Kvs {
		take(unescape(strings.TrimPrefix(string(kv.Key), prefix)), kv.Value)
	}
	return answer.Header.Revision, nil
}

// followAll takes the records below a prefix, first as they are and then as they
// change, until ctx ends. Deletions are not told.
func (s *Store) followAll(ctx context.Context, prefix string, take func(name string, value []byte)) {
	for ctx.Err() == nil {
		at, err := s.readAll(ctx, prefix, take)
		if err == nil {
			s.watchAll(ctx, prefix, at, take)
			continue
		}
		timer := time.NewTimer(switchAgain)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

// watchAll takes changes after a revision until the watch ends or breaks.
func (s *Store) watchAll(ctx context.Context, prefix string, at int64, take func(name string, value []byte)) {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	for answer := range s.client.Watch(ctx, prefix, clientv3.WithPrefix(), clientv3.WithRev(at+1), clientv3.WithFilterDelete()) {
		if answer.Err() != nil {
			return
		}
		for _, event := range answer.Events {
			take(unescape(strings.TrimPrefix(string(event.Kv.Key), prefix)), event.Kv.Value)
		}
	}
}
