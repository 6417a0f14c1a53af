package orchestrator

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator/verdict"
	"github.com/serviceforge/serviceforge/store"
)

// Explanation tells an operator where an instance stands, what it waits for,
// and what can be done.
type Explanation struct {
	Instance serviceforge.Instance // the record it was made of; secrets are in it
	Waits    string                // what the operation waits for; "" = nothing
	Position int                   // place in the pool's line, from 1; 0 = not in it
	Until    time.Time             // when it goes on by itself; zero = not known
	Breaker  *store.Breaker        // the pool's, if it is open
	Class    string                // of the last cause, e.g. "ips_exhausted"; "" = there is none
	Advice   string                // what to do; "" = nothing
	Findings []store.Finding       // what the last sweep found of it
}

// updateAgain is what is to be done after a failed update, where other failures
// are repaired.
const updateAgain = "ask for the update again"

// Explain tells where an instance stands and why. It asks no director.
// Errors: Invalid, NotFound, Unavailable.
func (e *Engine) Explain(ctx context.Context, c serviceforge.Caller, instanceID string) (Explanation, error) {
	i, err := e.visible(ctx, c, instanceID)
	if err != nil {
		return Explanation{}, err
	}
	x := Explanation{Instance: i}
	if x.Findings, err = e.findingsOf(ctx, i.ID); err != nil {
		return Explanation{}, err
	}
	o := &x.Instance.Operation
	o.Cause = cmp.Or(o.Cause, o.Errands.Warning)
	if o.Cause != "" {
		found := verdict.Of(o.Cause)
		x.Class, x.Advice = found.Class, found.Advice
		if o.Kind == serviceforge.Update {
			x.Advice = strings.ReplaceAll(x.Advice, "`serviceforge repair`", updateAgain)
		}
	}
	switch {
	case i.Busy():
		status, err := e.Store.ReadSwitch(ctx)
		if err != nil {
			return Explanation{}, err
		}
		if status.Paused {
			x.Waits = fmt.Sprintf("the engine: %s paused it at %s (%s)", status.Actor, status.At.Format(time.RFC3339), status.Reason)
			x.Advice = "`serviceforge engine resume` lets it work again."
			return x, nil
		}
		open, err := e.Breakers(ctx)
		if err != nil {
			return Explanation{}, err
		}
		if b, ok := open[e.lineOf(&i)]; ok {
			x.Breaker = &b
			x.Advice = verdict.Of(b.Cause).Advice
		}
		e.waitsFor(&i, &x)
	case o.State == serviceforge.Failed && x.Advice == "" && o.Kind == serviceforge.Update:
		x.Advice = "Ask for the update again, with `serviceforge update-service` or from the platform."
	case o.State == serviceforge.Failed && x.Advice == "":
		x.Advice = "`serviceforge repair` tries again."
	}
	return x, nil
}

// waitsFor says what a running operation waits for.
func (e *Engine) waitsFor(i *serviceforge.Instance, x *Explanation) {
	o := &i.Operation
	pool := e.lineOf(i)
	inLine := o.Step == serviceforge.Placed || o.Step == serviceforge.Checked || o.Step == serviceforge.Accepted && i.Pool == "" && pool != ""
	if b := x.Breaker; b != nil && inLine {
		x.Position = e.progress.Place(o.ID).Place
		x.Waits = fmt.Sprintf("pool %s: %s; its deadline stands still since %s", pool, stateOf(b), b.Since.Format(time.RFC3339))
		return
	}
	if o.NotBefore.After(e.Now()) {
		x.Until = o.NotBefore
		x.Waits = fmt.Sprintf("the next attempt (number %d): the last one did not succeed", o.Attempt+o.Repeats+1)
		return
	}
	switch {
	case o.Step == serviceforge.Accepted && o.Superseded.Task != 0:
		x.Waits = fmt.Sprintf("the end of task %d of the operation it took over", o.Superseded.Task)
	case inLine:
		x.Position = e.progress.Place(o.ID).Place
		x.Waits = "a free worker of pool " + pool
	case o.Step == serviceforge.Accepted:
		x.Waits = "the engine"
	case o.Step == serviceforge.Errand && o.Intent.Task != 0:
		x.Waits = fmt.Sprintf("task %d of pool %s's director, which runs an errand", o.Intent.Task, i.Pool)
	case o.Step == serviceforge.Rendered || o.Step == serviceforge.Errand:
		x.Waits = "the answer of pool " + i.Pool + "'s director"
	case o.Step == serviceforge.Submitted:
		x.Waits = fmt.Sprintf("task %d of pool %s's director", o.Intent.Task, i.Pool)
	default:
		x.Waits = "the service: does it answer?"
	}
}

// stateOf says why a breaker is open.
func stateOf(b *store.Breaker) string {
	if b.Away {
		return "its director does not answer"
	}
	return "its infrastructure fails, one deploy at a time is tried"
}

// lineOf is the pool that the instance is in, or in whose line it stands; "" =
// it was not told yet.
func (e *Engine) lineOf(i *serviceforge.Instance) string {
	return cmp.Or(i.Pool, e.progress.Place(i.Operation.ID).Pool)
}
