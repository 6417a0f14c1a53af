package serviceforge

import (
	"bytes"
	"encoding/json"
	"time"
)

// Kind is what an operation does.
type Kind string

// The kinds of operation.
const (
	Provision   Kind = "provision"
	Deprovision Kind = "deprovision"
	Repair      Kind = "repair" // verifies a running instance and learns its addresses again
	Update      Kind = "update" // gives a running instance another plan, other parameters or newer versions
	Bind        Kind = "bind"   // of a binding
	Unbind      Kind = "unbind" // of a binding
)

// OperationState is the state of an operation in OSB's own words
// ("Polling Last Operation: Body").
type OperationState string

// The three states OSB knows.
const (
	InProgress OperationState = "in progress"
	Succeeded  OperationState = "succeeded"
	Failed     OperationState = "failed"
)

// Step is how far an operation has come. Each step is stored before the next
// one begins, and each may be repeated.
type Step string

// The steps of a provision, in order; an update begins at Placed; a deprovision
// uses those from Accepted to Submitted, and Errand before its intent.
const (
	Accepted  Step = "accepted"  // the wish is stored
	Placed    Step = "placed"    // the pool is chosen and secrets are made
	Rendered  Step = "rendered"  // the intent is stored: what will be sent, and under which context id
	Submitted Step = "submitted" // the director has given a task id
	Deployed  Step = "deployed"  // the task is done
	Checked   Step = "checked"   // the service answers; its next errand waits for a worker
	Errand    Step = "errand"    // the intent to run an errand is stored, or its task is known
	// Leaving: the pool had no room, what stands there is being deleted; the way
	// begins anew in another pool.
	Leaving Step = "leaving"
	Ready   Step = "ready" // addresses are known, the service answers: finished
)

// Operation is one asynchronous change of an instance.
type Operation struct {
	ID       string // ULID
	Kind     Kind
	State    OperationState
	Step     Step
	Message  string // fit for the app developer
	Cause    string // for the operator: what the director or a driver said
	Identity string // X-Broker-API-Originating-Identity as sent; untrusted
	Actor    string // which authority asked, e.g. "platform cc" or "token 1"

	Intent Intent
	// Superseded is what an operation that this one took over had asked; its
	// task is cancelled and waited for first.
	Superseded Intent
	// Wish is what an update is to make of the instance; zero for other kinds.
	Wish Wish
	// Aftermath is what is known after a failure.
	Aftermath
	// Before is the failed update that a verification, which platforms do not
	// see, came after; nil = the operation before succeeded.
	Before *Outcome

	Attempt  int     // how often the current intent's step was begun anew
	Failures int     // tasks that ended in error
	Errands  Errands // how far it is with the errands of the service
	// Since is when the present look at the service, or run of an errand, began.
	Since time.Time
	// Tried are the pools that had no room when they were asked to deploy.
	Tried   []string
	Repeats int // requests in a row that did not get through
	// NotBefore is when the next attempt may be made; zero = now.
	NotBefore time.Time

	StartedAt time.Time // when it was accepted
	// BegunAt is when it had its first turn at the director: its deadline counts
	// from there. Zero = it waits, or needs none.
	BegunAt    time.Time
	FinishedAt time.Time
}

// Aftermath tells what a failed operation left (OSB "Polling Last Operation:
// Body"). The zero Aftermath says what OSB takes for granted.
type Aftermath struct {
	Unusable     bool // the service does not serve any more: instance_usable is false
	Unrepeatable bool // the same update would fail in the same way: update_repeatable is false
}

// Errands is how far an operation is with the errands that its service wants
// run. The zero Errands has run none.
type Errands struct {
	Done     int    // of them have ended; the next one is in turn
	Failures int    // runs of the present one that failed
	Warning  string // of the last one that failed without stopping the operation
}

// Outcome is how an operation ended.
type Outcome struct {
	Kind    Kind
	State   OperationState
	Message string
	Aftermath
}

// Intent is what the engine is about to ask a director, stored before it asks.
// After a crash only an intent without a task is looked up, by its context id.
type Intent struct {
	ContextID string // "<operation>.<step>.<attempt>", ≤ 64 characters: X-Bosh-Context-Id
	Verb      string // VerbDeploy …
	Digest    string // SHA-256 of the manifest, hex; "" where none is sent
	Term      int64  // the leader that wrote it
	Task      int    // the director's answer; 0 = not known
}

// The verbs of intents.
const (
	VerbDeploy = "deploy"
	VerbDelete = "delete"
	VerbErrand = "errand"
	VerbReset  = "reset" // delete, to deploy anew
)

// Done says whether the operation has ended.
func (o *Operation) Done() bool { return o.State == Succeeded || o.State == Failed }

// EmptyJSON says whether a JSON object holds nothing.
func EmptyJSON(document []byte) bool {
	s := string(document)
	return s == "" || s == "null" || s == "{}"
}

// SameJSON compares two JSON documents by value; empty equals {} and null.
func SameJSON(a, b string) bool {
	return bytes.Equal(canonical(a), canonical(b))
}

func canonical(s string) []byte {
	var v any
	dec := json.NewDecoder(bytes.NewReader([]byte(s)))
	dec.UseNumber()
	if dec.Decode(&v) != nil || v == nil {
		return []byte("{}")
	}
	out, err := json.Marshal(v) // maps are written with sorted keys
	if err != nil {
		return []byte(s)
	}
	return out
}
