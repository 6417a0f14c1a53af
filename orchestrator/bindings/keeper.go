// Package bindings makes, rotates and ends the bindings of instances, each with a
// user of the service: what requests store, and what the leader does of it.
package bindings

import (
	"encoding/json"
	"log/slog"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator/shelf"
	"github.com/serviceforge/serviceforge/store"
	"github.com/serviceforge/serviceforge/users"
)

// BindRequest asks for credentials (OSB "Binding").
type BindRequest struct {
	serviceforge.Caller
	InstanceID, BindingID string
	ServiceID, PlanID     string
	AppGUID               string
	Route                 string // instead of an app
	Context, Parameters   json.RawMessage
	// Predecessor asks for a rotation: a binding with what that one was made for.
	// Empty ServiceID and PlanID are the instance's then.
	Predecessor       string
	AcceptsIncomplete bool
}

// Bound is a binding that is ready, or one that the engine is making: then its
// State is BindingCreating, and Binding.Operation.ID is the same for every
// repetition of the request.
type Bound struct {
	Binding serviceforge.Binding // Binding.Credentials is a JSON object when it is ready
	Existed bool                 // the same request had made it before: 200 instead of 201
}

// UnbindRequest asks for the end of a binding (OSB "Unbinding").
type UnbindRequest struct {
	serviceforge.Caller
	InstanceID, BindingID string
	ServiceID, PlanID     string // empty = not compared
	AcceptsIncomplete     bool
}

// Unbound is the answer to an unbind.
type Unbound struct {
	Done      bool   // the binding is gone
	UserStays bool   // but its user is still there: it is revoked later
	Operation string // else: what ends it, the same for every repetition
}

// Keeper makes, rotates and ends bindings: it stores the wishes of requests on
// every replica, and on the leader it fulfils what is due.
type Keeper struct {
	Store *store.Store
	Shelf *shelf.Shelf
	Users *users.Drivers
	Log   *slog.Logger
	Now   func() time.Time
	NewID func() string
}

// told is the line of history of a binding's change; the store writes those of
// instances by itself.
func (k *Keeper) told(i *serviceforge.Instance, b *serviceforge.Binding) serviceforge.Change {
	o := &b.Operation
	return serviceforge.Change{
		At: k.Now().UTC(), What: string(o.Kind), Operation: o.ID, Binding: b.ID, Before: i.State, After: i.State, Result: o.State,
		Actor: o.Actor, Identity: o.Identity, Message: o.Message, Cause: o.Cause, Pool: i.Pool,
	}
}
