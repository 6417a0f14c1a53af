package deploy

import (
	"context"
	"strconv"

	"github.com/serviceforge/serviceforge/localbosh/bosherr"
	"github.com/serviceforge/serviceforge/localbosh/durable"
	"github.com/serviceforge/serviceforge/localbosh/manifest"
	"github.com/serviceforge/serviceforge/localbosh/vm"
)

// kind is how an instance is changed.
type kind int

const (
	nothing kind = iota
	full         // stop, apply, start
	stop         // stop the jobs, the VM stays
	detach       // stop the jobs, remove the VM
	start        // apply and start; nothing runs yet
)

// action is what a deploy does with one instance.
type action struct {
	group   *manifest.PlannedGroup
	planned *manifest.PlannedInstance
	// row is the instance as it was when the deploy began.
	row  Instance
	want string // Started, Stopped or Detached
	kind kind
	// create says that there is no VM, replace that it must be another one.
	create, replace bool
}

func index(i Instance) string { return strconv.Itoa(i.Index) }

// decide compares what is with what should be, and stores the wanted states.
func (e *Engine) decide(ctx context.Context, p *prepared, groups []*manifest.PlannedGroup, args UpdateArgs) ([]*action, error) {
	d, err := e.State.Get(p.name)
	if err != nil {
		return nil, err
	}
	var actions []*action
	for _, g := range groups {
		for _, i := range g.Instances {
			row := d.Instance(i.ID)
			if row == nil {
				return nil, bosherr.New(bosherr.DirectorError, "instance %s was not stored", i.Label())
			}
			a := &action{group: g, planned: i, row: *row, want: row.State}
			restart := args.Recreate
			a.replace = args.Recreate
			for _, c := range args.States {
				if c.covers(*row) {
					restart, a.replace = a.apply(c.State, restart)
				}
			}
			e.choose(ctx, a, restart, p.jobs[i.ID].digest)
			actions = append(actions, a)
		}
	}
	return actions, e.State.Update(p.name, durable.Process, func(d *Deployment) {
		for _, a := range actions {
			if row := d.Instance(a.row.ID); row != nil {
				row.State = a.want
			}
		}
	})
}

func (a *action) apply(state string, restart bool) (bool, bool) {
	switch state {
	case Stopped, Detached:
		a.want = state
		return restart, a.replace
	case "recreate":
		if a.want == Detached {
			a.want = Started
		}
		return true, true
	}
	a.want = Started
	return restart || state == "restart", a.replace
}

// choose sets how a's instance is changed.
func (e *Engine) choose(ctx context.Context, a *action, restart bool, digest string) {
	row := a.row
	gone, state := e.jobState(ctx, row)
	a.create = a.want != Detached && (row.VM == nil || !row.VM.Made || gone)
	a.planned.Digest.Rendered = digest
	change := a.planned.Change()
	disk := (row.Disk != nil) != (a.group.Disk != nil)
	a.replace = !a.create && (a.replace || change == manifest.Recreate || disk && row.VM != nil)
	changed := change != manifest.Unchanged || row.Dirty || row.Rendered != digest || disk
	switch {
	case row.Ignore:
		a.create, a.replace = false, false
	case a.want == Detached:
		if row.VM != nil {
			a.kind = detach
		}
	case changed || a.replace || restart:
		a.kind = full
	case a.want == Stopped:
		if row.State != Stopped || a.create {
			a.kind = stop
		}
		if a.create {
			a.kind = full
		}
	case row.State != Started:
		a.kind = start
	case a.create || state != vm.Running:
		a.kind = full
	}
}

// jobState asks the instance's VM how its processes are; gone is true when there
// is a row but nothing runs any more.
func (e *Engine) jobState(ctx context.Context, i Instance) (gone bool, state string) {
	if i.VM == nil || !i.VM.Made {
		return false, ""
	}
	v, err := e.handle(ctx, i.VM.CID)
	if err != nil {
		return true, ""
	}
	s, err := v.Status(ctx)
	if err != nil {
		return true, ""
	}
	return false, s.JobState
}
