package deploy

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/serviceforge/serviceforge/localbosh/bosherr"
	"github.com/serviceforge/serviceforge/localbosh/durable"
	"github.com/serviceforge/serviceforge/localbosh/manifest"
	"github.com/serviceforge/serviceforge/localbosh/tasks"
	"github.com/serviceforge/serviceforge/localbosh/vm"
)

// Codes of errors.rb that only this package raises.
const (
	agentJobNotRunning = 400001
	errandUnknown      = 70009
)

// percents are the progress figures of an update, of a start and of an errand.
type percents struct{ packages, jobs, preStart, start, postStart int }

var (
	ofUpdate = percents{50, 60, 70, 90, 100}
	ofStart  = percents{10, 20, 30, 50, 60}
)

// updateInstance brings one instance to its planned state.
func (w *work) updateInstance(ctx context.Context, a *action, watch manifest.WatchTime, s *tasks.Step) error {
	err := w.e.State.UpdateInstance(w.p.name, a.planned.ID, durable.Process, func(i *Instance) { i.Dirty = true })
	if err != nil {
		return err
	}
	v, err := w.vm(ctx, a)
	if err != nil && a.kind != detach {
		return err
	}
	if a.kind != start {
		if err := w.stop(ctx, a, v, s); err != nil {
			return err
		}
	}
	switch {
	case a.kind == detach:
		if err := w.e.removeVM(ctx, w.p.name, a.row, stopGrace); err != nil {
			return err
		}
		return w.done(a)
	case a.kind == stop:
		return w.done(a)
	case a.replace:
		if v, err = w.replace(ctx, a); err != nil {
			return err
		}
	}
	if err := w.bring(ctx, a, v, watch, s); err != nil {
		return err
	}
	return w.done(a)
}

// stop ends the jobs of a VM in the order of the agent. On a VM made a moment
// ago there is nothing to end, but the events come all the same.
func (w *work) stop(ctx context.Context, a *action, v *vm.VM, s *tasks.Step) error {
	idle := a.create || v == nil
	jobs := a.row.jobs()
	s.Progress(5, "executing pre-stop")
	if !idle {
		if err := runScripts(ctx, w.r, v, "pre-stop", jobs); err != nil {
			return err
		}
	}
	s.Progress(10, "executing drain")
	if !idle && !w.skips(a.group.Name) {
		if err := drain(ctx, w.r, v, jobs); err != nil {
			return err
		}
	}
	s.Progress(30, "stopping jobs")
	if !idle {
		if err := v.Stop(ctx); err != nil && !errors.Is(err, vm.ErrGone) {
			return err
		}
	}
	s.Progress(40, "executing post-stop")
	if idle {
		return nil
	}
	return runScripts(ctx, w.r, v, "post-stop", jobs)
}

// replace makes another VM for the instance; its disk and address stay.
func (w *work) replace(ctx context.Context, a *action) (*vm.VM, error) {
	if err := w.e.removeVM(ctx, w.p.name, a.row, stopGrace); err != nil {
		return nil, err
	}
	if a.group.Disk == nil && a.row.Disk != nil {
		if err := w.e.dropDisk(w.p.name, a.row); err != nil {
			return nil, err
		}
	}
	if err := w.intend([]*action{a}); err != nil {
		return nil, err
	}
	if err := w.createVM(ctx, a); err != nil {
		return nil, err
	}
	return w.vm(ctx, a)
}

// bring applies the planned state to a VM in which nothing runs, and starts it
// if it is to be started.
func (w *work) bring(ctx context.Context, a *action, v *vm.VM, watch manifest.WatchTime, s *tasks.Step) error {
	at := ofUpdate
	if a.kind == start || a.row.State == Detached {
		at = ofStart
	}
	files := w.p.jobs[a.planned.ID]
	s.Progress(at.packages, "installing packages")
	s.Progress(at.jobs, "configuring jobs")
	err := w.e.apply(ctx, v, vm.State{Jobs: files.jobs, Packages: w.dirs[a.group.Name], Hosts: w.p.hosts})
	if err != nil || a.want != Started {
		return err
	}
	s.Progress(at.preStart, "executing pre-start")
	if err := runScripts(ctx, w.r, v, "pre-start", files.jobs); err != nil {
		return err
	}
	s.Progress(at.start, "starting jobs")
	if err := v.Start(ctx); err != nil {
		return err
	}
	if err := waitRunning(ctx, w.r, v, watch, a.planned.Label()); err != nil {
		return err
	}
	s.Progress(at.postStart, "executing post-start")
	return runScripts(ctx, w.r, v, "post-start", files.jobs)
}

// waitRunning waits until all processes run: not before watch.Min, and not
// longer than watch.Max.
func waitRunning(ctx context.Context, r *tasks.Run, v *vm.VM, watch manifest.WatchTime, label string) error {
	limit, cancel := context.WithTimeout(ctx, max(watch.Max, watch.Min+time.Millisecond))
	defer cancel()
	status, err := v.WaitRunning(limit, watch.Min)
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if !errors.Is(err, vm.ErrNotRunning) {
		return err
	}
	var failed []string
	for _, p := range status.Processes {
		if p.State != vm.Running {
			r.Log().Warn("process is not running", "instance", label, "job", p.Job, "process", p.Name, "state", p.State, "reason", p.Reason)
			if !slices.Contains(failed, p.Name) {
				failed = append(failed, p.Name)
			}
		}
	}
	if len(failed) == 0 {
		return bosherr.New(agentJobNotRunning, "'%s' is not running after update.", label)
	}
	return bosherr.New(agentJobNotRunning, "'%s' is not running after update. Review logs for failed jobs: %s", label, strings.Join(failed, ", "))
}

// done stores that an instance is what the plan says.
func (w *work) done(a *action) error {
	return w.e.State.UpdateInstance(w.p.name, a.planned.ID, durable.Process, func(i *Instance) {
		i.Dirty, i.State = false, a.want
		if a.kind == stop || a.kind == detach {
			return
		}
		i.Digest, i.Rendered = a.planned.Digest, w.p.jobs[a.planned.ID].digest
		i.Jobs = nil
		for _, j := range a.planned.Jobs {
			i.Jobs = append(i.Jobs, j.Name)
		}
		if i.Disk != nil && a.group.Disk != nil {
			i.Disk.Size = a.group.Disk.Size
		}
		if t := a.group.VMType; t != nil {
			i.VMType, i.CloudProperties = t.Name, t.CloudProperties
		}
	})
}
