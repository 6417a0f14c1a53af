package orchestrator

import (
	"context"
	"fmt"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator/director"
	"github.com/serviceforge/serviceforge/orchestrator/dispatch"
	"github.com/serviceforge/serviceforge/orchestrator/verdict"
	"github.com/serviceforge/serviceforge/releases/deployed"
)

// contextID names one attempt of one step; the director keeps it with the task
// (at most 64 characters).
func contextID(o *serviceforge.Operation, step string) string {
	return fmt.Sprintf("%s.%s.%d", o.ID, step, o.Attempt)
}

// post sends what was intended and stores the task. Whether an unanswered
// request got through is not known: submit looks for it.
func (l *leader) post(ctx context.Context, i *serviceforge.Instance, p *dispatch.Dispatcher, send func(context.Context) (int, error)) (next, error) {
	sending, cancel := context.WithTimeout(ctx, l.PostTimeout)
	defer cancel()
	task, err := send(sending)
	if err != nil {
		return goOn, err
	}
	return l.submitted(ctx, i, p, task)
}

// submitted stores the director's answer.
func (l *leader) submitted(ctx context.Context, i *serviceforge.Instance, p *dispatch.Dispatcher, task int) (next, error) {
	i.Operation.Intent.Task = task
	n, err := l.advance(ctx, i, serviceforge.Submitted)
	if err == nil {
		p.Expect(i.ID, task)
	}
	return n, err
}

// asked stores the director's answer in a step that waits for the task as well.
func (l *leader) asked(ctx context.Context, i *serviceforge.Instance, p *dispatch.Dispatcher, task int) (next, error) {
	i.Operation.Intent.Task = task
	err := l.put(ctx, i)
	if err == nil {
		p.Expect(i.ID, task)
	}
	return goOn, err
}

// submit deals with an intent without an answer: the request was lost, or its
// answer was, or the leader died over it. The director is asked for the
// context id first, so that nothing is posted twice.
func (l *leader) submit(ctx context.Context, i *serviceforge.Instance) (next, error) {
	p, err := l.dispatcher(i.Pool)
	if err != nil {
		return goOn, err
	}
	task, found, wait, err := l.find(ctx, p.Director, &i.Operation.Intent)
	switch {
	case err != nil:
		return goOn, err
	case found:
		return l.submitted(ctx, i, p, task)
	case wait > 0:
		return later(wait), nil
	}
	if i.Operation.Intent.Verb == serviceforge.VerbDelete {
		return l.postDelete(ctx, i, p)
	}
	manifest, err := l.render(ctx, i)
	if err != nil {
		return goOn, err
	}
	if deployed.Digest(manifest) != i.Operation.Intent.Digest { // e.g. a pool file was changed meanwhile
		return l.again(ctx, i, "the manifest changed between two attempts")
	}
	return l.post(ctx, i, p, func(ctx context.Context) (int, error) {
		return p.Director.Deploy(ctx, manifest, i.Operation.Intent.ContextID)
	})
}

// find looks for the task of an intent. A request that an earlier leader sent
// may still be under way: wait says for how long it must be given time. The
// oldest of several tasks counts; the others found nothing left to do.
func (l *leader) find(ctx context.Context, d director.Director, intent *serviceforge.Intent) (task int, found bool, wait time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, l.PostTimeout)
	defer cancel()
	tasks, err := d.Tasks(ctx, director.TaskQuery{ContextID: intent.ContextID})
	if err != nil {
		return 0, false, 0, err
	}
	if len(tasks) > 0 {
		return tasks[len(tasks)-1].ID, true, 0, nil
	}
	if intent.Term != l.term {
		wait = max(0, l.StrangerWait-l.Now().Sub(l.since))
	}
	return 0, false, wait, nil
}

// reason returns the whole reason of a failed task, for the operator: the
// result is cut at 128 characters, the last event is not (WIRE.md 310). Secrets
// of the instance are not in it.
func (l *leader) reason(ctx context.Context, d director.Director, i *serviceforge.Instance, t director.Task) string {
	if t.ID == 0 {
		return "the task is not known any more"
	}
	events, err := d.Events(ctx, t.ID, 0)
	if err != nil {
		events = nil // its result is better than nothing
	}
	return verdict.Redact(i, verdict.LastWords(t, events))
}
