package broker

import (
	"context"

	"github.com/pivotal-cf/brokerapi/v10/domain"

	"github.com/serviceforge/serviceforge/orchestrator"
)

// Update answers PATCH /v2/service_instances/:id (OSB "Updating"): 202 while it
// runs, for every repetition of the same request; 200 where nothing is left to
// do. A maintenance_info that is the catalog's asks for an upgrade;
// previous_values are hints that are not looked at.
func (v verbs) Update(ctx context.Context, escapedID string, d domain.UpdateDetails, async bool) (domain.UpdateServiceSpec, error) {
	var spec domain.UpdateServiceSpec
	id, err := pathID("the service instance id", escapedID)
	if err != nil {
		return spec, v.osbError(ctx, err)
	}
	if err := v.checkChange(d.ServiceID, d.PlanID); err != nil {
		return spec, v.osbError(ctx, err)
	}
	c := callOf(ctx)
	upgrade := d.MaintenanceInfo != nil && d.MaintenanceInfo.Version != ""
	if upgrade {
		planID := d.PlanID
		if planID == "" {
			instance, err := v.engine.Instance(ctx, c.caller, id)
			if err != nil {
				return spec, v.osbError(ctx, err)
			}
			planID = instance.PlanID
		}
		if err := v.checkMaintenance(d.ServiceID, planID, d.MaintenanceInfo); err != nil {
			return spec, err
		}
	}
	accepted, err := v.engine.Update(ctx, orchestrator.UpdateRequest{
		Caller:            c.caller,
		InstanceID:        id,
		ServiceID:         d.ServiceID,
		PlanID:            d.PlanID,
		Context:           object(d.RawContext),
		Parameters:        object(d.RawParameters),
		Upgrade:           upgrade,
		AcceptsIncomplete: async || c.async,
	})
	if err != nil {
		return spec, v.osbError(ctx, err)
	}
	spec.DashboardURL = v.dashboardURL(id)
	if !accepted.Done {
		spec.IsAsync, spec.OperationData = true, accepted.Operation
	}
	return spec, nil
}
