package orchestrator

import (
	"context"
	"fmt"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator/line"
	"github.com/serviceforge/serviceforge/store"
)

// remembered is how long a finished deprovision answers polls with success.
const remembered = 24 * time.Hour

func (e *Engine) instance(ctx context.Context, c serviceforge.Caller, id string) (serviceforge.Instance, error) {
	return e.visible(ctx, c, id)
}

func (e *Engine) instances(ctx context.Context, c serviceforge.Caller) ([]store.Summary, error) {
	all, err := e.Store.List(ctx)
	if err != nil {
		return nil, err
	}
	mine := all[:0]
	for _, s := range all {
		if c.Sees(s.Platform) {
			mine = append(mine, s)
		}
	}
	return mine, nil
}

// lastOperation answers from memory when memory has the last word, else by one
// linearizable read: a platform that was told by one replica how an operation
// ended is not told by another, which lags, that it runs.
func (e *Engine) lastOperation(ctx context.Context, c serviceforge.Caller, id, operation string) (serviceforge.Progress, error) {
	summary, found, _ := e.Store.Summary(id)
	if !found || !e.lastWord(&summary, operation) {
		i, err := e.visible(ctx, c, id)
		if serviceforge.CodeOf(err) == serviceforge.NotFound {
			return e.afterwards(ctx, c, id)
		}
		if err != nil {
			return serviceforge.Progress{}, err
		}
		summary = store.SummaryOf(&i)
	}
	if !c.Sees(summary.Platform) {
		return serviceforge.Progress{}, serviceforge.Errorf(serviceforge.NotFound, "there is no service instance %q", id)
	}
	if aside(&summary, operation, c) {
		return before(&summary), nil
	}
	return e.describe(&summary), nil
}

// lastWord says whether memory tells what there is to tell of an operation: it
// has ended, which stays so; or only this replica writes.
func (e *Engine) lastWord(s *store.Summary, operation string) bool {
	if e.Store.Alone() {
		return operation == "" || operation == s.OperationID
	}
	return operation == s.OperationID && !s.Busy()
}

// afterwards answers a poll for an instance that is gone: success for a day
// (OSB checklist 92: do not forget right away), then Gone.
func (e *Engine) afterwards(ctx context.Context, c serviceforge.Caller, id string) (serviceforge.Progress, error) {
	stone, err := e.Store.Tombstone(ctx, id)
	if err != nil {
		return serviceforge.Progress{}, err
	}
	if !c.Sees(stone.Platform) {
		return serviceforge.Progress{}, serviceforge.Errorf(serviceforge.NotFound, "there is no service instance %q", id)
	}
	if e.Now().Sub(stone.DeletedAt) > remembered {
		return serviceforge.Progress{}, serviceforge.Errorf(serviceforge.Gone, "service instance %q was deleted", id)
	}
	return serviceforge.Progress{
		Kind: serviceforge.Deprovision, State: serviceforge.Succeeded, Step: serviceforge.Ready,
		Description: "The service instance is deleted", Percent: 100,
	}, nil
}

// describe makes the honest line of a poll's answer.
func (e *Engine) describe(s *store.Summary) serviceforge.Progress {
	p := serviceforge.Progress{Kind: s.Kind, State: s.OperationState, Step: s.Step}
	switch s.OperationState {
	case serviceforge.Succeeded:
		p.Description, p.Percent = "The service instance is ready", 100
	case serviceforge.Failed:
		p.Description, p.Aftermath = s.Message, s.Aftermath
	default:
		p.RetryAfter = line.AskAgain
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
	serviceforge.Checked:   {93, "Waiting for a worker of the director"},
	serviceforge.Errand:    {94, ""},
}

// runningErrand is the stage of an errand's task that says where it runs.
const runningErrand = "Running errand"

func (e *Engine) describeRunning(s *store.Summary, p *serviceforge.Progress) {
	least := waitingFor[s.Step].percent
	if s.Kind == serviceforge.Deprovision && s.Step == serviceforge.Errand {
		least = waitingFor[serviceforge.Placed].percent // they come first
	}
	at := e.progress.Ask(s.ID, s.OperationID, least)
	p.Percent, p.Description = at.Percent, waitingFor[s.Step].text
	switch s.Step {
	case serviceforge.Accepted, serviceforge.Placed, serviceforge.Checked:
		if at := e.progress.Place(s.OperationID); at.Place > 0 {
			p.Place, p.Waiting = at.Place, at.Of
			p.Description, p.RetryAfter = at.Words(), line.AskIn(at.In)
		}
	case serviceforge.Errand: // its message names it
		p.Description = s.Message
		if at.Stage == runningErrand {
			p.Stage, p.Node = at.Stage, at.Node
			p.Description += " on " + at.Node
		}
	case serviceforge.Submitted:
		told, known := e.progress.Task(s.Pool, s.OperationID)
		if p.RetryAfter = line.AskIn(told.Left); known && !e.leads() {
			at = e.progress.Learn(s.ID, s.OperationID, told)
		}
		if at.Stage != "" {
			p.Stage, p.Node, p.Percent = at.Stage, at.Node, at.Percent
			p.Description = fmt.Sprintf("%s: %s (%d %%)", p.Stage, p.Node, p.Percent)
		}
	}
}

// AwaitProgress returns as soon as the answer to a poll differs from last, or
// when ctx ends: then with what last was. Errors as LastOperation's.
func (e *Engine) AwaitProgress(ctx context.Context, c serviceforge.Caller, instanceID, operation string, last serviceforge.Progress) (serviceforge.Progress, error) {
	for {
		change := e.progress.Change()
		now, err := e.lastOperation(ctx, c, instanceID, operation)
		if err != nil && ctx.Err() != nil { // it ended over the read
			return last, nil
		}
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
