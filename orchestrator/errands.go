package orchestrator

import (
	"context"
	"fmt"
	"slices"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator/director"
	"github.com/serviceforge/serviceforge/orchestrator/dispatch"
	"github.com/serviceforge/serviceforge/orchestrator/verdict"
	"github.com/serviceforge/serviceforge/orchestrator/work"
	"github.com/serviceforge/serviceforge/releases"
	"github.com/serviceforge/serviceforge/releases/deployed"
)

// nextErrand is the errand that the operation has to run next; false = it has
// run all of them.
func (l *leader) nextErrand(i *serviceforge.Instance) (releases.Errand, bool, error) {
	wished := i.Wished()
	release, err := l.Shelf.Release(wished.Release)
	if err != nil {
		return releases.Errand{}, false, err
	}
	all := release.Errands(i.Operation.Kind, i.ServiceID)
	if done := i.Operation.Errands.Done; done < len(all) {
		return all[done], true, nil
	}
	return releases.Errand{}, false, nil
}

// nextOrReady runs the errands of a service that answers, one after the other,
// each when a worker of the director is free for it; then the operation has ended.
func (l *leader) nextOrReady(ctx context.Context, i *serviceforge.Instance) (next, error) {
	e, some, err := l.nextErrand(i)
	if err != nil {
		return goOn, err
	}
	p, err := l.dispatcher(i.Pool)
	if err != nil {
		return goOn, err
	}
	if !some {
		served, err := l.learn(ctx, p.Director, i)
		if err != nil {
			return goOn, err
		}
		return l.ready(ctx, i, &served)
	}
	if !p.Admit(i, serviceforge.VerbErrand) {
		return l.inLine(ctx, i)
	}
	return l.intendErrand(ctx, i, p, e)
}

// intendErrand stores which errand is to be run, and asks for it.
func (l *leader) intendErrand(ctx context.Context, i *serviceforge.Instance, p *dispatch.Dispatcher, e releases.Errand) (next, error) {
	o := &i.Operation
	o.Attempt++
	o.Intent = serviceforge.Intent{ContextID: contextID(o, serviceforge.VerbErrand), Verb: serviceforge.VerbErrand, Term: l.term}
	o.Message = "Running the errand " + e.Name
	if n, err := l.advance(ctx, i, serviceforge.Errand); err != nil {
		return n, err
	}
	return l.postErrand(ctx, i, p, e)
}

// errandStep asks for the errand, unless it was asked for already, and waits for
// its end.
func (l *leader) errandStep(ctx context.Context, i *serviceforge.Instance) (next, error) {
	e, some, err := l.nextErrand(i)
	if err != nil {
		return goOn, err
	}
	p, err := l.dispatcher(i.Pool)
	switch {
	case err != nil:
		return goOn, err
	case !some: // a newer service release names fewer
		return l.toNextErrand(ctx, i)
	case i.Operation.Intent.Task != 0:
		return l.awaitErrand(ctx, i, p, e)
	}
	task, found, wait, err := l.find(ctx, p.Director, &i.Operation.Intent)
	switch {
	case err != nil:
		return goOn, err
	case found:
		return l.asked(ctx, i, p, task)
	case wait > 0:
		return later(wait), nil
	}
	return l.postErrand(ctx, i, p, e)
}

// postErrand asks for a run. One that the director refuses has failed.
func (l *leader) postErrand(ctx context.Context, i *serviceforge.Instance, p *dispatch.Dispatcher, e releases.Errand) (next, error) {
	asking, cancel := context.WithTimeout(ctx, l.PostTimeout)
	defer cancel()
	on, err := l.errandInstances(asking, p.Director, i, e)
	var task int
	if err == nil {
		task, err = p.Director.RunErrand(asking, i.Deployment, e.Name, on, i.Operation.Intent.ContextID)
	}
	switch serviceforge.CodeOf(err) {
	case "":
		return l.asked(ctx, i, p, task)
	case serviceforge.Unavailable:
		return goOn, err
	}
	return l.errandFailed(ctx, i, e, serviceforge.MessageOf(err), serviceforge.DetailOf(err))
}

// errandInstances says on which instances the errand is to run; none = on all
// that have it.
func (l *leader) errandInstances(ctx context.Context, d director.Director, i *serviceforge.Instance, e releases.Errand) ([]director.VM, error) {
	manifest, err := d.Manifest(ctx, i.Deployment)
	if err != nil {
		return nil, err
	}
	groups, whole, err := deployed.ErrandGroups(manifest, e.Name)
	if err != nil || e.All || whole { // a director takes no instances with the name of a group
		return nil, err
	}
	vms, err := d.Instances(ctx, i.Deployment)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(vms, func(a, b director.VM) int { return slices.Index(groups, a.Group) - slices.Index(groups, b.Group) })
	vms = slices.DeleteFunc(vms, func(vm director.VM) bool {
		named := slices.Contains(e.On, fmt.Sprintf("%s/%d", vm.Group, vm.Index))
		return vm.Missing || !slices.Contains(groups, vm.Group) || len(e.On) > 0 && !named
	})
	if len(vms) == 0 {
		return nil, serviceforge.Errorf(serviceforge.Unprocessable, "the deployment has no instance on which the errand %s is to run", e.Name)
	}
	if len(e.On) == 0 {
		vms = vms[:1]
	}
	return vms, nil
}

// awaitErrand waits for the task and decides what its end means.
func (l *leader) awaitErrand(ctx context.Context, i *serviceforge.Instance, p *dispatch.Dispatcher, e releases.Errand) (next, error) {
	task, err := p.Task(i.ID, &i.Operation.Intent)
	left, limit := l.timeLeft(i), "the operation's deadline"
	if e.Timeout > 0 {
		if own := e.Timeout - l.Now().Sub(i.Operation.Since); own < left {
			left, limit = own, e.Timeout.String()
		}
	}
	switch {
	case serviceforge.CodeOf(err) == serviceforge.NotFound:
		return l.errandAnew(ctx, i, "the director has forgotten the task")
	case err != nil:
		return goOn, err
	case task.Running() && left > 0:
		return l.until(i, left), nil
	case task.Running() && task.State != director.TaskCancelling:
		if err := p.Director.Cancel(ctx, task.ID); err != nil {
			return goOn, err
		}
		return l.until(i, closest), nil
	case task.Running():
		return l.until(i, closest), nil
	case verdict.LockTaken(task):
		return l.errandAnew(ctx, i, task.Result)
	case task.State != director.TaskDone && left <= 0:
		return l.errandFailed(ctx, i, e, "it did not end within "+limit, l.reason(ctx, p.Director, i, task))
	case task.State != director.TaskDone:
		return l.errandFailed(ctx, i, e, "it could not be run", l.reason(ctx, p.Director, i, task))
	}
	output, err := p.Director.Results(ctx, task.ID)
	if err != nil {
		return goOn, err
	}
	if short, long := verdict.FailedRuns([]byte(verdict.Redact(i, string(output)))); short != "" { // hidden before anything is cut
		return l.errandFailed(ctx, i, e, short, long)
	}
	l.Log.Info("an errand succeeded", "instance", i.ID, "operation", i.Operation.ID, "errand", e.Name, "task", task.ID)
	p.Ran(i.ID)
	told := l.errandTold(i, e, serviceforge.Succeeded, "")
	i.Operation.Errands.Done++
	i.Operation.Errands.Failures = 0
	return l.toNextErrand(ctx, i, told)
}

// errandFailed runs the errand again, if it may, else it goes on or ends the
// operation, as the service wants it. The deployment stays.
func (l *leader) errandFailed(ctx context.Context, i *serviceforge.Instance, e releases.Errand, short, long string) (next, error) {
	o := &i.Operation
	o.Errands.Failures++
	message := "The errand " + e.Name + " failed: " + short
	cause := "errand " + e.Name + ": " + long
	again := o.Errands.Failures <= e.Retries && !l.overdue(i)
	l.Log.Warn("an errand failed", "instance", i.ID, "operation", o.ID, "errand", e.Name, "again", again, "cause", cause)
	if !again && !e.Warn {
		o.Unusable = o.Unusable || o.Kind == serviceforge.Update && e.Check
		return goOn, l.fail(ctx, i, message, cause)
	}
	told := l.errandTold(i, e, serviceforge.Failed, cause)
	told.Message = message
	if again {
		return l.errandAnew(ctx, i, cause, told)
	}
	o.Errands.Done++
	o.Errands.Failures, o.Errands.Warning = 0, serviceforge.Cut(cause)
	return l.toNextErrand(ctx, i, told)
}

// errandTold is the line of history that a run leaves; the end of an operation
// tells the one that ended it.
func (l *leader) errandTold(i *serviceforge.Instance, e releases.Errand, result serviceforge.OperationState, cause string) serviceforge.Change {
	o := &i.Operation
	return serviceforge.Change{
		At: l.Now().UTC(), What: "errand " + e.Name, Operation: o.ID, Before: i.State, After: i.State, Result: result,
		Actor: o.Actor, Cause: cause, Pool: i.Pool, Task: o.Intent.Task,
	}
}

// afterErrand is the step that an operation goes back to when an errand has ended.
func afterErrand(o *serviceforge.Operation) serviceforge.Step {
	if o.Kind == serviceforge.Deprovision {
		return serviceforge.Placed
	}
	return serviceforge.Checked
}

// toNextErrand stores that an errand has ended. What those before a delete took
// does not count against its deadline.
func (l *leader) toNextErrand(ctx context.Context, i *serviceforge.Instance, told ...serviceforge.Change) (next, error) {
	o := &i.Operation
	o.Message = ""
	if o.Kind == serviceforge.Deprovision {
		o.BegunAt = l.Now().UTC()
	}
	return l.advance(ctx, i, afterErrand(o), told...)
}

// errandAnew stores that the present errand is to be run again, after a while.
func (l *leader) errandAnew(ctx context.Context, i *serviceforge.Instance, cause string, told ...serviceforge.Change) (next, error) {
	o := &i.Operation
	o.Step, o.Message = afterErrand(o), ""
	switch {
	case l.overdue(i) && o.Kind == serviceforge.Deprovision:
		o.Errands.Done++
		return l.toNextErrand(ctx, i, told...)
	case l.overdue(i):
		return goOn, l.fail(ctx, i, "It took too long", cause)
	}
	o.Cause = serviceforge.Cut(cause)
	o.NotBefore = l.Now().UTC().Add(work.Backoff(max(o.Repeats, o.Errands.Failures)))
	o.Repeats++
	return goOn, l.put(ctx, i, told...)
}
