package deploy

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"github.com/serviceforge/serviceforge/localbosh/bosherr"
	"github.com/serviceforge/serviceforge/localbosh/durable"
	"github.com/serviceforge/serviceforge/localbosh/manifest"
	"github.com/serviceforge/serviceforge/localbosh/tasks"
)

// ErrandArgs are those of a run_errand task.
type ErrandArgs struct {
	Deployment, Errand string
	// KeepAlive leaves the VMs of an errand group there.
	KeepAlive bool
	// Instances restricts a run; none means all that have the errand.
	Instances []InstanceFilter
}

// InstanceFilter names an instance by group and id or index; an empty ID is the
// whole group.
type InstanceFilter struct {
	Group string `json:"group"`
	ID    string `json:"id"`
}

// ErrandName is one entry of GET …/errands.
type ErrandName struct {
	Name string `json:"name"`
}

// Errands lists what can be run: errand groups, and jobs with a bin/run.
func (e *Engine) Errands(deployment string) ([]ErrandName, error) {
	d, err := e.State.Get(deployment)
	if err != nil || d.Manifest == nil {
		return []ErrandName{}, err
	}
	p, err := e.parse(deployment, *d.Manifest, d.CloudConfigs)
	if err != nil {
		return nil, err
	}
	out := []ErrandName{}
	add := func(name string) {
		if n := (ErrandName{name}); !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	for _, g := range p.manifest.InstanceGroups {
		if g.Errand() {
			add(g.Name)
		}
		for _, j := range g.Jobs {
			if runnable(j.Spec) {
				add(j.Name)
			}
		}
	}
	return out, nil
}

func runnable(j *manifest.JobSpec) bool {
	return slices.ContainsFunc(j.Templates, func(t manifest.TemplateSpec) bool { return t.Dest == "bin/run" })
}

// target is an instance on which an errand runs, and the job that is it.
type target struct {
	*action
	job string
}

// errand is the task "run errand".
func (e *Engine) errand(ctx context.Context, r *tasks.Run, args ErrandArgs) (string, error) {
	if err := lockDeployment(ctx, r, args.Deployment); err != nil {
		return "", err
	}
	var (
		w       *work
		targets []target
	)
	stage := r.Stage("Preparing deployment", 1)
	err := stage.Do("Preparing deployment", func(*tasks.Step) (err error) {
		w, targets, err = e.prepareErrand(ctx, r, args)
		return err
	})
	if err != nil {
		return "", err
	}
	if !args.KeepAlive {
		defer e.removeErrandVMs(context.WithoutCancel(ctx), w)
	}
	if err := w.createMissing(ctx); err != nil {
		return "", err
	}
	if err := w.updateGroups(ctx, w.p.plan.Groups); err != nil {
		return "", err
	}
	return e.runErrand(ctx, r, w, args.Errand, targets)
}

func (e *Engine) prepareErrand(ctx context.Context, r *tasks.Run, args ErrandArgs) (*work, []target, error) {
	text, err := e.manifestText(UpdateArgs{Deployment: args.Deployment})
	if err != nil {
		return nil, nil, err
	}
	d, err := e.State.Get(args.Deployment)
	if err != nil {
		return nil, nil, err
	}
	p, err := e.parse(args.Deployment, text, d.CloudConfigs)
	if err != nil {
		return nil, nil, err
	}
	var errands []string
	for _, g := range p.manifest.InstanceGroups {
		if g.Errand() && (g.Name == args.Errand || slices.ContainsFunc(g.Jobs, func(j *manifest.Job) bool { return j.Name == args.Errand })) {
			errands = append(errands, g.Name)
		}
	}
	if err := e.resolve(p, errands...); err != nil {
		return nil, nil, err
	}
	if err := e.bind(ctx, r, p); err != nil {
		return nil, nil, err
	}
	w := &work{e: e, r: r, p: p}
	targets, groups, err := e.targets(ctx, r, w, args)
	if err != nil {
		return nil, nil, err
	}
	w.dirs, err = e.compile(ctx, r, p, groups)
	return w, targets, err
}

// targets finds what an errand runs on: the instances that have a job of that
// name, else the first job of the errand group of that name.
func (e *Engine) targets(ctx context.Context, r *tasks.Run, w *work, args ErrandArgs) ([]target, []*manifest.PlannedGroup, error) {
	d, err := e.State.Get(args.Deployment)
	if err != nil {
		return nil, nil, err
	}
	var out []target
	var groups []*manifest.PlannedGroup
	byJob := slices.ContainsFunc(w.p.plan.Groups, func(g *manifest.PlannedGroup) bool { return hasJob(g, args.Errand) })
	named := slices.ContainsFunc(w.p.plan.Groups, func(g *manifest.PlannedGroup) bool { return g.Errand() && g.Name == args.Errand })
	if !byJob && !named {
		return nil, nil, bosherr.New(errandUnknown, "Errand '%s' doesn't exist", args.Errand)
	}
	if byJob && named {
		r.Warn(fmt.Sprintf("Ambiguous request: the requested errand name '%s' matches both a job name and an errand instance group name. Executing errand on all relevant instances with job '%s'.", args.Errand, args.Errand))
	}
	for _, g := range w.p.plan.Groups {
		job := args.Errand
		switch {
		case byJob && !hasJob(g, args.Errand), !byJob && g.Name != args.Errand:
			continue
		case !byJob && len(g.Jobs) > 0:
			job = g.Jobs[0].Name
		}
		groups = append(groups, g)
		for _, i := range g.Instances {
			row := d.Instance(i.ID)
			if row == nil || !args.selects(*row) || (!g.Errand() && row.VM == nil) {
				continue
			}
			a := &action{group: g, planned: i, row: *row, want: Started}
			if g.Errand() {
				e.choose(ctx, a, false, w.p.jobs[i.ID].digest)
				a.kind = full
				w.actions = append(w.actions, a)
			}
			out = append(out, target{a, job})
		}
	}
	return out, groups, nil
}

func hasJob(g *manifest.PlannedGroup, name string) bool {
	return slices.ContainsFunc(g.Jobs, func(j *manifest.Job) bool { return j.Name == name && runnable(j.Spec) })
}

func (a ErrandArgs) selects(i Instance) bool {
	return len(a.Instances) == 0 || slices.ContainsFunc(a.Instances, func(f InstanceFilter) bool {
		return f.Group == i.Group && (f.ID == "" || f.ID == i.ID || f.ID == strconv.Itoa(i.Index))
	})
}

// errandResult is one line of the task's result output.
type errandResult struct {
	Instance   InstanceFilter `json:"instance"`
	ErrandName string         `json:"errand_name"`
	ExitCode   int            `json:"exit_code"`
	Stdout     string         `json:"stdout"`
	Stderr     string         `json:"stderr"`
	Logs       logsBlob       `json:"logs"`
}

type logsBlob struct {
	BlobstoreID string `json:"blobstore_id"`
	SHA1        string `json:"sha1"`
}

func (e *Engine) runErrand(ctx context.Context, r *tasks.Run, w *work, name string, targets []target) (string, error) {
	var mu sync.Mutex
	var good, bad int
	stage := r.Stage("Running errand", len(targets))
	err := each(ctx, max(len(targets), 1), targets, func(ctx context.Context, t target) error {
		v, err := w.vm(ctx, t.action)
		if err != nil {
			return err
		}
		line := errandResult{Instance: InstanceFilter{t.planned.Group, t.planned.ID}, ErrandName: name}
		err = stage.Do(t.planned.Label(), func(*tasks.Step) error {
			res, err := v.RunScript(ctx, t.job, "run")
			if err == nil && res.Missing {
				err = bosherr.New(bosherr.RunErrandError, "Job '%s' of '%s' has no bin/run", t.job, t.planned.Label())
			}
			line.ExitCode, line.Stdout, line.Stderr = res.ExitCode, res.Stdout, res.Stderr
			return err
		})
		if err != nil {
			return err
		}
		if line.Logs, err = e.packLogs(ctx, r, v, t.planned.Label()); err != nil {
			return err
		}
		data, err := json.Marshal(line)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		if line.ExitCode == 0 {
			good++
		} else {
			bad++
		}
		return r.WriteResult(append(data, '\n'))
	})
	return fmt.Sprintf("%d succeeded, %d errored, 0 canceled", good, bad), err
}

// removeErrandVMs removes the VMs of errand groups after a run and frees their
// addresses.
func (e *Engine) removeErrandVMs(ctx context.Context, w *work) {
	d, err := e.State.Get(w.p.name)
	if err != nil {
		return
	}
	for _, a := range w.actions {
		if i := d.Instance(a.row.ID); i != nil && i.VM != nil {
			if err := e.removeVM(ctx, d.Name, *i, deleteGrace); err != nil {
				e.log.Error("VM of errand not removed", "vm", i.VM.CID, "deployment", d.Name, "error", err)
				continue
			}
			if err := e.State.UpdateInstance(d.Name, i.ID, durable.Process, func(i *Instance) { i.Networks = nil }); err != nil {
				e.log.Error("address of errand not freed", "deployment", d.Name, "error", err)
			}
		}
	}
}
