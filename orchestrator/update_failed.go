package orchestrator

import (
	"context"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator/verdict"
)

// updateFailed ends an update whose task failed: it is never tried again by
// itself (DESIGN §4, "Errors"), whoever asked decides.
func (l *leader) updateFailed(ctx context.Context, i *serviceforge.Instance, why verdict.Verdict, cause string) error {
	i.Operation.Failures++
	i.Operation.Unrepeatable = why.Class == "manifest"
	return l.fail(ctx, i, "The update failed: "+why.Message, cause)
}

// leftBehind notes what a failed update left. A director that was asked may have
// changed some of the VMs: then the service is looked at, and it is kept which
// plan the deployment may be half way to.
func (l *leader) leftBehind(ctx context.Context, i *serviceforge.Instance) {
	o := &i.Operation
	asked := o.Intent.Task != 0 || o.Intent.Verb == serviceforge.VerbErrand || o.Intent.Verb != "" && o.Repeats > 0 // unanswered: it may have got through
	if !asked {
		return
	}
	i.Unfinished = o.Wish.PlanID
	if err := l.answers(ctx, i); err != nil {
		o.Unusable = true
		l.Log.Warn("the service does not answer after a failed update", "instance", i.ID, "operation", o.ID, "error", serviceforge.DetailOf(err))
	}
}
