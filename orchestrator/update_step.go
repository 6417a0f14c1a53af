package orchestrator

import (
	"context"

	"github.com/serviceforge/serviceforge"
)

// updateStep moves an update on. It goes the way of a provision that has its
// pool, but a task that failed is never tried again by itself (DESIGN §4,
// "Errors"): whoever asked decides.
func (l *leader) updateStep(ctx context.Context, i *serviceforge.Instance) (next, error) {
	switch i.Operation.Step {
	case serviceforge.Placed:
		return l.intendDeploy(ctx, i)
	case serviceforge.Rendered:
		return l.submit(ctx, i)
	case serviceforge.Submitted:
		return l.awaitDeploy(ctx, i)
	case serviceforge.Deployed:
		return l.check(ctx, i)
	}
	return goOn, serviceforge.Errorf(serviceforge.Internal, "step %q is unknown", i.Operation.Step)
}

// updateFailed ends an update whose task failed.
func (l *leader) updateFailed(ctx context.Context, i *serviceforge.Instance, why verdict, cause string) error {
	i.Operation.Failures++
	i.Operation.Unrepeatable = why.class == "manifest"
	return l.fail(ctx, i, "The update failed: "+why.message, cause)
}

// leftBehind notes what a failed update left. A director that was asked may have
// changed some of the VMs: then the service is looked at, and it is kept which
// plan the deployment may be half way to.
func (l *leader) leftBehind(ctx context.Context, i *serviceforge.Instance) {
	o := &i.Operation
	asked := o.Intent.Task != 0 || o.Intent.Verb != "" && o.Repeats > 0 // unanswered: it may have got through
	if !asked {
		return
	}
	i.Unfinished = o.Wish.PlanID
	if err := l.answers(ctx, i.Access); err != nil {
		o.Unusable = true
		l.Log.Warn("the service does not answer after a failed update", "instance", i.ID, "operation", o.ID, "error", serviceforge.DetailOf(err))
	}
}
