package orchestrator

import (
	"cmp"
	"container/list"
	"iter"
	"slices"

	"github.com/serviceforge/serviceforge"
)

// ticket is an instance's place in a line.
type ticket struct {
	instance     string
	organization string
	plan         string
	verb         string // what is to be asked: deploy, destroy or errand
	upkeep       bool   // nobody waits for it: it comes after all work of users
	since        string // the operation's id: they sort by the time of their acceptance
}

// isUpkeep says whether an operation of the kind is maintenance.
func isUpkeep(k serviceforge.Kind) bool { return k == serviceforge.Repair }

// line is the order in which those that wait for a director have their turns:
// users' work before maintenance, in both the organizations in rotation, within
// an organization the oldest first. It is plain data: no clock, no lock.
// What it costs does not grow with its length, but for a copy within one
// organization's part.
type line struct {
	tickets map[string]*ticket // by instance
	work    ring               // of users
	upkeep  ring
}

func newLine() *line {
	return &line{tickets: map[string]*ticket{}, work: ring{at: map[string]*list.Element{}}, upkeep: ring{at: map[string]*list.Element{}}}
}

func (l *line) ring(t *ticket) *ring {
	if t.upkeep {
		return &l.upkeep
	}
	return &l.work
}

// add gives an instance a place, unless it has the same already.
func (l *line) add(t ticket) {
	if old := l.tickets[t.instance]; old != nil {
		if *old == t {
			return
		}
		l.leave(t.instance)
	}
	l.tickets[t.instance] = &t
	l.ring(&t).add(&t)
}

// back returns a turn that was taken and not used: the next one is its
// organization's.
func (l *line) back(t ticket) {
	l.add(t)
	r := l.ring(&t)
	r.members.MoveToFront(r.at[t.organization])
}

// leave takes an instance out of the line, wherever it stands.
func (l *line) leave(instance string) { l.remove(instance, false) }

// take is the instance's turn: its organization comes last now.
func (l *line) take(instance string) { l.remove(instance, true) }

func (l *line) remove(instance string, turn bool) {
	if t := l.tickets[instance]; t != nil {
		delete(l.tickets, instance)
		l.ring(t).remove(t, turn)
	}
}

// has says whether the instance is in the line.
func (l *line) has(instance string) bool { return l.tickets[instance] != nil }

func (l *line) len() int { return len(l.tickets) }

// turns are the tickets in the order of their turns, without those whose verb
// is blocked.
func (l *line) turns(blocked map[string]bool) iter.Seq[*ticket] {
	return func(yield func(*ticket) bool) {
		_ = l.work.turns(blocked, yield) && l.upkeep.turns(blocked, yield)
	}
}

// among says whether one of the next n turns is the instance's.
func (l *line) among(instance string, n int, blocked map[string]bool) bool {
	for t := range l.turns(blocked) {
		if n--; n < 0 {
			return false
		}
		if t.instance == instance {
			return true
		}
	}
	return false
}

// ring holds the organizations that wait, the one whose turn it is first.
type ring struct {
	members list.List // of *member
	at      map[string]*list.Element
}

// member is an organization's part of a line: by verb, the oldest first.
type member struct {
	waiting map[string][]*ticket
}

func byAge(a, b *ticket) int {
	return cmp.Or(cmp.Compare(a.since, b.since), cmp.Compare(a.instance, b.instance))
}

func (r *ring) add(t *ticket) {
	e := r.at[t.organization]
	if e == nil {
		e = r.members.PushBack(&member{waiting: map[string][]*ticket{}})
		r.at[t.organization] = e
	}
	waiting := e.Value.(*member).waiting
	at, _ := slices.BinarySearchFunc(waiting[t.verb], t, byAge)
	waiting[t.verb] = slices.Insert(waiting[t.verb], at, t)
}

func (r *ring) remove(t *ticket, turn bool) {
	e := r.at[t.organization]
	waiting := e.Value.(*member).waiting
	at, _ := slices.BinarySearchFunc(waiting[t.verb], t, byAge)
	if waiting[t.verb] = slices.Delete(waiting[t.verb], at, at+1); len(waiting[t.verb]) == 0 {
		delete(waiting, t.verb)
	}
	switch {
	case len(waiting) == 0:
		r.members.Remove(e)
		delete(r.at, t.organization)
	case turn:
		r.members.MoveToBack(e)
	}
}

// turns says whether more are wanted.
func (r *ring) turns(blocked map[string]bool, yield func(*ticket) bool) bool {
	var more []*cursor // of organizations that may have another turn
	for e := r.members.Front(); e != nil; e = e.Next() {
		c := e.Value.(*member).from(blocked)
		if t := c.next(); t == nil {
			continue
		} else if !yield(t) {
			return false
		}
		more = append(more, c)
	}
	for len(more) > 0 {
		still := more[:0]
		for _, c := range more {
			if t := c.next(); t == nil {
				continue
			} else if !yield(t) {
				return false
			}
			still = append(still, c)
		}
		more = still
	}
	return true
}

// cursor goes through an organization's tickets by age.
type cursor struct{ rest [][]*ticket }

func (m *member) from(blocked map[string]bool) *cursor {
	c := &cursor{}
	for verb, waiting := range m.waiting {
		if !blocked[verb] {
			c.rest = append(c.rest, waiting)
		}
	}
	return c
}

// next returns nil at the end.
func (c *cursor) next() *ticket {
	oldest := -1
	for n, rest := range c.rest {
		if len(rest) > 0 && (oldest < 0 || byAge(rest[0], c.rest[oldest][0]) < 0) {
			oldest = n
		}
	}
	if oldest < 0 {
		return nil
	}
	t := c.rest[oldest][0]
	c.rest[oldest] = c.rest[oldest][1:]
	return t
}
