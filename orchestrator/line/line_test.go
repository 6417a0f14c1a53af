package line

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge"
)

// tickets makes a line of words like "a1" (organization a, accepted as the
// first), "a2-" (a delete), "b3~" (maintenance).
func tickets(words string) []Ticket {
	var all []Ticket
	for word := range strings.FieldsSeq(words) {
		t := Ticket{Instance: word, Organization: word[:1], Verb: serviceforge.VerbDeploy, Since: word[1:2]}
		switch word[2:] {
		case "-":
			t.Verb = serviceforge.VerbDelete
		case "~":
			t.Upkeep = true
		}
		all = append(all, t)
	}
	return all
}

func order(l *Line, blocked map[string]bool) string {
	var names []string
	for t := range l.Turns(blocked) {
		names = append(names, t.Instance)
	}
	return strings.Join(names, " ")
}

func TestTheOrderOfALine(t *testing.T) {
	for _, c := range []struct {
		what, add string
		do        func(l *Line)
		blocked   map[string]bool
		want      string
	}{
		{what: "the oldest first", add: "a2 a1 a3", want: "a1 a2 a3"},
		{what: "organizations take turns", add: "a1 a2 a3 b4 c5 c6", want: "a1 b4 c5 a2 c6 a3"},
		{what: "users before maintenance", add: "a1~ b2~ a3 b4", want: "a3 b4 a1~ b2~"},
		{what: "a turn is over", add: "a1 a2 b3", do: func(l *Line) { l.Take("a1") }, want: "b3 a2"},
		{what: "one leaves", add: "a1 a2 b3", do: func(l *Line) { l.Leave("a1") }, want: "a2 b3"},
		{what: "a turn was not used", add: "b1 a2 a3", do: func(l *Line) { l.Take("b1"); l.Take("a2"); l.Back(tickets("a2")[0]) }, want: "a2 a3"},
		{what: "not used, with others", add: "a1 b2 c3", do: func(l *Line) { l.Take("a1"); l.Back(tickets("a1")[0]) }, want: "a1 b2 c3"},
		{what: "deletes go on", add: "a1 a2- b3", blocked: map[string]bool{serviceforge.VerbDeploy: true}, want: "a2-"},
		{what: "what it waits for changes", add: "a1 a2 b3", do: func(l *Line) {
			l.Add(Ticket{Instance: "a2", Organization: "a", Verb: serviceforge.VerbDelete, Since: "0"})
		}, want: "a2 b3 a1"},
		{what: "twice is once", add: "a1 b2 a1 b2", want: "a1 b2"},
		{what: "nobody", add: "a1", do: func(l *Line) { l.Take("a1"); l.Leave("a1") }, want: ""},
	} {
		t.Run(c.what, func(t *testing.T) {
			l := New()
			for _, ticket := range tickets(c.add) {
				l.Add(ticket)
			}
			if c.do != nil {
				c.do(l)
			}
			if got := order(l, c.blocked); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

// Whoever comes and goes: what is foretold is what happens, everybody has one
// turn, no organization has two while another one waits, the older one of an
// organization is first, and maintenance waits for all users.
func TestALineIsFair(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 0))
		l := New()
		for n := range 60 {
			l.Add(Ticket{
				Instance: fmt.Sprint(n), Organization: fmt.Sprint(r.IntN(5)), Since: fmt.Sprintf("%03d", r.IntN(1000)),
				Verb: []string{serviceforge.VerbDeploy, serviceforge.VerbDelete}[r.IntN(2)], Upkeep: r.IntN(4) == 0,
			})
			switch gone := fmt.Sprint(r.IntN(n + 1)); r.IntN(4) {
			case 0:
				l.Leave(gone)
			case 1:
				l.Take(gone)
			}
		}
		foretold := order(l, nil)
		var turns []Ticket
		for l.Len() > 0 {
			for next := range l.Turns(nil) {
				if !l.Among(next.Instance, 1, nil) || !l.Has(next.Instance) {
					t.Fatalf("seed %d: the first is not among the first", seed)
				}
				turns = append(turns, *next)
				break
			}
			l.Take(turns[len(turns)-1].Instance)
		}
		var names []string
		for _, turn := range turns {
			names = append(names, turn.Instance)
		}
		if happened := strings.Join(names, " "); happened != foretold {
			t.Fatalf("seed %d: foretold %s\nhappened %s", seed, foretold, happened)
		}
		fair(t, seed, turns)
	}
}

func fair(t *testing.T, seed uint64, turns []Ticket) {
	t.Helper()
	for n, turn := range turns {
		served := map[string]bool{turn.Organization: true} // since then, of its class
		for _, other := range turns[n+1:] {
			same := other.Organization == turn.Organization
			switch {
			case turn.Upkeep && !other.Upkeep:
				t.Fatalf("seed %d: maintenance %v before %v", seed, turn, other)
			case turn.Upkeep != other.Upkeep:
			case same && byAge(&turn, &other) > 0:
				t.Fatalf("seed %d: %v before the older %v", seed, turn, other)
			case same:
				served["again"] = true
			case served["again"] && !served[other.Organization]:
				t.Fatalf("seed %d: two turns of %s while %s waits", seed, turn.Organization, other.Organization)
			default:
				served[other.Organization] = true
			}
		}
	}
}

// A wake looks at the next few, whatever the line's length.
func BenchmarkALongLine(b *testing.B) {
	l := New()
	for n := range 5000 {
		l.Add(Ticket{Instance: fmt.Sprint(n), Organization: fmt.Sprint(n % 7), Verb: serviceforge.VerbDeploy, Since: fmt.Sprintf("%09d", n)})
	}
	for n := 5000; b.Loop(); n++ {
		for t := range l.Turns(nil) {
			l.Take(t.Instance)
			break
		}
		l.Add(Ticket{Instance: fmt.Sprint(n), Organization: fmt.Sprint(n % 7), Verb: serviceforge.VerbDeploy, Since: fmt.Sprintf("%09d", n)})
		l.Among(fmt.Sprint(n), 2, nil)
	}
}
