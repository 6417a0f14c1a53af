package orchestrator_test

import (
	"context"
	"fmt"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator"
	"github.com/serviceforge/serviceforge/orchestrator/bindings"
)

// mortal is an engine's options whose process may die at each transaction, as
// at each call to the director: both are moments of the director's fault.
func (h *house) mortal() orchestrator.Options {
	o := h.options
	client := clientv3.NewCtxClient(context.Background())
	client.KV, client.Lease, client.Watcher = mortalKV{h.client.KV, h.director}, h.client.Lease, h.client.Watcher
	o.Store = h.another(client)
	return o
}

// mortalKV is etcd as a process sees it that may die.
type mortalKV struct {
	clientv3.KV
	director *scripted
}

func (m mortalKV) Txn(ctx context.Context) clientv3.Txn {
	return &mortalTxn{m.KV.Txn(ctx), m.director}
}

type mortalTxn struct {
	clientv3.Txn
	director *scripted
}

func (m *mortalTxn) If(compares ...clientv3.Cmp) clientv3.Txn {
	m.Txn = m.Txn.If(compares...)
	return m
}

func (m *mortalTxn) Then(operations ...clientv3.Op) clientv3.Txn {
	m.Txn = m.Txn.Then(operations...)
	return m
}

func (m *mortalTxn) Else(operations ...clientv3.Op) clientv3.Txn {
	m.Txn = m.Txn.Else(operations...)
	return m
}

func (m *mortalTxn) Commit() (*clientv3.TxnResponse, error) {
	if err := m.director.fault("before", "Txn"); err != nil {
		return nil, err
	}
	answer, err := m.Txn.Commit()
	if fault := m.director.fault("after", "Txn"); fault != nil {
		return nil, fault
	}
	return answer, err
}

// A replica dies over a request, before or after what it stores. The platform
// asks another one again, and is told what it would have been told.
func TestEveryTransactionOfARequestMayBeTheLast(t *testing.T) {
	t.Parallel()
	bind := bindings.BindRequest{Caller: cc, InstanceID: "a", BindingID: "b", ServiceID: "service", PlanID: "plan"}
	created := func(h *house) { h.until("a", h.create("a").Operation, serviceforge.Succeeded) }
	requests := []struct {
		name    string
		prepare func(h *house)
		ask     func(e *orchestrator.Engine) error
		again   serviceforge.Code // what the repetition may be told, where the first did all
		right   func(h *house) bool
	}{
		{
			name: "provision", prepare: func(*house) {},
			ask: func(e *orchestrator.Engine) error {
				_, err := e.Provision(t.Context(), order("a"))
				return err
			},
			right: func(h *house) bool { return len(h.instance("a").Operations) == 1 },
		},
		{
			name: "deprovision", prepare: created,
			ask: func(e *orchestrator.Engine) error {
				_, err := e.Deprovision(t.Context(), orchestrator.DeprovisionRequest{Caller: cc, InstanceID: "a", AcceptsIncomplete: true})
				return err
			},
			right: func(h *house) bool { return len(h.instance("a").Operations) == 2 },
		},
		{
			name: "bind", prepare: created,
			ask: func(e *orchestrator.Engine) error {
				_, err := e.Bind(t.Context(), bind)
				return err
			},
			right: func(h *house) bool {
				b, err := h.Binding(t.Context(), cc, "a", "b")
				return err == nil && b.State == serviceforge.BindingReady
			},
		},
		{
			name: "unbind",
			prepare: func(h *house) {
				created(h)
				_, err := h.Bind(t.Context(), bind)
				must(t, err)
			},
			ask: func(e *orchestrator.Engine) error {
				_, err := e.Unbind(t.Context(), bindings.UnbindRequest{Caller: cc, InstanceID: "a", BindingID: "b"})
				return err
			},
			again: serviceforge.Gone,
			right: func(h *house) bool {
				all, err := h.Bindings(t.Context(), cc, "a")
				return err == nil && len(all) == 0
			},
		},
	}
	for _, r := range requests {
		for cut, passed := 1, false; !passed; cut++ {
			t.Run(fmt.Sprintf("%s cut at %d", r.name, cut), func(t *testing.T) {
				h := newHouse(t)
				stop := h.run()
				r.prepare(h)
				stop()
				replica := orchestrator.New(h.mortal())
				h.director.dieAt(cut)
				err := r.ask(replica)
				h.director.live()
				if passed = err == nil; passed && cut < 3 {
					t.Error("the walk does not see the transactions")
				}
				if !passed {
					if err := r.ask(h.Engine); err != nil && serviceforge.CodeOf(err) != r.again {
						t.Errorf("the repetition is told: %v", err)
					}
				}
				if !r.right(h) {
					t.Errorf("instance = %+v", h.instance("a"))
				}
			})
		}
	}
}
