package broker

import (
	"context"
	"encoding/json"

	"github.com/pivotal-cf/brokerapi/v10/domain"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator"
)

// Bind answers PUT /v2/service_instances/:id/service_bindings/:bid (OSB
// "Binding"), synchronously: 201, or 200 where the same request made it before.
// An instance that does not run yet is 422 ConcurrencyError, so that platforms
// try again; to a form body it is 403, as in 2014.
func (v verbs) Bind(ctx context.Context, escapedID, escapedBindingID string, d domain.BindDetails, _ bool) (domain.Binding, error) {
	instanceID, bindingID, err := pathIDs(escapedID, escapedBindingID)
	if err != nil {
		return domain.Binding{}, v.osbError(ctx, err)
	}
	c := callOf(ctx)
	bound, err := v.engine.Bind(ctx, orchestrator.BindRequest{
		Caller:     c.caller,
		InstanceID: instanceID,
		BindingID:  bindingID,
		ServiceID:  d.ServiceID,
		PlanID:     d.PlanID,
		AppGUID:    appGUID(d),
		Context:    object(d.RawContext),
		Parameters: object(d.RawParameters),
	})
	switch {
	case err != nil && c.form && serviceforge.CodeOf(err) == serviceforge.NotReady:
		return domain.Binding{}, notReady2014(c, err)
	case err != nil:
		return domain.Binding{}, v.osbError(ctx, err)
	}
	return domain.Binding{
		AlreadyExists: bound.Existed,
		Credentials:   credentials(&bound.Binding),
	}, nil
}

// appGUID prefers bind_resource; app_guid beside it is deprecated.
func appGUID(d domain.BindDetails) string {
	if d.BindResource != nil && d.BindResource.AppGuid != "" {
		return d.BindResource.AppGuid
	}
	return d.AppGUID
}

// credentials reveals what the app gets. OSB wants an object in 200 and 201.
func credentials(b *serviceforge.Binding) json.RawMessage {
	if b.Credentials.Empty() {
		return json.RawMessage("{}")
	}
	return json.RawMessage(b.Credentials.Reveal())
}
