package orchestrator_test

import (
	"context"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/serviceforge/serviceforge"
)

// reseal writes each record of a binding again, as it is, many times from its
// making on: what a rotation of keys does to it, at every moment.
func (h *house) reseal() {
	ctx, cancel := context.WithCancel(h.t.Context())
	ended := make(chan struct{})
	h.t.Cleanup(func() { cancel(); <-ended })
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			answer, err := h.client.Get(ctx, "/serviceforge/v1/bindings/", clientv3.WithPrefix())
			if err != nil {
				return
			}
			for _, kv := range answer.Kvs {
				if kv.Version < 100 {
					_, _ = h.client.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(string(kv.Key)), "=", kv.ModRevision)).
						Then(clientv3.OpPut(string(kv.Key), string(kv.Value))).Commit()
				}
			}
		}
	}()
}

// TestARotationOfKeysDisturbsNoBinding makes and ends bindings of both kinds
// whose records are sealed anew meanwhile.
func TestARotationOfKeysDisturbsNoBinding(t *testing.T) {
	t.Parallel()
	h, server := guardedHouse(t, "")
	h.run()
	h.reseal()
	now := bindOrder("now")
	now.AcceptsIncomplete = false
	made, err := h.Bind(t.Context(), now)
	must(t, err)
	_, err = h.Bind(t.Context(), bindOrder("later"))
	must(t, err)
	later := h.bound("later")
	if !may(t, server, &made.Binding) || !may(t, server, &later) {
		t.Error("a user is not let in")
	}
	end := unbindOrder("now")
	end.AcceptsIncomplete = false
	if gone, err := h.Unbind(t.Context(), end); err != nil || !gone.Done {
		t.Errorf("unbind: %+v, %v", gone, err)
	}
	_, err = h.Unbind(t.Context(), unbindOrder("later"))
	must(t, err)
	h.untilBinding("later", serviceforge.Succeeded)
	if may(t, server, &made.Binding) || may(t, server, &later) {
		t.Error("a user is still there")
	}
}
