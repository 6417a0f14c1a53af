package orchestrator

import (
	"context"
	"fmt"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/store"
)

const (
	askAgain = 2 * time.Second
	// remembered is how long a finished deprovision answers polls with success.
	remembered = 24 * time.Hour
)

func (e *Engine) instance(ctx context.Context, c Caller, id string) (serviceforge.Instance, error) {
	return e.visible(ctx, c, id)
}

func (e *Engine) instances(_ context.Context, c Caller) ([]store.Summary, error) {
	all := e.Store.Summaries()
	mine := all[:0]
	for _, s := range all {
		if c.sees(s.Platform) {
			mine = append(mine, s)
		}
	}
	return mine, nil
}

// lastOperation answers from memory when memory knows the operation that is
// asked for, else by one linearizable read: memory lags, or a newer operation
// has begun.
func (e *Engine) lastOperation(ctx context.Context, c Caller, id, operation string) (Progress, error) {
	summary, found, _ := e.Store.Summary(id)
	if !found || operation != "" && operation != summary.OperationID {
		i, err := e.visible(ctx, c, id)
		if serviceforge.CodeOf(err) == serviceforge.NotFound {
			return e.afterwards(ctx, c, id)
		}
		if err != nil {
			return Progress{}, err
		}
		summary = store.SummaryOf(&i)
	}
	if !c.sees(summary.Platform) {
		return Progress{}, serviceforge.Errorf(serviceforge.NotFound, "there is no service instance %q", id)
	}
	if aside(&summary, operation, c) {
		return before(&summary), nil
	}
	return e.describe(&summary), nil
}

// afterwards answers a poll for an instance that is gone: success for a day
// (OSB checklist 92: do not forget right away), then Gone.
func (e *Engine) afterwards(ctx context.Context, c Caller, id string) (Progress, error) {
	stone, err := e.Store.Tombstone(ctx, id)
	if err != nil {
		return Progress{}, err
	}
	if !c.sees(stone.Platform) {
		return Progress{}, serviceforge.Errorf(serviceforge.NotFound, "there is no service instance %q", id)
	}
	if e.Now().Sub(stone.DeletedAt) > remembered {
		return Progress{}, serviceforge.Errorf(serviceforge.Gone, "service instance %q was deleted", id)
	}
	return Progress{
		Kind: serviceforge.Deprovision, State: serviceforge.Succeeded, Step: serviceforge.Ready,
		Description: "The service instance is deleted", Percent: 100,
	}, nil
}

// describe makes the honest line of a poll's answer.
func (e *Engine) describe(s *store.Summary) Progress {
	p := Progress{Kind: s.Kind, State: s.OperationState, Step: s.Step}
	switch s.OperationState {
	case serviceforge.Succeeded:
		p.Description, p.Percent = "The service instance is ready", 100
	case serviceforge.Failed:
		p.Description, p.Aftermath = s.Message, s.Aftermath
	default:
		p.RetryAfter = askAgain
		e.describeRunning(s, &p)
	}
	return p
}

// waitingFor says what an operation does at each step.
var waitingFor = map[serviceforge.Step]struct {
	percent int
	text    string
}{
	serviceforge.Accepted:  {0, "Accepted"},
	serviceforge.Placed:    {2, "Waiting for a worker of the director"},
	serviceforge.Leaving:   {3, "There is no room where it was tried; looking elsewhere"},
	serviceforge.Rendered:  {4, "Asking the infrastructure"},
	serviceforge.Submitted: {5, "The infrastructure is at work"},
	serviceforge.Deployed:  {92, "Checking that the service answers"},
}

func (e *Engine) describeRunning(s *store.Summary, p *Progress) {
	at := e.progress.ask(s.ID, s.OperationID, waitingFor[s.Step].percent)
	p.Percent, p.Description = at.percent, waitingFor[s.Step].text
	switch s.Step {
	case serviceforge.Accepted, serviceforge.Placed:
		if line := e.lines.place(s.OperationID); line.place > 0 {
			p.Place, p.Waiting = line.place, line.of
			p.Description, p.RetryAfter = line.words(), askIn(line.in)
		}
	case serviceforge.Submitted:
		told, known := e.lines.task(s.Pool, s.OperationID)
		if p.RetryAfter = askIn(told.Left); known && e.leading.Load() == nil {
			at = e.progress.learn(s.ID, s.OperationID, told)
		}
		if at.stage != "" {
			p.Stage, p.Node, p.Percent = at.stage, at.node, at.percent
			p.Description = fmt.Sprintf("%s: %s (%d %%)", p.Stage, p.Node, p.Percent)
		}
	}
}

// words tells where somebody waits, and for how long.
func (s *standingInLine) words() string {
	where := fmt.Sprintf("%s of %d in line", ordinal(s.place), s.of)
	switch {
	case s.trouble:
		return "Waiting until the infrastructure is well again: " + where
	case s.in > 0:
		where += ", " + about(s.in)
	}
	return "Waiting for a worker of the director: " + where
}

// AwaitProgress returns as soon as the answer to a poll differs from last, or
// when ctx ends: then with what last was. Errors as LastOperation's.
func (e *Engine) AwaitProgress(ctx context.Context, c Caller, instanceID, operation string, last Progress) (Progress, error) {
	for {
		change := e.progress.change()
		now, err := e.lastOperation(ctx, c, instanceID, operation)
		last.RetryAfter = now.RetryAfter // no news by itself
		if err != nil || now != last || ctx.Err() != nil {
			return now, err
		}
		select {
		case <-ctx.Done():
			return last, nil
		case <-change:
		}
	}
}
