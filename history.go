package serviceforge

import (
	"strings"
	"time"
	"unicode/utf8"
)

// MaxTold bounds what others say and we keep: causes of failures and
// originating identities, in bytes.
const MaxTold = 2 << 10

// Change is one line of an instance's history. It never holds parameters or
// credentials.
type Change struct {
	ID        string // ULID
	At        time.Time
	What      string // the operation's kind
	Operation string // the operation's id
	Binding   string // whose operation it is; "" = the instance's
	Before    State  // "" = the instance did not exist
	After     State
	Result    OperationState // "in progress" = accepted, or a step on the way
	Actor     string         // which authority asked, e.g. "platform cc" or "token 1"
	Identity  string         // X-Broker-API-Originating-Identity as sent; untrusted, at most MaxTold
	Message   string         // what the app developer was told of a failure
	Cause     string         // what the operator is told, at most MaxTold
	Pool      string
	Task      int // the director's task; 0 = none
}

// Standing is what the history tells changes of.
type Standing struct {
	State     State
	Operation string // id
	Result    OperationState
	Failures  int
}

// Standing returns where the instance stands now.
func (i *Instance) Standing() Standing {
	return Standing{State: i.State, Operation: i.Operation.ID, Result: i.Operation.State, Failures: i.Operation.Failures}
}

// Cut shortens what somebody else said to MaxTold bytes of valid UTF-8.
func Cut(told string) string {
	told = strings.ToValidUTF8(told, "\uFFFD")
	if len(told) <= MaxTold {
		return told
	}
	end := MaxTold - len("…")
	for !utf8.RuneStart(told[end]) {
		end--
	}
	return told[:end] + "…"
}
