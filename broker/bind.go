package broker

import (
	"context"
	"encoding/json"
	"time"

	"github.com/pivotal-cf/brokerapi/v10/domain"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator/bindings"
)

// Bind answers PUT /v2/service_instances/:id/service_bindings/:bid (OSB
// "Binding" and "Binding Rotation"): 202 where the service has to be asked and
// the platform polls, else 201, or 200 where the same request made it before.
// An instance that does not run yet is 422 ConcurrencyError, so that platforms
// try again; to a form body it is 403, as in 2014.
func (v verbs) Bind(ctx context.Context, escapedID, escapedBindingID string, d domain.BindDetails, async bool) (domain.Binding, error) {
	instanceID, bindingID, err := pathIDs(escapedID, escapedBindingID)
	if err != nil {
		return domain.Binding{}, v.osbError(ctx, err)
	}
	c := callOf(ctx)
	bound, err := v.engine.Bind(ctx, bindings.BindRequest{
		Caller:            c.caller,
		InstanceID:        instanceID,
		BindingID:         bindingID,
		ServiceID:         given(d.ServiceID),
		PlanID:            given(d.PlanID),
		AppGUID:           appGUID(d),
		Route:             route(d),
		Context:           object(d.RawContext),
		Parameters:        object(d.RawParameters),
		Predecessor:       c.predecessor,
		AcceptsIncomplete: async,
	})
	switch {
	case err != nil && c.form && serviceforge.CodeOf(err) == serviceforge.NotReady:
		return domain.Binding{}, notReady2014(c, err)
	case err != nil:
		return domain.Binding{}, v.osbError(ctx, err)
	case bound.Binding.State == serviceforge.BindingCreating:
		return domain.Binding{IsAsync: true, OperationData: bound.Binding.Operation.ID}, nil
	}
	tellBinding(c, &bound.Binding)
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

// route is the one whose requests are to go through the service.
func route(d domain.BindDetails) string {
	if d.BindResource == nil {
		return ""
	}
	return d.BindResource.Route
}

// credentials reveals what the app gets. OSB wants an object in 200 and 201.
func credentials(b *serviceforge.Binding) json.RawMessage {
	if b.Credentials.Empty() {
		return json.RawMessage("{}")
	}
	return json.RawMessage(b.Credentials.Reveal())
}

// instantForm is OSB's: yyyy-mm-ddThh:mm:ss.sZ.
const instantForm = "2006-01-02T15:04:05.0Z"

// tellBinding adds what brokerapi has no room for, where the platform's version
// of the API knows it: endpoints since 2.15, metadata since 2.16.
func tellBinding(c *call, b *serviceforge.Binding) {
	if len(b.Endpoints) > 0 && c.minor >= 15 {
		c.answer.add("endpoints", b.Endpoints)
	}
	var delegated map[string]json.RawMessage
	if json.Unmarshal([]byte(b.Delegated.Reveal()), &delegated) == nil {
		for name, value := range delegated {
			c.answer.add(name, value)
		}
	}
	metadata := map[string]string{}
	for name, at := range map[string]time.Time{"expires_at": b.ExpiresAt, "renew_before": b.RenewBefore} {
		if !at.IsZero() {
			metadata[name] = at.UTC().Format(instantForm)
		}
	}
	if len(metadata) > 0 && c.minor >= 16 {
		c.answer.add("metadata", metadata)
	}
}
