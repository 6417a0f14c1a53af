package deploy

import (
	"context"
	"slices"
	"time"

	"github.com/serviceforge/serviceforge/localbosh/durable"
	"github.com/serviceforge/serviceforge/localbosh/tasks"
)

// DeleteArgs are those of a delete_deployment task.
type DeleteArgs struct {
	Deployment string
	// Force goes on when scripts of the instances fail.
	Force bool
}

func now() time.Time { return time.Now().UTC().Truncate(time.Second) }

// delete is the task "delete deployment".
func (e *Engine) delete(ctx context.Context, r *tasks.Run, args DeleteArgs) (string, error) {
	if err := lockDeployment(ctx, r, args.Deployment); err != nil {
		return "", err
	}
	d, err := e.State.Get(args.Deployment)
	if err != nil {
		return "", err
	}
	stage := r.Stage("Deleting instances", len(d.Instances))
	err = each(ctx, max(len(d.Instances), 1), d.Instances, func(ctx context.Context, i Instance) error {
		return stage.Do(i.Label(), func(*tasks.Step) error {
			err := e.deleteInstance(ctx, r, d.Name, i)
			if err != nil && args.Force && ctx.Err() == nil {
				r.Log().Warn("deleted by force", "instance", i.Label(), "error", err)
				return e.eraseInstance(ctx, d.Name, i)
			}
			return err
		})
	})
	if err != nil {
		return "", err
	}
	none := func(*tasks.Step) error { return nil }
	artifacts := r.Stage("Removing deployment artifacts", 3)
	_ = artifacts.Do("Detaching stemcells", none)
	_ = artifacts.Do("Detaching releases", none)
	properties := r.Stage("Deleting properties", 0)
	_ = properties.Do("Deleting dynamic disks", none)
	err = properties.Do("Destroying deployment", func(*tasks.Step) error { return e.State.Delete(d.Name) })
	return "/deployments/" + d.Name, err
}

// deleteInstance ends an instance after its pre-stop and drain scripts.
func (e *Engine) deleteInstance(ctx context.Context, r *tasks.Run, deployment string, i Instance) error {
	if i.VM != nil && i.VM.Made {
		if v, err := e.handle(ctx, i.VM.CID); err == nil {
			if err := runScripts(ctx, r, v, "pre-stop", i.jobs()); err != nil {
				return err
			}
			if err := drain(ctx, r, v, i.jobs()); err != nil {
				return err
			}
		}
	}
	return e.eraseInstance(ctx, deployment, i)
}

// eraseInstance removes VM, disk and row; its addresses are free at once.
func (e *Engine) eraseInstance(ctx context.Context, deployment string, i Instance) error {
	if err := e.removeVM(ctx, deployment, i, deleteGrace); err != nil {
		return err
	}
	if err := e.dropDisk(deployment, i); err != nil {
		return err
	}
	return e.State.Update(deployment, durable.Process, func(d *Deployment) {
		d.Instances = slices.DeleteFunc(d.Instances, func(o Instance) bool { return o.ID == i.ID })
	})
}
