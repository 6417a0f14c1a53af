package cluster_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/anishathalye/porcupine"
)

// phase is where an instance stands, as far as a platform can tell.
type phase string

const (
	absent   phase = "absent"
	creating phase = "creating"
	ready    phase = "ready"
	broken   phase = "broken" // its creation failed
	deleting phase = "deleting"
	stuck    phase = "stuck" // its deletion failed
)

// standing is a state of the model.
type standing struct {
	phase phase
	op    string // the last operation's id; "" = nobody was told it yet
}

// later are the states an instance comes to by itself: the engine works
// whenever it likes.
func (s standing) later() []standing {
	switch s.phase {
	case creating:
		return []standing{s, {ready, s.op}, {broken, s.op}}
	case deleting:
		return []standing{s, {absent, s.op}, {stuck, s.op}}
	}
	return []standing{s}
}

// record is the model of an instance's record.
var record = porcupine.NondeterministicModel{
	Init: func() []any { return []any{standing{phase: absent}} },
	Step: func(state, input, output any) (next []any) {
		for _, s := range state.(standing).later() {
			for _, after := range s.step(input.(call), output.(answer)) {
				next = append(next, after)
			}
		}
		return next
	},
}

// step returns the states that are possible after a call was answered like
// that; none = the answer is wrong.
func (s standing) step(in call, out answer) []standing {
	switch in.verb {
	case "PUT":
		return s.put(out)
	case "DELETE":
		return s.remove(out)
	case "POLL":
		return s.poll(in.op, out)
	}
	there := s.phase == ready || s.phase == deleting || s.phase == stuck
	if there == (out.status == http.StatusOK) && (there || out.status == http.StatusNotFound) {
		return []standing{s}
	}
	return nil
}

func (s standing) put(out answer) []standing {
	begun := standing{creating, out.op}
	switch {
	case out.status == 0 && s.phase == absent:
		return []standing{s, begun}
	case out.status == 0:
		return []standing{s}
	case s.phase == absent && out.status == http.StatusAccepted:
		return []standing{begun}
	case s.phase == creating && out.status == http.StatusAccepted:
		return s.named(out.op)
	case s.phase == ready && out.status == http.StatusOK,
		s.phase == broken && out.status == http.StatusConflict,
		(s.phase == deleting || s.phase == stuck) && out.status == http.StatusUnprocessableEntity:
		return []standing{s}
	}
	return nil
}

func (s standing) remove(out answer) []standing {
	begun := standing{deleting, out.op}
	switch {
	case out.status == 0 && s.phase != absent && s.phase != deleting:
		return []standing{s, begun}
	case out.status == 0:
		return []standing{s}
	case s.phase == absent && out.status == http.StatusGone:
		return []standing{s}
	case s.phase == deleting && out.status == http.StatusAccepted:
		return s.named(out.op)
	case s.phase != absent && out.status == http.StatusAccepted:
		return []standing{begun}
	}
	return nil
}

// poll: of the last operation the truth is told; of earlier ones whatever is
// known of them or of the last one.
func (s standing) poll(op string, out answer) []standing {
	if s.op != "" && s.op != op || s.op == "" && s.phase == absent {
		return []standing{s}
	}
	told := map[phase]string{creating: "in progress", ready: "succeeded", broken: "failed", deleting: "in progress", absent: "succeeded", stuck: "failed"}
	if out.status == http.StatusOK && out.state == told[s.phase] {
		return s.named(op)
	}
	return nil
}

// named says that this is the operation's id, as far as that can be.
func (s standing) named(op string) []standing {
	if s.op != "" && s.op != op {
		return nil
	}
	return []standing{{s.phase, op}}
}

// at makes a piece of a history.
func at(begin, end int64, in call, out answer) porcupine.Operation {
	return porcupine.Operation{Input: in, Output: out, Call: begin, Return: end}
}

// The checker takes what is right and finds what is not: else it proves nothing.
func TestTheCheckerCanFail(t *testing.T) {
	accepted := func(op string) answer { return answer{status: http.StatusAccepted, op: op} }
	polled := func(state string) answer { return answer{status: http.StatusOK, state: state} }
	put, remove, get := call{verb: "PUT", id: "i"}, call{verb: "DELETE", id: "i"}, call{verb: "GET", id: "i"}
	poll := func(op string) call { return call{verb: "POLL", id: "i", op: op} }
	ok, missing := answer{status: http.StatusOK}, answer{status: http.StatusNotFound}
	created := []porcupine.Operation{at(0, 10, put, accepted("x")), at(20, 30, poll("x"), polled("in progress")), at(40, 50, poll("x"), polled("succeeded"))}
	deleted := append(slices.Clone(created), at(60, 70, remove, accepted("y")), at(80, 90, poll("y"), polled("in progress")), at(100, 110, poll("y"), polled("succeeded")))
	cases := []struct {
		name  string
		calls []porcupine.Operation
		right bool
	}{
		{"created and seen", append(slices.Clone(created), at(60, 70, get, ok)), true},
		{"deleted and seen to be gone", append(slices.Clone(deleted), at(120, 130, get, missing)), true},
		{"a stale poll: in progress after it had succeeded", append(slices.Clone(created), at(60, 70, poll("x"), polled("in progress"))), false},
		{"two polls at the same time", append(slices.Clone(created[:2]), at(40, 60, poll("x"), polled("succeeded")), at(50, 70, poll("x"), polled("in progress"))), true},
		{"a poll answered for an earlier operation", append(slices.Clone(deleted[:4]), at(80, 90, poll("y"), polled("succeeded")), at(100, 110, get, ok)), false},
		{"an instance that was created is not found", append(slices.Clone(created), at(60, 70, get, missing)), false},
		{"a deleted instance is found again", append(slices.Clone(deleted), at(120, 130, get, ok)), false},
		{"a repeated request begins a second operation", append(slices.Clone(created[:2]), at(40, 50, put, accepted("z"))), false},
		{"an unknown request had happened", []porcupine.Operation{at(0, 1<<62, put, answer{}), at(20, 30, put, accepted("x")), at(40, 50, poll("x"), polled("succeeded"))}, true},
		{"an unknown request happens late", []porcupine.Operation{at(0, 1<<62, put, answer{}), at(20, 30, get, missing), at(40, 50, get, ok)}, true},
		{"an accepted request is lost", append(slices.Clone(created[:1]), at(20, 30, remove, answer{status: http.StatusGone})), false},
	}
	for _, c := range cases {
		if got := porcupine.CheckOperations(record.ToModel(), c.calls); got != c.right {
			t.Errorf("%s: the checker says %v", c.name, got)
		}
	}
}
