package deploy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/serviceforge/serviceforge/localbosh/durable"
	"github.com/serviceforge/serviceforge/localbosh/vm"
)

// stopGrace bounds what is left to end after a full stop; deleteGrace is all
// that the processes of a deleted instance get (an etcd without quorum would
// take 7 s).
const (
	stopGrace   = 10 * time.Second
	deleteGrace = time.Second
)

// guard keeps the handle of a VM and revives it when its supervisor dies.
type guard struct {
	deployment, id string
	vm             *vm.VM // guarded by Engine.mu
	cancel         context.CancelFunc
	done           chan struct{}
}

// spec is what a stored instance's VM is made from.
func (e *Engine) spec(deployment string, i Instance) vm.Spec {
	s := vm.Spec{
		CID: i.VM.CID, AgentID: i.VM.AgentID, Deployment: deployment, Group: i.Group,
		InstanceID: i.ID, Index: i.Index, AZ: i.AZ,
	}
	if ips := i.IPs(); len(ips) > 0 {
		s.IP = ips[0]
	}
	if i.Disk != nil {
		s.Store = e.diskDir(i.Disk.CID)
	}
	return s
}

// makeVM starts the VM of a stored instance, or revives it.
func (e *Engine) makeVM(ctx context.Context, deployment string, i Instance) error {
	e.unguard(i.VM.CID)
	if i.Disk != nil {
		if err := os.MkdirAll(e.diskDir(i.Disk.CID), 0o755); err != nil {
			return fmt.Errorf("persistent disk: %w", err)
		}
	}
	v, err := e.Host.Create(ctx, e.spec(deployment, i))
	if err != nil {
		return err
	}
	e.guard(deployment, i.ID, v)
	return nil
}

// removeVM ends the VM of an instance and forgets it; the disk stays.
func (e *Engine) removeVM(ctx context.Context, deployment string, i Instance, grace time.Duration) error {
	if i.VM == nil {
		return nil
	}
	e.unguard(i.VM.CID)
	if err := e.Host.Destroy(ctx, i.VM.CID, grace); err != nil {
		return err
	}
	if err := os.Remove(e.appliedFile(i.VM.CID)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return e.State.UpdateInstance(deployment, i.ID, durable.Process, func(i *Instance) { i.VM = nil })
}

func (e *Engine) appliedFile(cid string) string { return filepath.Join(e.Applied, cid) }

// apply gives a VM its files and keeps them for its revival.
func (e *Engine) apply(ctx context.Context, v *vm.VM, s vm.State) error {
	if err := durable.WriteJSON(e.appliedFile(v.Spec.CID), s, durable.Process); err != nil {
		return err
	}
	return v.Apply(ctx, s)
}

// handle returns the handle of a VM that is known to have been made.
func (e *Engine) handle(ctx context.Context, cid string) (*vm.VM, error) {
	e.mu.Lock()
	g := e.guards[cid]
	var v *vm.VM
	if g != nil {
		v = g.vm
	}
	e.mu.Unlock()
	if v != nil {
		return v, nil
	}
	return e.Host.Adopt(ctx, cid)
}

// guard begins to watch a VM.
func (e *Engine) guard(deployment, id string, v *vm.VM) {
	ctx, cancel := context.WithCancel(e.watching)
	g := &guard{deployment: deployment, id: id, vm: v, cancel: cancel, done: make(chan struct{})}
	e.mu.Lock()
	e.guards[v.Spec.CID] = g
	e.mu.Unlock()
	e.guarding.Go(func() {
		defer close(g.done)
		defer cancel()
		e.watch(ctx, g, v)
	})
}

// unguard ends the watch of a VM and waits for it, so that nobody else deals
// with the VM any more.
func (e *Engine) unguard(cid string) {
	e.mu.Lock()
	g := e.guards[cid]
	delete(e.guards, cid)
	e.mu.Unlock()
	if g != nil {
		g.cancel()
		<-g.done
	}
}

// watch revives the VM whenever its supervisor is gone, as BOSH's health monitor
// has it done.
func (e *Engine) watch(ctx context.Context, g *guard, v *vm.VM) {
	var revision uint64
	wait := time.Second
	for {
		status, err := v.Changed(ctx, revision)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			revision, wait = status.Revision, time.Second
			continue
		}
		if errors.Is(err, vm.ErrGone) {
			var next *vm.VM
			if next, err = e.revive(ctx, g); err == nil {
				if next == nil {
					return
				}
				v, revision = next, 0
				continue
			}
		}
		if ctx.Err() != nil {
			return
		}
		e.log.Warn("VM does not answer", "vm", v.Spec.CID, "deployment", g.deployment, "error", err)
		if pause(ctx, wait) != nil {
			return
		}
		wait = min(2*wait, 30*time.Second)
	}
}

// revive starts a new supervisor for a VM that lost its own; nil when the
// instance has no such VM any more.
func (e *Engine) revive(ctx context.Context, g *guard) (*vm.VM, error) {
	d, err := e.State.Get(g.deployment)
	if err != nil {
		return nil, nil
	}
	i := d.Instance(g.id)
	if i == nil || i.VM == nil {
		return nil, nil
	}
	v, err := e.bringBack(ctx, g.deployment, *i)
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	g.vm = v
	return v, nil
}

// bringBack revives a VM in its old folder, as a reboot would: its files are
// applied again, and what ran in it is started.
func (e *Engine) bringBack(ctx context.Context, deployment string, i Instance) (*vm.VM, error) {
	e.log.Info("reviving VM", "vm", i.VM.CID, "deployment", deployment, "instance", i.Name())
	v, err := e.Host.Create(ctx, e.spec(deployment, i))
	if err != nil {
		return nil, err
	}
	var s vm.State
	err = durable.ReadJSON(e.appliedFile(i.VM.CID), &s)
	if errors.Is(err, fs.ErrNotExist) {
		return v, nil // it died before it was given anything
	}
	if err == nil {
		err = v.Apply(ctx, s)
	}
	if err == nil && i.State == Started && !i.Dirty {
		err = v.Start(ctx)
	}
	return v, err
}
