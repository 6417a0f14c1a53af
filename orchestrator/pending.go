package orchestrator

import (
	"context"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/store"
)

var errPending = serviceforge.Errorf(serviceforge.Internal, "being written")

func (e *Engine) provision(context.Context, ProvisionRequest) (Accepted, error) {
	return Accepted{}, errPending
}
func (e *Engine) deprovision(context.Context, DeprovisionRequest) (Accepted, error) {
	return Accepted{}, errPending
}
func (e *Engine) lastOperation(context.Context, Caller, string, string) (Progress, error) {
	return Progress{}, errPending
}
func (e *Engine) instance(context.Context, Caller, string) (serviceforge.Instance, error) {
	return serviceforge.Instance{}, errPending
}
func (e *Engine) instances(context.Context, Caller) ([]store.Summary, error) { return nil, errPending }
func (e *Engine) bind(context.Context, BindRequest) (Bound, error)           { return Bound{}, errPending }
func (e *Engine) unbind(context.Context, UnbindRequest) error                { return errPending }
func (e *Engine) binding(context.Context, Caller, string, string) (serviceforge.Binding, error) {
	return serviceforge.Binding{}, errPending
}
func (e *Engine) bindings(context.Context, Caller, string) ([]serviceforge.Binding, error) {
	return nil, errPending
}
