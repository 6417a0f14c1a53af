package deploy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/serviceforge/serviceforge/localbosh/durable"
	"github.com/serviceforge/serviceforge/localbosh/tasks"
	"github.com/serviceforge/serviceforge/localbosh/vm"
)

// maxAdopt is how many VMs are taken over at once.
const maxAdopt = 16

// Adopt takes over what a former director left: VMs that run go on untouched,
// those that died are revived, half-made ones are removed, and so are folders
// that belong to nothing. Call it before q runs tasks.
func (e *Engine) Adopt(ctx context.Context, q *tasks.Queue) error {
	if err := e.Host.Clean(); err != nil {
		return err
	}
	type owned struct {
		deployment string
		Instance
	}
	var rows []owned
	known := map[string]bool{}
	for _, d := range e.State.List() {
		for _, i := range d.Instances {
			if i.VM != nil {
				rows = append(rows, owned{d.Name, i})
				known[i.VM.CID] = i.VM.Made
			}
		}
	}
	err := each(ctx, maxAdopt, rows, func(ctx context.Context, o owned) error {
		if err := e.adopt(ctx, o.deployment, o.Instance); err != nil {
			e.log.Error("VM not taken over", "vm", o.VM.CID, "deployment", o.deployment, "instance", o.Name(), "error", err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	cids, err := e.Host.List()
	if err != nil {
		return err
	}
	cids = slices.DeleteFunc(cids, func(cid string) bool { _, ok := known[cid]; return ok })
	err = each(ctx, maxAdopt, cids, func(ctx context.Context, cid string) error { return e.Host.Destroy(ctx, cid, deleteGrace) })
	return errors.Join(err, e.removeStrayDisks(), emptyDir(e.Applied, known), emptyDir(e.Spool, waiting(q)))
}

func (e *Engine) adopt(ctx context.Context, deployment string, i Instance) error {
	if !i.VM.Made {
		return e.removeVM(ctx, deployment, i, deleteGrace)
	}
	v, err := e.Host.Adopt(ctx, i.VM.CID)
	if errors.Is(err, vm.ErrGone) {
		v, err = e.bringBack(ctx, deployment, i)
	}
	if v != nil {
		e.guard(deployment, i.ID, v)
	}
	return err
}

// removeStrayDisks removes disk folders that no instance and no orphan has.
func (e *Engine) removeStrayDisks() error {
	keep := map[string]bool{}
	for _, o := range e.State.Orphans() {
		keep[o.CID] = true
	}
	for _, d := range e.State.List() {
		for _, i := range d.Instances {
			if i.Disk != nil {
				keep[i.Disk.CID] = true
			}
		}
	}
	return emptyDir(e.Disks, keep)
}

// waiting are the spool files that queued tasks still need.
func waiting(q *tasks.Queue) map[string]bool {
	keep := map[string]bool{}
	for _, t := range []tasks.Type{tasks.UpdateRelease, tasks.UpdateStemcell} {
		for _, a := range tasks.Waiting[UploadArgs](q, t) {
			keep[a.File] = true
		}
	}
	return keep
}

// emptyDir removes all entries of dir that keep does not name.
func emptyDir(dir string, keep map[string]bool) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("clean %s: %w", dir, err)
	}
	for _, entry := range entries {
		if !keep[entry.Name()] {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, entry.Name())))
		}
	}
	return err
}

// Close ends the watch over the VMs, which go on running.
func (e *Engine) Close() {
	e.unwatch()
	e.guarding.Wait()
}

// DestroyAll ends and removes every VM with its disk, and forgets every
// deployment. No task may run.
func (e *Engine) DestroyAll(ctx context.Context) error {
	cids, err := e.Host.List()
	if err != nil {
		return err
	}
	err = each(ctx, len(cids), cids, func(ctx context.Context, cid string) error {
		e.unguard(cid)
		return e.Host.Destroy(ctx, cid, deleteGrace)
	})
	if err != nil {
		return err
	}
	for _, d := range e.State.List() {
		err = errors.Join(err, e.State.Delete(d.Name))
	}
	err = errors.Join(err, e.State.SetOrphans(func([]OrphanedDisk) []OrphanedDisk { return nil }))
	return errors.Join(err, emptyDir(e.Disks, nil), emptyDir(e.Applied, nil))
}

// dropDisk takes the disk from an instance and keeps it as an orphan, or
// removes it.
func (e *Engine) dropDisk(deployment string, i Instance) error {
	if i.Disk == nil {
		return nil
	}
	if e.OrphanDisks {
		err := e.State.SetOrphans(func(all []OrphanedDisk) []OrphanedDisk {
			return append(all, OrphanedDisk{Disk: *i.Disk, AZ: i.AZ, Deployment: deployment, Instance: i.Name(), Orphaned: now()})
		})
		if err != nil {
			return err
		}
	}
	err := e.State.UpdateInstance(deployment, i.ID, durable.Process, func(i *Instance) { i.Disk, i.HasDisk = nil, false })
	if err != nil || e.OrphanDisks {
		return err
	}
	return os.RemoveAll(e.diskDir(i.Disk.CID))
}
