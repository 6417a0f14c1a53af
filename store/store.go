// Package store keeps instances, bindings and tombstones in etcd: sealed
// records, revision compares instead of locks, one leader, and an in-memory
// view fed by a watch.
package store

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/metadata"

	"github.com/serviceforge/serviceforge"
)

const (
	root          = "/serviceforge/v1/"
	instancesKey  = root + "instances/"
	bindingsKey   = root + "bindings/"
	dueKey        = root + "due/"
	historyKey    = root + "history/"
	breakersKey   = root + "breakers/"
	sweepsKey     = root + "sweeps/"
	engineKey     = root + "engine"
	tombstonesKey = root + "tombstones/"
	slotsKey      = root + "slots/"
	poolsKey      = root + "pools/"
	releasesKey   = root + "releases/"
	switchedKey   = root + "releases" // written by whatever changes what is on offer
	tokensKey     = root + "tokens/"
	progressKey   = root + "progress/"
	looksKey      = root + "looks/"
	lastTokenKey  = root + "last_token"
	limitsKey     = root + "quota"
	countersKey   = limitsKey + "/"
	leaderKey     = root + "leader"
	replicasKey   = root + "replicas/"
	brokerKey     = root + "broker"

	// requestTimeout bounds one request to etcd. It is well below the 60 s
	// after which platforms give up, so that they get a 503 and try again.
	requestTimeout = 5 * time.Second
	retryAfter     = 5 * time.Second
	noLeaderPause  = 50 * time.Millisecond // before another member is asked

	// listPage is how many keys are read at a time: etcd walks all keys behind a
	// page for each page (at 1,000 that cost more than the reading).
	listPage = 5000
)

// Client is etcd's client, so that nobody else needs to import it.
type Client = clientv3.Client

// Options are what a Store needs.
type Options struct {
	Client *Client // in-process for the embedded server, else TLS
	Keys   *KeyRing
	Log    *slog.Logger
	// Exclusive says that no other broker can be on this etcd (it is embedded
	// and its folder is locked): a leader key found at the start is a dead one's.
	Exclusive bool
	// Lease is how long a leader that went silent still counts as the leader,
	// in whole seconds; 0 = DefaultLease.
	Lease time.Duration
	// Limits are put in force while this replica leads. See KeepQuotas, SetLimits.
	Limits []serviceforge.Limit
	// Ended is told of every operation on an instance that this replica ends; nil = nobody.
	Ended func(serviceforge.Kind, serviceforge.OperationState)
	// LostKey is the id of a key that nobody has any more: if it is the one in
	// use, the newest of Keys takes its place. What it sealed stays closed.
	LostKey string
}

// Store is the broker's memory. Its methods may be called from any goroutine.
// Every error is a *serviceforge.Error; Unavailable means that etcd did not
// answer and that the write may or may not have happened.
type Store struct {
	client    *clientv3.Client
	keys      *KeyRing
	log       *slog.Logger
	exclusive bool
	leaseLife time.Duration
	brokerID  string
	view      *view
	ended     func(serviceforge.Kind, serviceforge.OperationState)

	limits  atomic.Pointer[[]string] // configured, as Limit's String, sorted
	relimit chan struct{}            // holds one when limits is news to KeepQuotas
	quotas  *quotas
	counted chan *change // for combine
	stop    context.CancelFunc
	running sync.WaitGroup
}

// Open checks the key ring against the store, names the broker if it has no
// name yet, and fills the view. Close ends what it started, not the client.
func Open(ctx context.Context, o Options) (*Store, error) {
	s := &Store{client: o.Client, keys: o.Keys, log: o.Log, exclusive: o.Exclusive, leaseLife: o.Lease}
	s.relimit = make(chan struct{}, 1)
	s.SetLimits(o.Limits)
	s.quotas, s.counted = newQuotas(len(o.Limits) > 0), make(chan *change, maxTogether)
	if s.ended = o.Ended; s.ended == nil {
		s.ended = func(serviceforge.Kind, serviceforge.OperationState) {}
	}
	if s.leaseLife == 0 {
		s.leaseLife = DefaultLease
	}
	if err := s.identify(ctx, o.LostKey); err != nil {
		return nil, err
	}
	s.view = newView(s)
	if err := s.view.start(ctx); err != nil {
		return nil, err
	}
	ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	s.running.Go(func() { s.combine(ctx) })
	return s, nil
}

// Close stops what Open started and waits for it.
func (s *Store) Close() {
	s.stop()
	s.running.Wait()
	s.view.stop()
}

// Alone says that no other replica writes: memory never lags.
func (s *Store) Alone() bool { return s.exclusive }

// BrokerID is the name of this broker (all replicas share it); it is in the
// stamp of every deployment.
func (s *Store) BrokerID() string { return s.brokerID }

// brokerRecord holds the broker's name and a value only the right key ring opens.
type brokerRecord struct {
	ID    string `json:"id"`
	Probe sealed `json:"probe"`
}

// identify reads or makes the broker record. A ring that cannot open the probe
// would write records nobody can read: it refuses to start.
func (s *Store) identify(ctx context.Context, lost string) error {
	id := ulid.Make().String()
	fresh, err := json.Marshal(brokerRecord{ID: id, Probe: s.keys.seal(brokerKey, []byte(id))})
	if err != nil {
		return serviceforge.Wrap(err, serviceforge.Internal, "the broker's record cannot be written")
	}
	answer, err := s.commit(ctx, []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(brokerKey), "=", 0)},
		[]clientv3.Op{clientv3.OpPut(brokerKey, string(fresh))}, nil)
	if err != nil {
		return err
	}
	if answer.Succeeded {
		s.brokerID = id
		return nil
	}
	record, _, err := s.brokerRecord(ctx)
	if err != nil {
		return err
	}
	s.brokerID = record.ID
	_, err = s.keys.open(brokerKey, record.Probe)
	switch {
	case err == nil:
		s.keys.use(record.Probe.KeyID)
		return nil
	case errors.Is(err, errNoKey) && lost == record.Probe.KeyID:
		return s.turnTo(ctx, s.keys.newest())
	}
	return serviceforge.Wrap(err, serviceforge.Unprocessable,
		"the key ring does not fit the store: its secrets were sealed with key %q. Start with the key file this store was made with; "+
			"if that is lost, with --lost-key %s: what it sealed stays closed (serviceforge keys list)", record.Probe.KeyID, record.Probe.KeyID)
}

// commit runs one transaction within the request timeout. A member that is cut
// off from the others says so, and has not begun it: another one is asked.
func (s *Store) commit(ctx context.Context, compares []clientv3.Cmp, then, otherwise []clientv3.Op) (*clientv3.TxnResponse, error) {
	ctx, cancel := context.WithTimeout(clientv3.WithRequireLeader(ctx), requestTimeout)
	defer cancel()
	for {
		answer, err := s.client.Txn(ctx).If(compares...).Then(then...).Else(otherwise...).Commit()
		if err == nil {
			return answer, nil
		}
		if !errors.Is(err, rpctypes.ErrNoLeader) {
			return nil, unavailable(err)
		}
		select {
		case <-ctx.Done():
			return nil, unavailable(err)
		case <-time.After(noLeaderPause):
		}
	}
}

// get reads one key, linearizably.
func (s *Store) get(ctx context.Context, key string, options ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	ctx, cancel := context.WithTimeout(clientv3.WithRequireLeader(ctx), requestTimeout)
	defer cancel()
	answer, err := s.client.Get(ctx, key, options...)
	if err != nil {
		return nil, unavailable(err)
	}
	return answer, nil
}

// pages reads everything under a prefix at one revision, which it returns. take
// gets one page after the other; while it works, the next one is being read.
func (s *Store) pages(ctx context.Context, prefix string, take func([]*mvccpb.KeyValue)) (at int64, err error) {
	from, end := prefix, clientv3.GetPrefixRangeEnd(prefix)
	var taking sync.WaitGroup
	defer taking.Wait()
	for {
		answer, err := s.get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(listPage), clientv3.WithRev(at))
		taking.Wait()
		if err != nil {
			return 0, err
		}
		if at == 0 {
			at = answer.Header.Revision
		}
		taking.Go(func() { take(answer.Kvs) })
		if !answer.More {
			return at, nil
		}
		from = string(answer.Kvs[len(answer.Kvs)-1].Key) + "\x00"
	}
}

// Ping asks for one key, linearizably. Errors: Unavailable.
func (s *Store) Ping(ctx context.Context) error {
	_, err := s.get(ctx, brokerKey, clientv3.WithKeysOnly())
	return err
}

// ownStream is for watches whose silence is to mean that they are broken: etcd
// notes progress for a whole stream, and only while none of its watches begins in
// the future. So they have a stream of their own (streams are told apart by their
// metadata), and begin at the revision that was listed, not at the next: what
// happened at it comes again.
func ownStream(ctx context.Context, name string) context.Context {
	return metadata.AppendToOutgoingContext(clientv3.WithRequireLeader(ctx), "serviceforge-watch", name)
}

// away marks errors of etcd itself.
type away struct{ error }

func (a away) Unwrap() error { return a.error }

// IsAway says whether an error is that etcd did not answer: a write may or may
// not have happened, and what is in memory of it is not what is stored.
func IsAway(err error) bool {
	_, ok := errors.AsType[away](err)
	return ok
}

func unavailable(err error) error {
	if errors.Is(err, context.Canceled) {
		return serviceforge.Wrap(away{err}, serviceforge.Unavailable, "the request was given up")
	}
	e := serviceforge.Wrap(away{err}, serviceforge.Unavailable, "the broker's store does not answer; try again")
	e.RetryAfter = retryAfter
	return e
}

// key makes an etcd key of ids, injectively: a slash in an id is escaped.
func key(prefix string, ids ...string) string {
	for i, id := range ids {
		if i > 0 {
			prefix += "/"
		}
		prefix += url.PathEscape(id)
	}
	return prefix
}
