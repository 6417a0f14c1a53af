package orchestrator

import (
	"context"
	"encoding/json"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator/bindings"
	"github.com/serviceforge/serviceforge/store"
)

// ProvisionRequest asks for an instance (OSB "Provisioning").
type ProvisionRequest struct {
	serviceforge.Caller
	InstanceID        string
	ServiceID, PlanID string
	OrganizationGUID  string
	SpaceGUID         string
	Context           json.RawMessage // object or empty
	Parameters        json.RawMessage // object or empty
	AcceptsIncomplete bool
}

// DeprovisionRequest asks for the end of an instance (OSB "Deprovisioning").
// Empty ServiceID and PlanID are not compared (compatibility mode).
type DeprovisionRequest struct {
	serviceforge.Caller
	InstanceID        string
	ServiceID, PlanID string
	AcceptsIncomplete bool
}

// UpdateRequest asks for a change of an instance (OSB "Updating").
type UpdateRequest struct {
	serviceforge.Caller
	InstanceID string
	ServiceID  string
	PlanID     string          // empty = stays
	Context    json.RawMessage // object; empty = stays
	Parameters json.RawMessage // object, whose members replace those of the instance; or empty
	// Upgrade moves the instance to the installed versions.
	Upgrade           bool
	AcceptsIncomplete bool
}

// Accepted is the answer to a request that started, or had started, an operation.
type Accepted struct {
	Instance  serviceforge.Instance
	Operation string // the operation's id: the same for every repetition (OSB checklist 113, 201)
	Done      bool   // nothing is left to do: the same request was fulfilled before
}

// Provision records the wish for an instance and returns before any director
// is asked. Errors: Invalid, AsyncRequired, Conflict (another order under that
// id), Busy (it is being deleted), Exhausted (no pool), Unavailable (no store).
func (e *Engine) Provision(ctx context.Context, r ProvisionRequest) (Accepted, error) {
	return e.provision(ctx, r)
}

// Deprovision records the wish to delete an instance; it takes over a running
// provision. Errors: Invalid, AsyncRequired, Gone (no such instance), Unavailable.
func (e *Engine) Deprovision(ctx context.Context, r DeprovisionRequest) (Accepted, error) {
	return e.deprovision(ctx, r)
}

// Update records the wish for another plan, other parameters or newer versions.
// What needs no deployment (another context) is done at once, and nothing to
// change is no error: then Accepted is Done. Errors: Invalid, NotFound, Busy
// (another operation is running), AsyncRequired, Unprocessable (this change is
// not possible), Unavailable.
func (e *Engine) Update(ctx context.Context, r UpdateRequest) (Accepted, error) {
	return e.update(ctx, r)
}

// LastOperation answers a poll, from memory where that has the last word.
// operation may be empty or foreign; one of ours is answered with what is known
// of that operation or a newer one, never with what was before it, nor with less
// than any replica has told already. Errors: NotFound, Gone (the instance was
// deleted), Unavailable (etcd is away).
func (e *Engine) LastOperation(ctx context.Context, c serviceforge.Caller, instanceID, operation string) (serviceforge.Progress, error) {
	return e.lastOperation(ctx, c, instanceID, operation)
}

// Instance returns one instance. Errors: NotFound, Unavailable.
func (e *Engine) Instance(ctx context.Context, c serviceforge.Caller, instanceID string) (serviceforge.Instance, error) {
	return e.instance(ctx, c, instanceID)
}

// Instances returns what the caller may see, ordered by id, from memory once
// that knows everything that was written before. Errors: Unavailable.
func (e *Engine) Instances(ctx context.Context, c serviceforge.Caller) ([]store.Summary, error) {
	return e.instances(ctx, c)
}

// Bind makes credentials: one user of the service per binding. It asks no
// director. Errors: as those of bindings.Keeper.
func (e *Engine) Bind(ctx context.Context, r bindings.BindRequest) (bindings.Bound, error) {
	return e.bindings.Bind(ctx, r)
}

// Unbind revokes the binding's user and forgets the binding, in any state of it.
// Errors: as those of bindings.Keeper.
func (e *Engine) Unbind(ctx context.Context, r bindings.UnbindRequest) (bindings.Unbound, error) {
	return e.bindings.Unbind(ctx, r)
}

// LastBindingOperation answers a poll for a binding by one linearizable read.
// A binding that was deleted is remembered for a day. Errors: NotFound, Gone
// (it was deleted with its instance), Unavailable.
func (e *Engine) LastBindingOperation(ctx context.Context, c serviceforge.Caller, instanceID, bindingID string) (serviceforge.Progress, error) {
	return e.bindings.LastOperation(ctx, c, instanceID, bindingID)
}

// Binding returns one finished binding with its credentials. Errors: NotFound.
func (e *Engine) Binding(ctx context.Context, c serviceforge.Caller, instanceID, bindingID string) (serviceforge.Binding, error) {
	return e.bindings.Get(ctx, c, instanceID, bindingID)
}

// Bindings lists an instance's bindings by id, without credentials.
func (e *Engine) Bindings(ctx context.Context, c serviceforge.Caller, instanceID string) ([]serviceforge.Binding, error) {
	i, err := e.visible(ctx, c, instanceID)
	if err != nil {
		return nil, err
	}
	return e.bindings.Of(ctx, &i)
}
