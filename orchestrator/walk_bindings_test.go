package orchestrator_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator/bindings"
	"github.com/serviceforge/serviceforge/spec/etcd"
	"github.com/serviceforge/serviceforge/store"
	"github.com/serviceforge/serviceforge/users"
)

// dying is a store's way to etcd that ends at the n-th moment, before or after
// a call about bindings, as for a process that dies there. What the engine asks
// of a service lies between two such moments.
type dying struct {
	clientv3.KV
	mu     sync.Mutex
	at     int
	passed int
	killed chan struct{}
}

var errDead = errors.New("this process is dead")

// dieAt returns the store of a process that dies, and its moments.
func (h *house) dieAt(n int) (*store.Store, *dying) {
	d := &dying{KV: h.client.KV, at: n, killed: make(chan struct{})}
	client := clientv3.NewCtxClient(h.t.Context())
	client.KV, client.Lease, client.Watcher = d, h.client.Lease, h.client.Watcher
	return h.another(client), d
}

func about(key string) bool {
	return strings.Contains(key, "/v1/due/") || strings.Contains(key, "/v1/bindings/")
}

// moment passes one, unless it is the last.
func (d *dying) moment(counts bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if counts {
		if d.passed++; d.passed == d.at {
			close(d.killed)
		}
	}
	if d.passed >= d.at {
		return errDead
	}
	return nil
}

func (d *dying) moments() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.passed
}

func (d *dying) Get(ctx context.Context, key string, options ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	if err := d.moment(about(key)); err != nil {
		return nil, err
	}
	answer, err := d.KV.Get(ctx, key, options...)
	if dead := d.moment(about(key)); dead != nil {
		return nil, dead
	}
	return answer, err
}

func (d *dying) Txn(ctx context.Context) clientv3.Txn { return &dyingTxn{Txn: d.KV.Txn(ctx), d: d} }

type dyingTxn struct {
	clientv3.Txn
	d      *dying
	counts bool
}

func (t *dyingTxn) If(compares ...clientv3.Cmp) clientv3.Txn {
	t.Txn = t.Txn.If(compares...)
	return t
}

func (t *dyingTxn) Then(operations ...clientv3.Op) clientv3.Txn {
	for i := range operations {
		t.counts = t.counts || about(string(operations[i].KeyBytes()))
	}
	t.Txn = t.Txn.Then(operations...)
	return t
}

func (t *dyingTxn) Else(operations ...clientv3.Op) clientv3.Txn {
	t.Txn = t.Txn.Else(operations...)
	return t
}

func (t *dyingTxn) Commit() (*clientv3.TxnResponse, error) {
	if err := t.d.moment(t.counts); err != nil {
		return nil, err
	}
	answer, err := t.Txn.Commit()
	if dead := t.d.moment(t.counts); dead != nil {
		return nil, dead
	}
	return answer, err
}

// bindingVerb is what happens to binding "b" while the engine dies.
type bindingVerb struct {
	name    string
	prepare func(h *house) // without an engine
	begin   func(h *house) error
	points  int // at least: else the walk does not see the calls
	there   int // bindings in the end, and so the users of the service
}

func bindingVerbs() []bindingVerb {
	made := func(id string) func(h *house) {
		return func(h *house) {
			stop := h.run()
			_, err := h.Bind(h.t.Context(), bindOrder(id))
			must(h.t, err)
			h.bound(id)
			stop()
		}
	}
	unbind := func(h *house) error {
		_, err := h.Unbind(h.t.Context(), unbindOrder("b"))
		return err
	}
	return []bindingVerb{
		{name: "bind", prepare: func(*house) {}, points: 6, there: 1, begin: func(h *house) error {
			_, err := h.Bind(h.t.Context(), bindOrder("b"))
			return err
		}},
		{name: "rotate", prepare: made("old"), points: 6, there: 2, begin: func(h *house) error {
			_, err := h.Bind(h.t.Context(), bindings.BindRequest{Caller: cc, InstanceID: "a", BindingID: "b", Predecessor: "old", AcceptsIncomplete: true})
			return err
		}},
		{name: "unbind", prepare: made("b"), points: 6, begin: unbind},
		{name: "unbind that takes over", points: 6, begin: unbind, prepare: func(h *house) {
			_, err := h.Bind(h.t.Context(), bindOrder("b"))
			must(h.t, err)
		}},
	}
}

// The crash walk over everything the engine does for bindings: a run is
// recorded, then cut before and after each of its calls to the store. A new
// engine goes on; in the end the service has exactly the users of the bindings.
func TestEveryStepOfABindingMayBeTheLast(t *testing.T) {
	t.Parallel()
	for _, v := range bindingVerbs() {
		points := walkBinding(t, v, never)
		if points < v.points {
			t.Errorf("%s: only %d points: the walk does not see the calls", v.name, points)
		}
		for cut := 1; cut <= points; cut++ {
			t.Run(fmt.Sprintf("%s cut at %d of %d", v.name, cut, points), func(t *testing.T) {
				t.Parallel()
				walkBinding(t, v, cut)
			})
		}
	}
}

func walkBinding(t *testing.T, v bindingVerb, cut int) (points int) {
	h, server := guardedHouse(t, "rotatable: true")
	later := h.clock()
	v.prepare(h)
	must(t, v.begin(h))
	alive := h.options.Store
	s, d := h.dieAt(cut)
	h.options.Store = s
	stop := h.run()
	eventually(t, func() (bool, error) {
		select {
		case <-d.killed:
			return true, nil
		default:
		}
		p, err := h.LastBindingOperation(t.Context(), cc, "a", "b")
		if err == nil && p.State == serviceforge.InProgress {
			err = errors.New("neither cut nor done")
		}
		return true, err
	})
	stop()
	points = d.moments()
	h.options.Store = alive
	stop = h.run()
	h.untilBinding("b", serviceforge.Succeeded)
	stop()
	later(time.Minute) // the second look at users that were given up
	h.run()
	root, err := etcd.Login(t, server.Service, users.User{Name: "root", Password: serviceforge.NewSecret("admin-password")})
	must(t, err)
	eventually(t, func() (bool, error) {
		due, err := h.store.Due(t.Context(), "a")
		must(t, err)
		bindings, err := h.store.Bindings(t.Context(), "a")
		must(t, err)
		list, err := root.UserList(t.Context())
		must(t, err)
		if len(due) > 0 || len(bindings) != v.there || len(list.Users) != v.there+1 {
			return false, fmt.Errorf("due %v, %d bindings, users %q", due, len(bindings), list.Users)
		}
		return true, nil
	})
	return points
}
