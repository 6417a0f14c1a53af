package broker

import (
	"context"

	"github.com/pivotal-cf/brokerapi/v10/domain"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator"
)

// Provision answers PUT /v2/service_instances/:id (OSB "Provisioning"): 202
// while it runs, for every repetition of the same request; 200 once it is done.
func (v verbs) Provision(ctx context.Context, escapedID string, d domain.ProvisionDetails, async bool) (domain.ProvisionedServiceSpec, error) {
	var spec domain.ProvisionedServiceSpec
	id, err := pathID("the service instance id", escapedID)
	if err != nil {
		return spec, v.osbError(ctx, err)
	}
	if err := v.checkMaintenance(d.ServiceID, d.PlanID, d.MaintenanceInfo); err != nil {
		return spec, err
	}
	if d.OrganizationGUID == "" || d.SpaceGUID == "" {
		return spec, v.osbError(ctx, serviceforge.Errorf(serviceforge.Invalid, "organization_guid and space_guid are required"))
	}
	c := callOf(ctx)
	accepted, err := v.engine.Provision(ctx, orchestrator.ProvisionRequest{
		Caller:            c.caller,
		InstanceID:        id,
		ServiceID:         d.ServiceID,
		PlanID:            d.PlanID,
		OrganizationGUID:  d.OrganizationGUID,
		SpaceGUID:         d.SpaceGUID,
		Context:           object(d.RawContext),
		Parameters:        object(d.RawParameters),
		AcceptsIncomplete: async || c.async,
	})
	if err != nil {
		return spec, v.osbError(ctx, err)
	}
	return domain.ProvisionedServiceSpec{
		IsAsync:       !accepted.Done,
		AlreadyExists: accepted.Done,
		OperationData: accepted.Operation,
		DashboardURL:  v.dashboardURL(id),
	}, nil
}

// object returns a JSON object as sent; null is nothing.
func object(raw []byte) []byte {
	if string(raw) == "null" {
		return nil
	}
	return raw
}
