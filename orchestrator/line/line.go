// Package line orders those who wait for a director, and foretells when it is
// whose turn. It is plain data and words.
package line

import (
	"cmp"
	"container/list"
	"iter"
	"slices"
)

// Ticket is an instance's place in a line.
type Ticket struct {
	Instance     string
	Organization string
	Plan         string
	Verb         string // what is to be asked: deploy, destroy or errand
	Upkeep       bool   // nobody waits for it: it comes after all work of users
	Since        string // the operation's id: they sort by the time of their acceptance
}

// Line is the order in which those that wait for a director have their turns:
// users' work before maintenance, in both the organizations in rotation, within
// an organization the oldest first. It is plain data: no clock, no lock.
// What it costs does not grow with its length, but for a copy within one
// organization's part.
type Line struct {
	tickets map[string]*Ticket // by instance
	work    ring               // of users
	upkeep  ring
}

// New returns an empty line.
func New() *Line {
	return &Line{tickets: map[string]*Ticket{}, work: ring{at: map[string]*list.Element{}}, upkeep: ring{at: map[string]*list.Element{}}}
}

func (l *Line) ring(t *Ticket) *ring {
	if t.Upkeep {
		return &l.upkeep
	}
	return &l.work
}

// Add gives an instance a place, unless it has the same already.
func (l *Line) Add(t Ticket) {
	if old := l.tickets[t.Instance]; old != nil {
		if *old == t {
			return
		}
		l.Leave(t.Instance)
	}
	l.tickets[t.Instance] = &t
	l.ring(&t).add(&t)
}

// Back returns a turn that was taken and not used: the next one is its
// organization's.
func (l *Line) Back(t Ticket) {
	l.Add(t)
	r := l.ring(&t)
	r.members.MoveToFront(r.at[t.Organization])
}

// Leave takes an instance out of the line, wherever it stands.
func (l *Line) Leave(instance string) { l.remove(instance, false) }

// Take is the instance's turn: its organization comes last now.
func (l *Line) Take(instance string) { l.remove(instance, true) }

func (l *Line) remove(instance string, turn bool) {
	if t := l.tickets[instance]; t != nil {
		delete(l.tickets, instance)
		l.ring(t).remove(t, turn)
	}
}

// Has says whether the instance is in the line.
func (l *Line) Has(instance string) bool { return l.tickets[instance] != nil }

// Len is how many wait.
func (l *Line) Len() int { return len(l.tickets) }

// Turns are the tickets in the order of their turns, without those whose verb
// is blocked.
func (l *Line) Turns(blocked map[string]bool) iter.Seq[*Ticket] {
	return func(yield func(*Ticket) bool) {
		_ = l.work.turns(blocked, yield) && l.upkeep.turns(blocked, yield)
	}
}

// Among says whether one of the next n turns is the instance's.
func (l *Line) Among(instance string, n int, blocked map[string]bool) bool {
	for t := range l.Turns(blocked) {
		if n--; n < 0 {
			return false
		}
		if t.Instance == instance {
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
	waiting map[string][]*Ticket
}

func byAge(a, b *Ticket) int {
	return cmp.Or(cmp.Compare(a.Since, b.Since), cmp.Compare(a.Instance, b.Instance))
}

func (r *ring) add(t *Ticket) {
	e := r.at[t.Organization]
	if e == nil {
		e = r.members.PushBack(&member{waiting: map[string][]*Ticket{}})
		r.at[t.Organization] = e
	}
	waiting := e.Value.(*member).waiting
	at, _ := slices.BinarySearchFunc(waiting[t.Verb], t, byAge)
	waiting[t.Verb] = slices.Insert(waiting[t.Verb], at, t)
}

func (r *ring) remove(t *Ticket, turn bool) {
	e := r.at[t.Organization]
	waiting := e.Value.(*member).waiting
	at, _ := slices.BinarySearchFunc(waiting[t.Verb], t, byAge)
	if waiting[t.Verb] = slices.Delete(waiting[t.Verb], at, at+1); len(waiting[t.Verb]) == 0 {
		delete(waiting, t.Verb)
	}
	switch {
	case len(waiting) == 0:
		r.members.Remove(e)
		delete(r.at, t.Organization)
	case turn:
		r.members.MoveToBack(e)
	}
}

// turns says whether more are wanted.
func (r *ring) turns(blocked map[string]bool, yield func(*Ticket) bool) bool {
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
type cursor struct{ rest [][]*Ticket }

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
func (c *cursor) next() *Ticket {
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
