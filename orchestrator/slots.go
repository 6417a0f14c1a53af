package orchestrator

import (
	"slices"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/store"
)

// The verbs of intents.
const (
	deploy  = "deploy"
	destroy = "delete"
)

// admit gives an instance one of the pool's slots for a verb, or a place in the
// line. Behind an open breaker all wait, but for one that is let through to see
// how things are.
func (p *poller) admit(id, verb string) bool {
	blocked := p.breaker.blocks(verb)
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, has := p.inFlight[id]; has {
		if !blocked || p.breaker.try(id) {
			return true
		}
		delete(p.inFlight, id) // back to the head of the line
		p.waiting = slices.Insert(p.waiting, 0, id)
		p.verbs[id] = verb
		return false
	}
	if _, waits := p.verbs[id]; !waits {
		p.waiting = append(p.waiting, id)
	}
	p.verbs[id] = verb
	free := p.pool.MaxInFlight - len(p.inFlight)
	if free <= 0 || (blocked && !p.breaker.try(id)) || (!blocked && p.before(id, free)) {
		return false
	}
	p.inFlight[id] = struct{}{}
	p.leave(id)
	return true
}

// before says whether at least n instances that may go now stand in the line
// before this one. p.mu is held.
func (p *poller) before(id string, n int) bool {
	blocked := p.blocked()
	for _, w := range p.waiting {
		if w == id || n <= 0 {
			break
		}
		if !blocked[p.verbs[w]] {
			n--
		}
	}
	return n <= 0
}

func (p *poller) blocked() map[string]bool {
	return map[string]bool{deploy: p.breaker.blocks(deploy), destroy: p.breaker.blocks(destroy)}
}

// leave takes an instance out of the line. p.mu is held.
func (p *poller) leave(id string) {
	if _, waits := p.verbs[id]; waits {
		delete(p.verbs, id)
		p.waiting = slices.DeleteFunc(p.waiting, func(w string) bool { return w == id })
	}
}

// observe learns from a record that changed: who holds a slot, who is done.
func (p *poller) observe(id string, s store.Summary, found bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case !found || !s.Busy():
		p.release(id, true)
	case s.Pool != p.pool.Name:
		if _, left := p.inFlight[id]; left { // for another pool
			p.release(id, true)
		}
	case s.Step == serviceforge.Deployed:
		p.release(id, false)
	case s.Step == serviceforge.Rendered || s.Step == serviceforge.Submitted || s.Step == serviceforge.Leaving:
		p.inFlight[id] = struct{}{}
		p.leave(id)
	}
}

// release frees the instance's slot for the next in line; over = nothing of it
// is of interest any more. p.mu is held.
func (p *poller) release(id string, over bool) {
	delete(p.inFlight, id)
	if over {
		p.leave(id)
		p.breaker.over(id)
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

// wakeLine has those looked at that may go now. p.mu is held.
func (p *poller) wakeLine() {
	free := p.pool.MaxInFlight - len(p.inFlight)
	if free <= 0 || len(p.waiting) == 0 {
		return
	}
	blocked := p.blocked()
	_, due := p.breaker.tryIn()
	for _, id := range p.waiting {
		if blocked[p.verbs[id]] && !due {
			continue
		}
		due = due && !blocked[p.verbs[id]]
		p.leader.queue.add(id)
		if free--; free == 0 {
			return
		}
	}
}

// turned is told by the breaker that it opened or closed.
func (p *poller) turned() {
	p.mu.Lock()
	p.wakeLine()
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}: // the poller tries how things are
	default:
	}
	select {
	case p.leader.turned <- struct{}{}:
	default:
	}
	known := p.breaker.state()
	p.leader.Log.Warn("a breaker turned", "pool", p.pool.Name, "open", known.Open(), "cause", known.Cause)
}

// position is the instance's place in the line, from 1; 0 = it is not in it.
func (p *poller) position(id string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Index(p.waiting, id) + 1
}
