package orchestrator

import (
	"context"
	"fmt"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator/director"
	"github.com/serviceforge/serviceforge/orchestrator/dispatch"
	"github.com/serviceforge/serviceforge/orchestrator/ownership"
	"github.com/serviceforge/serviceforge/orchestrator/verdict"
	"github.com/serviceforge/serviceforge/releases"
	"github.com/serviceforge/serviceforge/releases/deployed"
)

// maxCreateFailures is how many failed tasks a create may have.
const maxCreateFailures = 2

// deployStep moves a provision on, and an update, which begins where a provision
// has its pool.
func (l *leader) deployStep(ctx context.Context, i *serviceforge.Instance) (next, error) {
	switch i.Operation.Step {
	case serviceforge.Accepted:
		return l.place(ctx, i)
	case serviceforge.Placed:
		return l.intendDeploy(ctx, i)
	case serviceforge.Rendered:
		return l.submit(ctx, i)
	case serviceforge.Submitted:
		return l.awaitDeploy(ctx, i)
	case serviceforge.Deployed:
		return l.check(ctx, i)
	case serviceforge.Checked:
		return l.nextOrReady(ctx, i)
	case serviceforge.Errand:
		return l.errandStep(ctx, i)
	case serviceforge.Leaving:
		return l.leaving(ctx, i)
	}
	return goOn, serviceforge.Errorf(serviceforge.Internal, "step %q is unknown", i.Operation.Step)
}

// intendDeploy stores what will be posted, once the director has room for it
// and the name is known to be free or ours.
func (l *leader) intendDeploy(ctx context.Context, i *serviceforge.Instance) (next, error) {
	p, err := l.dispatcher(i.Pool)
	if err != nil {
		return goOn, err
	}
	if !p.Admit(i, serviceforge.VerbDeploy) {
		return l.inLine(ctx, i)
	}
	if err := l.mayDeploy(ctx, p.Director, i); err != nil {
		return goOn, err
	}
	if left, err := l.mayStand(ctx, i, p); err != nil || left {
		return goOn, err
	}
	if err := l.pin(i); err != nil {
		return goOn, err
	}
	if err := l.makeSecrets(ctx, i); err != nil {
		return goOn, err
	}
	manifest, err := l.render(ctx, i)
	if err != nil {
		return goOn, err
	}
	if err := l.maySucceed(ctx, p.Director, i, manifest); err != nil {
		return goOn, err
	}
	if i.Operation.Kind == serviceforge.Provision {
		i.State = serviceforge.Deploying
	}
	i.Operation.Intent = serviceforge.Intent{
		ContextID: contextID(&i.Operation, serviceforge.VerbDeploy), Verb: serviceforge.VerbDeploy, Digest: deployed.Digest(manifest), Term: l.term,
	}
	if n, err := l.advance(ctx, i, serviceforge.Rendered); err != nil {
		return n, err
	}
	return l.post(ctx, i, p, func(ctx context.Context) (int, error) {
		return p.Director.Deploy(ctx, manifest, i.Operation.Intent.ContextID)
	})
}

// makeSecrets makes the secrets that the instance lacks when it is its turn to be
// deployed: certificates cost more than all of accepting an instance. They are
// stored with the intent, before anybody is told them. Those it has stay, but for users that are spent.
func (l *leader) makeSecrets(ctx context.Context, i *serviceforge.Instance) error {
	wished := i.Wished()
	in, release, err := l.input(&wished)
	if err != nil {
		return err
	}
	if in.Spent, err = l.bindings.Spent(ctx, i); err != nil {
		return err
	}
	i.Secrets, err = release.NewSecrets(in)
	return err
}

// mayDeploy looks the name up once, before the first deploy: a deployment
// without our stamp is never touched.
func (l *leader) mayDeploy(ctx context.Context, d director.Director, i *serviceforge.Instance) error {
	if i.Operation.Intent.Verb != "" {
		return nil // the name was free, or ours, before the first attempt in this pool
	}
	ctx, cancel := context.WithTimeout(ctx, l.PostTimeout)
	defer cancel()
	whose, err := ownership.Of(ctx, l.Store, d, i)
	switch {
	case err != nil:
		return err
	case whose == ownership.Others:
		return serviceforge.Errorf(serviceforge.Unprocessable, "a deployment named %s exists that this broker did not make", i.Deployment)
	case whose == ownership.Earlier || whose == ownership.UnheardOf: // its disks may hold what is not this instance's to read
		return serviceforge.Errorf(serviceforge.Unprocessable, "the deployment %s of an earlier service instance still exists", i.Deployment)
	case whose == ownership.Nobody && i.Operation.Kind == serviceforge.Update:
		return serviceforge.Errorf(serviceforge.Unprocessable, "the deployment %s is gone from pool %s: delete the service instance", i.Deployment, i.Pool)
	}
	return nil
}

// awaitDeploy waits for the task and decides what its end means.
func (l *leader) awaitDeploy(ctx context.Context, i *serviceforge.Instance) (next, error) {
	p, err := l.dispatcher(i.Pool)
	if err != nil {
		return goOn, err
	}
	task, err := p.Task(i.ID, &i.Operation.Intent)
	if serviceforge.CodeOf(err) == serviceforge.NotFound {
		return l.recover(ctx, i, p.Director, "the director has forgotten the task")
	}
	switch {
	case err != nil:
		return goOn, err
	case task.Running() && l.overdue(i):
		return goOn, l.giveUp(ctx, i, p.Director)
	case task.Running():
		return l.untilDue(i), nil
	case task.State == director.TaskDone:
		p.Breaker.Ended(i.ID, task.ID, verdict.Well, "")
		return l.advance(ctx, i, serviceforge.Deployed)
	case task.State == director.TaskTimeout:
		return l.recover(ctx, i, p.Director, "the director gave the task up")
	case verdict.LockTaken(task):
		return l.again(ctx, i, task.Result) // a wait, not a failure
	}
	return l.taskFailed(ctx, i, p, task)
}

// taskFailed decides by what the director says whether another attempt makes sense.
func (l *leader) taskFailed(ctx context.Context, i *serviceforge.Instance, p *dispatch.Dispatcher, task director.Task) (next, error) {
	cause := l.reason(ctx, p.Director, i, task)
	found := verdict.Of(cause)
	p.Breaker.Ended(i.ID, task.ID, found.Health, cause)
	if found.Retry == verdict.JustWait {
		return l.again(ctx, i, cause)
	}
	if i.Operation.Kind == serviceforge.Update {
		return goOn, l.updateFailed(ctx, i, found, cause)
	}
	spill, err := l.maySpill(ctx, i, p.Director, found)
	if err != nil {
		return goOn, err
	}
	if spill {
		return l.leave(ctx, i, cause)
	}
	i.Operation.Failures++
	if found.Retry == verdict.NeverRetry || i.Operation.Failures >= maxCreateFailures {
		return goOn, l.fail(ctx, i, "The deployment failed: "+found.Message, cause)
	}
	return l.again(ctx, i, cause)
}

// recover decides by the deployment itself what became of a task that cannot
// be asked: the first line of its manifest names the operation.
func (l *leader) recover(ctx context.Context, i *serviceforge.Instance, d director.Director, cause string) (next, error) {
	manifest, err := d.Manifest(ctx, i.Deployment)
	if err != nil && serviceforge.CodeOf(err) != serviceforge.NotFound {
		return goOn, err
	}
	if stamp, ok := deployed.StampOf(manifest); ok && stamp.Operation == i.Operation.ID {
		return l.advance(ctx, i, serviceforge.Deployed)
	}
	if i.Operation.Kind == serviceforge.Update {
		return goOn, l.fail(ctx, i, "The update failed: nobody knows what became of it", cause)
	}
	return l.again(ctx, i, cause) // nobody said that it failed: not counted
}

// again stores that the deploy is to be made anew, under a new context id,
// until the deadline.
func (l *leader) again(ctx context.Context, i *serviceforge.Instance, cause string) (next, error) {
	if l.overdue(i) {
		return goOn, l.fail(ctx, i, "The deployment took too long", cause)
	}
	i.Operation.Attempt++
	i.Operation.Step = serviceforge.Placed
	return goOn, l.postpone(ctx, i, cause)
}

// giveUp ends an overdue task and the operation.
func (l *leader) giveUp(ctx context.Context, i *serviceforge.Instance, d director.Director) error {
	if err := d.Cancel(ctx, i.Operation.Intent.Task); err != nil {
		return err
	}
	return l.fail(ctx, i, "The deployment took too long", fmt.Sprintf("task %d was cancelled at the deadline", i.Operation.Intent.Task))
}

// check waits until the service answers. Where it has no errands to run the
// operation has ended then, and no director is asked about it any more.
func (l *leader) check(ctx context.Context, i *serviceforge.Instance) (next, error) {
	p, err := l.dispatcher(i.Pool)
	if err != nil {
		return goOn, err
	}
	checked, err := l.learn(ctx, p.Director, i)
	if err != nil {
		return goOn, err
	}
	if err := l.answers(ctx, &checked); err != nil {
		return goOn, l.silent(i, err)
	}
	_, some, err := l.nextErrand(i)
	switch {
	case err != nil:
		return goOn, err
	case !some:
		return l.ready(ctx, i, &checked)
	case i.Operation.Kind == serviceforge.Provision: // should an errand fail, a delete has to know that it stood
		i.Facts, i.Access = checked.Facts, checked.Access
	}
	return l.advance(ctx, i, serviceforge.Checked)
}

// learn returns the instance as it was deployed, with its addresses, and what
// bindings need that hangs on them: a failed update leaves both as they are.
func (l *leader) learn(ctx context.Context, d director.Director, i *serviceforge.Instance) (serviceforge.Instance, error) {
	deployed := i.Wished()
	vms, err := d.Instances(ctx, i.Deployment)
	if err != nil {
		return deployed, err
	}
	deployed.Facts = director.Addresses(vms)
	if deployed.Access, err = l.access(ctx, &deployed); err == nil {
		deployed.Access, err = releases.WithPrepared(deployed.Access, i.Secrets)
	}
	return deployed, err
}

// ready ends the operation well.
func (l *leader) ready(ctx context.Context, i, deployed *serviceforge.Instance) (next, error) {
	i.Facts, i.Access = deployed.Facts, deployed.Access
	o := &i.Operation
	if o.Kind == serviceforge.Update {
		i.Fulfil()
	}
	i.State, o.State = serviceforge.Running, serviceforge.Succeeded
	o.FinishedAt = l.Now().UTC()
	return l.advance(ctx, i, serviceforge.Ready)
}

// access renders how credentials and users of the instance are made, by its facts.
func (l *leader) access(ctx context.Context, i *serviceforge.Instance) (serviceforge.Secret, error) {
	in, release, err := l.input(i)
	if err != nil {
		return serviceforge.Secret{}, err
	}
	return release.Access(ctx, l.Spiff, in)
}

// render makes the manifest of the instance's deployment, as the operation is to
// make it; equal records give equal bytes.
func (l *leader) render(ctx context.Context, i *serviceforge.Instance) ([]byte, error) {
	wished := i.Wished()
	in, release, err := l.input(&wished)
	if err != nil {
		return nil, err
	}
	return release.Manifest(ctx, l.Spiff, in)
}

// input is what renders of the instance as it is depend on, and the service
// release that renders it.
func (l *leader) input(i *serviceforge.Instance) (releases.Input, *releases.Release, error) {
	release, err := l.Shelf.Release(i.Release)
	if err != nil {
		return releases.Input{}, nil, err
	}
	pool, err := l.Pools.Pool(i.Pool)
	if err != nil {
		return releases.Input{}, nil, err
	}
	pool = pool.Pinned(i.Pins)
	if i.Infrastructure != "" {
		pool.Infrastructure = i.Infrastructure
	}
	return releases.Input{
		Instance: *i, Pool: pool, Broker: l.Store.BrokerID(), Versions: i.Versions,
		First: i.Operation.Kind == serviceforge.Provision,
	}, release, nil
}
