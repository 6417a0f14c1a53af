package deploy

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/serviceforge/serviceforge/localbosh/durable"
	"github.com/serviceforge/serviceforge/localbosh/manifest"
	"github.com/serviceforge/serviceforge/localbosh/tasks"
	"github.com/serviceforge/serviceforge/localbosh/vm"
)

// work is a deploy while it changes VMs.
type work struct {
	e         *Engine
	r         *tasks.Run
	p         *prepared
	dirs      packages
	skipDrain []string
	actions   []*action
}

// maxCreate is how many VMs are made at once (the director's max_vm_create_threads).
const maxCreate = 32

// createMissing makes the VMs that the instances lack.
func (w *work) createMissing(ctx context.Context) error {
	var missing []*action
	for _, a := range w.actions {
		if a.create {
			missing = append(missing, a)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if err := w.intend(missing); err != nil {
		return err
	}
	stage := w.r.Stage("Creating missing vms", len(missing))
	return each(ctx, maxCreate, missing, func(ctx context.Context, a *action) error {
		return stage.Do(a.planned.Label(), func(*tasks.Step) error { return w.createVM(ctx, a) })
	})
}

// intend stores the VMs and disks that are about to be made, all in one write.
func (w *work) intend(actions []*action) error {
	return w.e.State.Update(w.p.name, durable.Power, func(d *Deployment) {
		for _, a := range actions {
			if row := d.Instance(a.planned.ID); row != nil {
				w.intendVM(row, a)
			}
		}
	})
}

func (w *work) intendVM(row *Instance, a *action) {
	cid := newUUID()
	if row.VM != nil {
		cid = row.VM.CID // died: it is revived in its old folder
	}
	row.VM = &VM{
		CID: cid, AgentID: newUUID(), Created: time.Now().UTC().Truncate(time.Second),
		Stemcell: NameVersion{a.group.Stemcell.Name, a.group.Stemcell.Version},
	}
	row.VMType, row.CloudProperties = "", nil
	if t := a.group.VMType; t != nil {
		row.VMType, row.CloudProperties = t.Name, t.CloudProperties
	}
	row.Dirty = true
	switch {
	case a.group.Disk == nil:
	case row.Disk == nil:
		row.Disk = &Disk{CID: newUUID(), Size: a.group.Disk.Size}
	default:
		row.Disk.Size = a.group.Disk.Size
	}
	row.HasDisk = row.Disk != nil
}

// createVM makes the VM whose row is stored already.
func (w *work) createVM(ctx context.Context, a *action) error {
	d, err := w.e.State.Get(w.p.name)
	if err != nil {
		return err
	}
	row := d.Instance(a.planned.ID)
	if row == nil || row.VM == nil {
		return fmt.Errorf("%s has no VM to make", a.planned.Label())
	}
	if err := w.e.makeVM(ctx, w.p.name, *row); err != nil {
		return err
	}
	return w.e.State.UpdateInstance(w.p.name, row.ID, durable.Process, func(i *Instance) { i.VM.Made = true })
}

// updateGroups updates group after group, and those that are not serial beside
// their neighbours that are not serial either.
func (w *work) updateGroups(ctx context.Context, groups []*manifest.PlannedGroup) error {
	for len(groups) > 0 {
		n := 1
		for !groups[0].Update.Serial && n < len(groups) && !groups[n].Update.Serial {
			n++
		}
		if err := each(ctx, n, groups[:n], w.updateGroup); err != nil {
			return err
		}
		groups = groups[n:]
	}
	return nil
}

// updateGroup updates the canaries of a group, then the rest.
func (w *work) updateGroup(ctx context.Context, g *manifest.PlannedGroup) error {
	var todo []*action
	for _, a := range w.actions {
		if a.group == g && a.kind != nothing {
			todo = append(todo, a)
		}
	}
	if len(todo) == 0 {
		return nil
	}
	stage := w.r.Stage("Updating instance", len(todo), g.Name)
	inFlight := g.Update.MaxInFlight.Of(len(todo), 1)
	canaries := min(g.Update.Canaries.Of(len(todo), 0), len(todo))
	one := func(suffix string, watch manifest.WatchTime) func(context.Context, *action) error {
		return func(ctx context.Context, a *action) error {
			return stage.Do(a.planned.Label()+suffix, func(s *tasks.Step) error {
				return w.updateInstance(ctx, a, watch, s)
			})
		}
	}
	if err := each(ctx, inFlight, todo[:canaries], one(" (canary)", g.Update.CanaryWatch)); err != nil {
		return err
	}
	return each(ctx, inFlight, todo[canaries:], one("", g.Update.UpdateWatch))
}

// skips says whether drain scripts of a group are left out.
func (w *work) skips(group string) bool {
	return slices.Contains(w.skipDrain, "*") || slices.Contains(w.skipDrain, group)
}

// postDeploy runs the post-deploy scripts of everything that is started.
func (w *work) postDeploy(ctx context.Context, groups []*manifest.PlannedGroup) error {
	changed := slices.ContainsFunc(w.actions, func(a *action) bool { return a.kind == full || a.kind == start })
	if !changed {
		return nil
	}
	var up []*action
	for _, a := range w.actions {
		if a.want == Started && !a.row.Ignore {
			up = append(up, a)
		}
	}
	return each(ctx, max(len(up), 1), up, func(ctx context.Context, a *action) error {
		v, err := w.vm(ctx, a)
		if err != nil {
			return err
		}
		return runScripts(ctx, w.r, v, "post-deploy", w.p.jobs[a.planned.ID].jobs)
	})
}

// vm is the VM an action's instance has now.
func (w *work) vm(ctx context.Context, a *action) (*vm.VM, error) {
	d, err := w.e.State.Get(w.p.name)
	if err != nil {
		return nil, err
	}
	row := d.Instance(a.planned.ID)
	if row == nil || row.VM == nil {
		return nil, fmt.Errorf("%s has no VM", a.planned.Label())
	}
	return w.e.handle(ctx, row.VM.CID)
}
