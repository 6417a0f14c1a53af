package admin

import (
	"encoding/json"
	"time"

	"github.com/serviceforge/serviceforge"
)

// Failure is the JSON of every error answer.
type Failure struct {
	Code    serviceforge.Code `json:"code"`
	Message string            `json:"message"`
}

// Offering is a service offering with what a person needs to choose a plan.
type Offering struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	Description string `json:"description"`
	Bindable    bool   `json:"bindable"`
	Release     string `json:"release,omitempty"`
	Plans       []Plan `json:"plans"`
}

// Plan is one plan of an offering.
type Plan struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	Description string `json:"description"`
}

// Instance is a service instance as an operator sees it. A list leaves out
// what only the whole record has (Release, Facts, Task, Description, UpdatedAt).
type Instance struct {
	ID             string                      `json:"id"`
	ServiceID      string                      `json:"service_id"`
	PlanID         string                      `json:"plan_id"`
	Service        string                      `json:"service,omitempty"` // name; "" = no longer in the catalog
	Plan           string                      `json:"plan,omitempty"`
	Platform       string                      `json:"platform"`
	State          serviceforge.State          `json:"state"`
	Operation      serviceforge.Kind           `json:"operation"`
	OperationState serviceforge.OperationState `json:"operation_state"`
	Message        string                      `json:"message,omitempty"` // of a finished operation
	Deployment     string                      `json:"deployment"`
	Pool           string                      `json:"pool,omitempty"`
	Release        string                      `json:"release,omitempty"`
	Task           int                         `json:"bosh_task_id,omitempty"`
	Cause          string                      `json:"cause,omitempty"` // of a failure, for operators
	Facts          map[string][]string         `json:"facts,omitempty"`
	CreatedAt      time.Time                   `json:"created_at"`
	UpdatedAt      time.Time                   `json:"updated_at,omitzero"`
	Bindings       []string                    `json:"bindings,omitempty"` // ids
	// StaleBindings are those that hold other credentials than they would be
	// given now: the addresses moved, or an update changed them.
	StaleBindings []string `json:"stale_bindings,omitempty"`
}

// Order is the body of PUT /admin/v1/instances/{id}.
type Order struct {
	ServiceID  string          `json:"service_id"`
	PlanID     string          `json:"plan_id"`
	Name       string          `json:"name,omitempty"` // for people; kept in the context as instance_name
	Parameters json.RawMessage `json:"parameters,omitempty"`
}

// UpdateOrder is the body of PATCH /admin/v1/instances/{id}. What it leaves out
// stays.
type UpdateOrder struct {
	PlanID     string          `json:"plan_id,omitempty"`
	Parameters json.RawMessage `json:"parameters,omitempty"` // their members replace those of the instance
	Upgrade    bool            `json:"upgrade,omitempty"`    // moves it to the installed versions
}

// Accepted is the answer to a create, update or delete: poll Operation until it is done.
type Accepted struct {
	Operation string            `json:"operation"`
	Kind      serviceforge.Kind `json:"kind,omitempty"` // of a repair: what it does
	Done      bool              `json:"done"`           // nothing was left to do
}

// Progress is how far an operation has come.
type Progress struct {
	Kind        serviceforge.Kind           `json:"kind"`
	State       serviceforge.OperationState `json:"state"`
	Step        serviceforge.Step           `json:"step"`
	Description string                      `json:"description"`
	Stage       string                      `json:"stage,omitempty"`
	Node        string                      `json:"node,omitempty"`
	Percent     int                         `json:"percent"`
	RetryAfter  int                         `json:"retry_after,omitempty"` // seconds
}

// BindingOrder is the body of PUT /admin/v1/instances/{id}/bindings/{bid}.
type BindingOrder struct {
	Parameters json.RawMessage `json:"parameters,omitempty"`
}

// Unbound is what came of the end of a binding.
type Unbound struct {
	// UserStays: the service did not answer, or its users go with an update: the
	// user is revoked later.
	UserStays bool `json:"user_stays,omitempty"`
}

// Binding is a binding with its credentials.
type Binding struct {
	ID          string          `json:"id"`
	InstanceID  string          `json:"instance_id"`
	CreatedAt   time.Time       `json:"created_at"`
	Existed     bool            `json:"existed,omitempty"` // the same request had made it before
	Credentials json.RawMessage `json:"credentials"`
}

// Change is one line of an instance's history.
type Change struct {
	ID        string                      `json:"id"`
	At        time.Time                   `json:"at"`
	What      string                      `json:"what"` // the operation's kind, or "bind", "unbind"
	Operation string                      `json:"operation,omitempty"`
	Binding   string                      `json:"binding,omitempty"`
	Before    serviceforge.State          `json:"before,omitempty"`
	After     serviceforge.State          `json:"after"`
	Result    serviceforge.OperationState `json:"result"`
	Actor     string                      `json:"actor,omitempty"`
	Identity  string                      `json:"originating_identity,omitempty"` // as sent; untrusted
	Message   string                      `json:"message,omitempty"`
	Cause     string                      `json:"cause,omitempty"`
	Pool      string                      `json:"pool,omitempty"`
	Task      int                         `json:"bosh_task_id,omitempty"`
}

// Explanation tells where an instance stands, what it waits for, and what to do.
type Explanation struct {
	ID             string                      `json:"id"`
	State          serviceforge.State          `json:"state"`
	Operation      serviceforge.Kind           `json:"operation"`
	OperationID    string                      `json:"operation_id"`
	OperationState serviceforge.OperationState `json:"operation_state"`
	Step           serviceforge.Step           `json:"step"`
	Waits          string                      `json:"waits_for,omitempty"`
	Position       int                         `json:"position,omitempty"` // in the pool's line, from 1
	Until          time.Time                   `json:"until,omitzero"`     // when it goes on by itself
	Breaker        *Breaker                    `json:"breaker,omitempty"`  // the pool's, if it is open
	Message        string                      `json:"message,omitempty"`  // what the app developer is told
	Cause          string                      `json:"cause,omitempty"`
	Class          string                      `json:"class,omitempty"` // of the cause, e.g. "ips_exhausted"
	Advice         string                      `json:"advice,omitempty"`
	Findings       []SweepFinding              `json:"findings,omitempty"` // of the last sweep
	Pool           string                      `json:"pool,omitempty"`
	Deployment     string                      `json:"deployment"`
	Task           int                         `json:"bosh_task_id,omitempty"`
	Attempt        int                         `json:"attempt"`
	Failures       int                         `json:"failures"` // failed tasks
	Repeats        int                         `json:"repeats"`  // attempts in a row that did not get through
	StartedAt      time.Time                   `json:"started_at"`
	FinishedAt     time.Time                   `json:"finished_at,omitzero"`
}

// Breaker is why a pool's new work waits.
type Breaker struct {
	Away  bool      `json:"away,omitempty"` // the director does not answer
	Sick  bool      `json:"sick,omitempty"` // its tasks fail for reasons of the infrastructure
	Since time.Time `json:"since"`
	Cause string    `json:"cause"`
}

// EngineOrder is the body of PUT /admin/v1/engine.
type EngineOrder struct {
	Paused bool   `json:"paused"`
	Reason string `json:"reason,omitempty"`
}

// Engine tells whether the engine works, and on which replica.
type Engine struct {
	Paused bool      `json:"paused"`
	Actor  string    `json:"actor,omitempty"` // who said so last
	Reason string    `json:"reason,omitempty"`
	At     time.Time `json:"at,omitzero"`
	Leader string    `json:"leader,omitempty"` // "" = no replica leads at the moment
}
