package dispatch

import (
	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator/line"
	"github.com/serviceforge/serviceforge/store"
)

// Admit gives an instance one of the pool's slots for a verb, or a place in the
// line. Behind an open breaker all wait, but for one that is let through to see
// how things are.
func (p *Dispatcher) Admit(i *serviceforge.Instance, verb string) bool {
	defer p.changed()
	t := line.Ticket{
		Instance: i.ID, Organization: i.OrganizationGUID, Plan: i.PlanID, Verb: verb,
		Upkeep: isUpkeep(i.Operation.Kind), Since: i.Operation.ID,
	}
	blocked := p.Breaker.Blocks(verb)
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, has := p.inFlight[i.ID]; has {
		if !blocked || p.Breaker.Try(i.ID) {
			p.begin(i, verb)
			return true
		}
		delete(p.inFlight, i.ID)
		p.line.Back(t)
		return false
	}
	p.line.Add(t)
	free := p.free()
	if free <= 0 || (blocked && !p.Breaker.Try(i.ID)) || (!blocked && !p.line.Among(i.ID, free, p.blocked())) {
		return false
	}
	p.begin(i, verb)
	p.line.Take(i.ID)
	return true
}

// isUpkeep says whether an operation of the kind is maintenance.
func isUpkeep(k serviceforge.Kind) bool { return k == serviceforge.Repair }

// begin gives the instance a slot. The first one begins its deadline, which is
// stored with what it is used for. p.mu is held.
func (p *Dispatcher) begin(i *serviceforge.Instance, verb string) {
	now := p.common.Now()
	p.inFlight[i.ID] = flight{plan: i.PlanID, verb: verb, since: now, whole: true, revision: i.Revision}
	if i.Operation.BegunAt.IsZero() {
		i.Operation.BegunAt = now.UTC()
	}
}

// ticketOf makes the ticket that admit would make of the record.
func ticketOf(s *store.Summary) line.Ticket {
	t := line.Ticket{Instance: s.ID, Organization: s.Organization, Plan: s.PlanID, Verb: serviceforge.VerbDeploy, Upkeep: isUpkeep(s.Kind), Since: s.OperationID}
	switch {
	case s.Step == serviceforge.Checked || s.Step == serviceforge.Errand:
		t.Verb = serviceforge.VerbErrand
	case s.Kind == serviceforge.Deprovision:
		t.Verb = serviceforge.VerbDelete
	}
	return t
}

// Await has an instance stand in the line; it is looked at when it is its turn.
func (p *Dispatcher) Await(s *store.Summary) {
	t := ticketOf(s)
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, has := p.inFlight[t.Instance]; has {
		p.common.Queue.Add(t.Instance)
		return
	}
	p.line.Add(t)
	p.wakeLine()
	p.changed()
}

// free is how many slots nobody holds. p.mu is held.
func (p *Dispatcher) free() int { return p.Pool.MaxInFlight - len(p.inFlight) }

func (p *Dispatcher) blocked() map[string]bool {
	return map[string]bool{serviceforge.VerbDeploy: p.Breaker.Blocks(serviceforge.VerbDeploy), serviceforge.VerbDelete: p.Breaker.Blocks(serviceforge.VerbDelete), serviceforge.VerbErrand: p.Breaker.Blocks(serviceforge.VerbErrand)}
}

// Observe learns from a record that changed: who holds a slot, who is done.
func (p *Dispatcher) Observe(id string, s store.Summary, found bool) {
	elsewhere := s.Pool != p.Pool.Name && p.common.Promises.Pool(id) != p.Pool.Name
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case !found:
		p.learn(id) // a delete has ended
		p.release(id, true)
	case !s.Busy():
		p.release(id, true)
	case elsewhere:
		if _, left := p.inFlight[id]; left || p.line.Has(id) {
			p.release(id, true)
		}
	case s.Step == serviceforge.Deployed && s.Revision < p.inFlight[id].revision: // it has an errand under way since
	case s.Step == serviceforge.Deployed:
		p.learn(id)
		p.release(id, false)
	case s.AtDirector():
		if _, known := p.inFlight[id]; !known {
			p.inFlight[id] = flight{plan: s.PlanID, verb: ticketOf(&s).Verb, since: p.common.Now()}
		}
		p.line.Leave(id)
	case s.Step == serviceforge.Accepted && s.Pool != "": // it has something to end first
		p.line.Leave(id)
	}
}

// Forget lets an instance go that stood in the line by a promise.
func (p *Dispatcher) Forget(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.release(id, true)
}

// release frees the instance's slot for the next in line; over = nothing of it
// is of interest any more. p.mu is held.
func (p *Dispatcher) release(id string, over bool) {
	p.changed()
	delete(p.inFlight, id)
	if over {
		p.line.Leave(id)
		delete(p.due, id)
		p.Breaker.Over(id)
		for task, owner := range p.expected {
			if owner == id {
				delete(p.expected, task)
				delete(p.live, task)
			}
		}
		for task, o := range p.results {
			if o.instance == id {
				delete(p.results, task)
			}
		}
	}
	p.wakeLine()
}

// wakeLine has those looked at whose turn it is: as many as there are free
// slots, and one of those behind an open breaker when it is time to try.
// p.mu is held.
func (p *Dispatcher) wakeLine() {
	free := p.free()
	if free <= 0 {
		return
	}
	if after, some := p.Breaker.TryIn(); some && after == 0 {
		for t := range p.line.Turns(map[string]bool{serviceforge.VerbDelete: true, serviceforge.VerbErrand: true}) {
			p.common.Queue.Add(t.Instance)
			free--
			break
		}
	}
	for t := range p.line.Turns(p.blocked()) {
		if free--; free < 0 {
			return
		}
		p.common.Queue.Add(t.Instance)
	}
}

// turned is told by the breaker that it opened or closed. Who has no more than
// a promise looks whether another pool can take it.
func (p *Dispatcher) turned() {
	p.mu.Lock()
	p.wakeLine()
	for t := range p.line.Turns(nil) {
		if p.common.Promises.Pool(t.Instance) == p.Pool.Name {
			p.common.Queue.Add(t.Instance)
		}
	}
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}: // watch tries how things are
	default:
	}
	select {
	case p.common.Turned <- struct{}{}:
	default:
	}
	known := p.Breaker.State()
	p.common.Log.Warn("a breaker turned", "pool", p.Pool.Name, "open", known.Open(), "cause", known.Cause)
}
