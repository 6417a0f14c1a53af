package broker

import (
	"context"

	"github.com/pivotal-cf/brokerapi/v10/domain"

	"github.com/serviceforge/serviceforge"
)

// Update answers PATCH /v2/service_instances/:id (OSB "Updating"). No change
// is supported yet (the catalog says plan_updateable: false), so a request that
// is valid and names an instance is refused with 422.
func (v verbs) Update(ctx context.Context, escapedID string, d domain.UpdateDetails, _ bool) (domain.UpdateServiceSpec, error) {
	var spec domain.UpdateServiceSpec
	id, err := pathID("the service instance id", escapedID)
	if err != nil {
		return spec, v.osbError(ctx, err)
	}
	if err := v.checkChange(d.ServiceID, d.PlanID); err != nil {
		return spec, v.osbError(ctx, err)
	}
	instance, err := v.engine.Instance(ctx, callOf(ctx).caller, id)
	if err != nil {
		return spec, v.osbError(ctx, err)
	}
	planID := d.PlanID
	if planID == "" {
		planID = instance.PlanID
	}
	if err := checkMaintenance(d.MaintenanceInfo); err != nil {
		return spec, err
	}
	what := "changing the parameters"
	if planID != instance.PlanID {
		what = "changing the plan"
	}
	return spec, v.osbError(ctx, serviceforge.Errorf(serviceforge.Unprocessable,
		"%s of a service instance is not supported; nothing was changed", what))
}
