package deploy

import (
	"context"
	"slices"

	"github.com/serviceforge/serviceforge/localbosh/bosherr"
	"github.com/serviceforge/serviceforge/localbosh/durable"
	"github.com/serviceforge/serviceforge/localbosh/manifest"
	"github.com/serviceforge/serviceforge/localbosh/tasks"
)

// UpdateArgs are those of an update_deployment task: a deploy, or a change of
// job states with the manifest of the last good deploy.
type UpdateArgs struct {
	Deployment string
	// Manifest is the posted text; nil means the last good one.
	Manifest *string
	// CloudConfigs and RuntimeConfigs are ids; nil means the current ones.
	CloudConfigs, RuntimeConfigs []int
	// Recreate replaces every VM.
	Recreate bool
	DryRun   bool
	// SkipDrain names the groups whose drain scripts are left out; "*" is all.
	SkipDrain []string
	// Canaries and MaxInFlight replace those of the manifest when not empty.
	Canaries, MaxInFlight string
	// States are changes of job states.
	States []StateChange
}

// StateChange asks for another state of some instances: started, stopped,
// detached, restart or recreate. An empty Group is all groups, an empty
// Instance (index or id) all of a group.
type StateChange struct{ Group, Instance, State string }

func (c StateChange) covers(i Instance) bool {
	return (c.Group == "" || c.Group == i.Group) &&
		(c.Instance == "" || c.Instance == i.ID || c.Instance == index(i))
}

// update is the task "create deployment".
func (e *Engine) update(ctx context.Context, r *tasks.Run, args UpdateArgs) (string, error) {
	if err := lockDeployment(ctx, r, args.Deployment); err != nil {
		return "", err
	}
	// An earlier delete that this task waited for may have taken the row away.
	if err := e.State.Ensure(args.Deployment); err != nil {
		return "", err
	}
	text, err := e.manifestText(args)
	if err != nil {
		return "", err
	}
	p, err := e.parse(args.Deployment, text, args.CloudConfigs)
	if err != nil {
		return "", err
	}
	if err := p.override(args.Canaries, args.MaxInFlight); err != nil {
		return "", err
	}
	if err := e.prepare(ctx, r, p); err != nil {
		return "", err
	}
	result := "/deployments/" + args.Deployment
	if args.DryRun {
		return result, nil
	}
	if err := e.converge(ctx, r, p, args); err != nil {
		return "", err
	}
	return result, e.settle(p, text, args)
}

func (e *Engine) manifestText(args UpdateArgs) (string, error) {
	if args.Manifest != nil {
		return *args.Manifest, nil
	}
	d, err := e.State.Get(args.Deployment)
	if err != nil {
		return "", err
	}
	if d.Manifest == nil {
		return "", bosherr.New(bosherr.BadManifest, "Deployment '%s' was never deployed with success: there is no manifest to go by", d.Name)
	}
	return *d.Manifest, nil
}

// prepare decides where the instances are to be and what their files hold.
func (e *Engine) prepare(ctx context.Context, r *tasks.Run, p *prepared) error {
	for _, w := range p.manifest.Warnings {
		r.Warn(w)
	}
	for _, c := range e.Configs.Latest("runtime") {
		if tree, err := manifest.ParseTree([]byte(c.Content)); err == nil && concerned(tree, p.name) {
			r.Warn("Runtime config '" + c.Name + "': addons are not applied by this director")
		}
	}
	stage := r.Stage("Preparing deployment", 1)
	err := stage.Do("Preparing deployment", func(*tasks.Step) error { return e.resolve(p) })
	if err != nil {
		return err
	}
	return stage.Do("Rendering templates", func(*tasks.Step) error { return e.bind(ctx, r, p) })
}

// concerned says whether a runtime config has an addon that may be for the
// deployment: one that names deployments names others.
func concerned(runtime map[string]any, deployment string) bool {
	addons, _ := runtime["addons"].([]any)
	return slices.ContainsFunc(addons, func(a any) bool {
		addon, _ := a.(map[string]any)
		include, _ := addon["include"].(map[string]any)
		names, named := include["deployments"].([]any)
		return !named || slices.Contains(names, any(deployment))
	})
}

// converge makes the instances what the plan says.
func (e *Engine) converge(ctx context.Context, r *tasks.Run, p *prepared, args UpdateArgs) error {
	var groups []*manifest.PlannedGroup
	for _, g := range p.plan.Groups {
		if !g.Errand() {
			groups = append(groups, g)
		}
	}
	dirs, err := e.compile(ctx, r, p, groups)
	if err != nil {
		return err
	}
	if err := e.deleteObsolete(ctx, r, p); err != nil {
		return err
	}
	work := &work{e: e, r: r, p: p, dirs: dirs, skipDrain: args.SkipDrain}
	if work.actions, err = e.decide(ctx, p, groups, args); err != nil {
		return err
	}
	if err := work.createMissing(ctx); err != nil {
		return err
	}
	if err := work.updateGroups(ctx, groups); err != nil {
		return err
	}
	return work.postDeploy(ctx, groups)
}

// settle stores what a deploy that succeeded has made true.
func (e *Engine) settle(p *prepared, text string, args UpdateArgs) error {
	return e.State.Update(p.name, durable.Power, func(d *Deployment) {
		d.Manifest = &text
		d.CloudConfigs, d.RuntimeConfigs = args.CloudConfigs, args.RuntimeConfigs
		if d.CloudConfigs == nil {
			d.CloudConfigs = e.configIDs("cloud")
		}
		if d.RuntimeConfigs == nil {
			d.RuntimeConfigs = e.configIDs("runtime")
		}
		d.Instances = slices.DeleteFunc(d.Instances, func(i Instance) bool { return !p.has(i.ID) && i.VM == nil })
	})
}

// has says whether the plan has an instance of that id.
func (p *prepared) has(id string) bool {
	for _, g := range p.plan.Groups {
		for _, i := range g.Instances {
			if i.ID == id {
				return true
			}
		}
	}
	return false
}

// deleteObsolete removes the instances that the plan has no place for.
func (e *Engine) deleteObsolete(ctx context.Context, r *tasks.Run, p *prepared) error {
	byGroup := map[string][]Instance{}
	var names []string
	d, err := e.State.Get(p.name)
	if err != nil {
		return err
	}
	for _, o := range p.plan.Obsolete {
		if i := d.Instance(o.ID); i != nil {
			if byGroup[i.Group] == nil {
				names = append(names, i.Group)
			}
			byGroup[i.Group] = append(byGroup[i.Group], *i)
		}
	}
	for _, name := range names {
		stage := r.Stage("Deleting unneeded instances", len(byGroup[name]), name)
		err := each(ctx, len(byGroup[name]), byGroup[name], func(ctx context.Context, i Instance) error {
			return stage.Do(i.Label(), func(*tasks.Step) error { return e.deleteInstance(ctx, r, p.name, i) })
		})
		if err != nil {
			return err
		}
	}
	return nil
}
