package orchestrator

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// tickets makes a line of words like "a1" (organization a, accepted as the
// first), "a2-" (a delete), "b3~" (maintenance).
func tickets(words string) []ticket {
	var all []ticket
	for word := range strings.FieldsSeq(words) {
		t := ticket{instance: word, organization: word[:1], verb: deploy, since: word[1:2]}
		switch word[2:] {
		case "-":
			t.verb = destroy
		case "~":
			t.upkeep = true
		}
		all = append(all, t)
	}
	return all
}

func order(l *line, blocked map[string]bool) string {
	var names []string
	for t := range l.turns(blocked) {
		names = append(names, t.instance)
	}
	return strings.Join(names, " ")
}

func TestTheOrderOfALine(t *testing.T) {
	for _, c := range []struct {
		what, add string
		do        func(l *line)
		blocked   map[string]bool
		want      string
	}{
		{what: "the oldest first", add: "a2 a1 a3", want: "a1 a2 a3"},
		{what: "organizations take turns", add: "a1 a2 a3 b4 c5 c6", want: "a1 b4 c5 a2 c6 a3"},
		{what: "users before maintenance", add: "a1~ b2~ a3 b4", want: "a3 b4 a1~ b2~"},
		{what: "a turn is over", add: "a1 a2 b3", do: func(l *line) { l.take("a1") }, want: "b3 a2"},
		{what: "one leaves", add: "a1 a2 b3", do: func(l *line) { l.leave("a1") }, want: "a2 b3"},
		{what: "a turn was not used", add: "b1 a2 a3", do: func(l *line) { l.take("b1"); l.take("a2"); l.back(tickets("a2")[0]) }, want: "a2 a3"},
		{what: "not used, with others", add: "a1 b2 c3", do: func(l *line) { l.take("a1"); l.back(tickets("a1")[0]) }, want: "a1 b2 c3"},
		{what: "deletes go on", add: "a1 a2- b3", blocked: map[string]bool{deploy: true}, want: "a2-"},
		{what: "what it waits for changes", add: "a1 a2 b3", do: func(l *line) {
			l.add(ticket{instance: "a2", organization: "a", verb: destroy, since: "0"})
		}, want: "a2 b3 a1"},
		{what: "twice is once", add: "a1 b2 a1 b2", want: "a1 b2"},
		{what: "nobody", add: "a1", do: func(l *line) { l.take("a1"); l.leave("a1") }, want: ""},
	} {
		t.Run(c.what, func(t *testing.T) {
			l := newLine()
			for _, ticket := range tickets(c.add) {
				l.add(ticket)
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
		l := newLine()
		for n := range 60 {
			l.add(ticket{
				instance: fmt.Sprint(n), organization: fmt.Sprint(r.IntN(5)), since: fmt.Sprintf("%03d", r.IntN(1000)),
				verb: []string{deploy, destroy}[r.IntN(2)], upkeep: r.IntN(4) == 0,
			})
			switch gone := fmt.Sprint(r.IntN(n + 1)); r.IntN(4) {
			case 0:
				l.leave(gone)
			case 1:
				l.take(gone)
			}
		}
		foretold := order(l, nil)
		var turns []ticket
		for l.len() > 0 {
			for next := range l.turns(nil) {
				if !l.among(next.instance, 1, nil) || !l.has(next.instance) {
					t.Fatalf("seed %d: the first is not among the first", seed)
				}
				turns = append(turns, *next)
				break
			}
			l.take(turns[len(turns)-1].instance)
		}
		var names []string
		for _, turn := range turns {
			names = append(names, turn.instance)
		}
		if happened := strings.Join(names, " "); happened != foretold {
			t.Fatalf("seed %d: foretold %s\nhappened %s", seed, foretold, happened)
		}
		fair(t, seed, turns)
	}
}

func fair(t *testing.T, seed uint64, turns []ticket) {
	t.Helper()
	for n, turn := range turns {
		served := map[string]bool{turn.organization: true} // since then, of its class
		for _, other := range turns[n+1:] {
			same := other.organization == turn.organization
			switch {
			case turn.upkeep && !other.upkeep:
				t.Fatalf("seed %d: maintenance %v before %v", seed, turn, other)
			case turn.upkeep != other.upkeep:
			case same && byAge(&turn, &other) > 0:
				t.Fatalf("seed %d: %v before the older %v", seed, turn, other)
			case same:
				served["again"] = true
			case served["again"] && !served[other.organization]:
				t.Fatalf("seed %d: two turns of %s while %s waits", seed, turn.organization, other.organization)
			default:
				served[other.organization] = true
			}
		}
	}
}

// A wake looks at the next few, whatever the line's length.
func BenchmarkALongLine(b *testing.B) {
	l := newLine()
	for n := range 5000 {
		l.add(ticket{instance: fmt.Sprint(n), organization: fmt.Sprint(n % 7), verb: deploy, since: fmt.Sprintf("%09d", n)})
	}
	for n := 5000; b.Loop(); n++ {
		for t := range l.turns(nil) {
			l.take(t.instance)
			break
		}
		l.add(ticket{instance: fmt.Sprint(n), organization: fmt.Sprint(n % 7), verb: deploy, since: fmt.Sprintf("%09d", n)})
		l.among(fmt.Sprint(n), 2, nil)
	}
}
