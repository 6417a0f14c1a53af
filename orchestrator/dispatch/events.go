package dispatch

import (
	"context"
)

// eventReads bounds what progress may cost a director: two reads a second.
const eventReads = 2

// look is an instance whose task's events are to be read.
type look struct {
	instance string
	task     int
}

// Look has the events of an instance's task read, unless the budget is used up or
// the director is slow: then it is to be asked for again.
func (p *Dispatcher) Look(instance string, task int) {
	select {
	case p.looks <- look{instance, task}:
	default:
	}
}

// read reads the events that are looked at, within the budget, until ctx ends.
func (p *Dispatcher) read(ctx context.Context) {
	for p.budget.events.Wait(ctx) == nil {
		select {
		case <-ctx.Done():
			return
		case at := <-p.looks:
			p.readEvents(ctx, at)
			p.changed()
		}
	}
}

func (p *Dispatcher) readEvents(ctx context.Context, at look) {
	ctx, cancel := context.WithTimeout(ctx, p.common.PostTimeout)
	defer cancel()
	board := p.common.Board
	events, err := p.Director.Events(ctx, at.task, board.From(at.instance, at.task))
	if err == nil && len(events) > 0 {
		board.Take(at.instance, at.task, events)
	}
}
