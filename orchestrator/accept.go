package orchestrator

import (
	"context"
	"errors"
	"strings"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/releases/parameters"
)

func (e *Engine) provision(ctx context.Context, r ProvisionRequest) (Accepted, error) {
	wish, err := e.wish(r)
	if err != nil {
		return Accepted{}, err
	}
	if _, known, _ := e.Store.Summary(wish.ID); known { // repeated, as some platforms do before every poll: it costs a read
		existing, err := e.Store.Instance(ctx, wish.ID)
		if err == nil {
			return e.repeated(r, wish, &existing)
		}
		if serviceforge.CodeOf(err) != serviceforge.NotFound {
			return Accepted{}, err
		}
	}
	if refusal := e.mayPlace(wish); refusal != nil {
		return e.refuse(ctx, r, wish, refusal)
	}
	existing, err := e.Store.CreateInstance(ctx, wish)
	switch serviceforge.CodeOf(err) {
	case "":
	case serviceforge.Conflict:
		return e.repeated(r, wish, &existing)
	case serviceforge.Exhausted:
		return e.refuse(ctx, r, wish, e.named(err))
	default:
		return Accepted{}, err
	}
	return accepted(wish), nil
}

// refuse answers a request for which there is no room, unless it only repeats
// one that was accepted.
func (e *Engine) refuse(ctx context.Context, r ProvisionRequest, wish *serviceforge.Instance, refusal error) (Accepted, error) {
	existing, err := e.Store.Instance(ctx, wish.ID)
	switch serviceforge.CodeOf(err) {
	case "":
		return e.repeated(r, wish, &existing)
	case serviceforge.NotFound:
		return Accepted{}, refusal
	}
	return Accepted{}, err
}

// wish makes the record of a new instance. It asks nobody: only what is in
// memory decides whether the request is good (DESIGN §4, "Before the 202").
func (e *Engine) wish(r ProvisionRequest) (*serviceforge.Instance, error) {
	if err := serviceforge.CheckID("the instance id", r.InstanceID); err != nil {
		return nil, err
	}
	offering, plan, err := e.Shelf.Catalog().Plan(r.ServiceID, r.PlanID)
	if err != nil {
		return nil, err
	}
	if !r.AcceptsIncomplete {
		return nil, asyncRequired()
	}
	release, err := e.Shelf.Release(offering.Release)
	if err != nil {
		return nil, err
	}
	for name, id := range map[string]string{"instance_id": r.InstanceID, "organization_guid": r.OrganizationGUID, "space_guid": r.SpaceGUID} {
		if err := parameters.RefuseReferences(name, id); err != nil {
			return nil, err
		}
	}
	if err := parameters.CheckObject("context", r.Context); err != nil {
		return nil, err
	}
	if err := parameters.CheckObject("parameters", r.Parameters); err != nil {
		return nil, err
	}
	if err := release.CheckParameters(plan, parameters.Create, r.Parameters); err != nil {
		return nil, err
	}
	now := e.Now().UTC()
	operation := r.Caller.Begins(e.NewID(), serviceforge.Provision, e.Now())
	wish := &serviceforge.Instance{
		ID: r.InstanceID, ServiceID: r.ServiceID, PlanID: r.PlanID, Platform: r.Platform,
		OrganizationGUID: r.OrganizationGUID, SpaceGUID: r.SpaceGUID,
		Context: serviceforge.NewSecret(string(r.Context)), Parameters: serviceforge.NewSecret(string(r.Parameters)),
		Deployment: serviceforge.DeploymentName(offering.DeploymentNamePrefix, r.InstanceID), Release: offering.Release,
		State: serviceforge.Initialized, Operation: operation, Operations: []string{operation.ID},
		Maintenance: plan.MaintenanceInfo.Version, CreatedAt: now, UpdatedAt: now,
	}
	wish.Hold(plan.ID, plan.Costs)
	return wish, nil
}

// asyncRequired is worded as client libraries compare it (OSB checklist 22).
func asyncRequired() error {
	return serviceforge.Errorf(serviceforge.AsyncRequired, "This service plan requires client support for asynchronous service operations.")
}

// repeated answers a provision whose id is taken (OSB "Provisioning": the same
// order is answered as before, any other is a conflict).
func (e *Engine) repeated(r ProvisionRequest, wish, existing *serviceforge.Instance) (Accepted, error) {
	differs := existing.Differs(wish)
	switch {
	case !r.Sees(existing.Platform): // in what way is not for this one to know
		return Accepted{}, serviceforge.Errorf(serviceforge.Conflict, "service instance %q exists with other attributes", wish.ID)
	case len(differs) > 0:
		return Accepted{}, serviceforge.Errorf(serviceforge.Conflict, "service instance %q exists with other attributes: %s", wish.ID, strings.Join(differs, ", "))
	case existing.Operation.Kind == serviceforge.Deprovision:
		return Accepted{}, serviceforge.Errorf(serviceforge.Busy, "service instance %q is being deleted", wish.ID)
	case existing.Operation.Kind == serviceforge.Repair, existing.Operation.Kind == serviceforge.Update: // it was made, and runs
		return Accepted{Instance: *existing, Operation: existing.Operation.ID, Done: true}, nil
	case existing.Operation.State == serviceforge.Failed:
		return Accepted{}, serviceforge.Errorf(serviceforge.Conflict, "service instance %q exists, but its creation failed: delete it first", wish.ID)
	}
	return accepted(existing), nil
}

func (e *Engine) deprovision(ctx context.Context, r DeprovisionRequest) (Accepted, error) {
	answer, err := e.change(ctx, r.Caller, r.InstanceID, func(i *serviceforge.Instance) (settled bool, err error) {
		if err := i.CheckIDs(r.ServiceID, r.PlanID); err != nil {
			return false, err
		}
		if !r.AcceptsIncomplete {
			return false, asyncRequired()
		}
		if i.Busy() && i.Operation.Kind == serviceforge.Deprovision {
			return true, nil
		}
		e.takeOver(i, r.Caller)
		return false, nil
	})
	if serviceforge.CodeOf(err) == serviceforge.NotFound {
		return Accepted{}, serviceforge.Wrap(err, serviceforge.Gone, "there is no service instance %q", r.InstanceID)
	}
	return answer, err
}

// change reads an instance that the caller may see and stores what wish makes
// of it, unless it is settled: there is nothing to store. Where somebody wrote
// meanwhile it looks again.
func (e *Engine) change(ctx context.Context, c serviceforge.Caller, id string, wish func(*serviceforge.Instance) (settled bool, err error)) (Accepted, error) {
	for {
		i, err := e.visible(ctx, c, id)
		if err != nil {
			return Accepted{}, err
		}
		settled, err := wish(&i)
		if err == nil && !settled {
			err = e.named(e.Store.PutInstance(ctx, &i, 0))
			if serviceforge.CodeOf(err) == serviceforge.Conflict {
				continue
			}
		}
		if err != nil {
			return Accepted{}, err
		}
		return accepted(&i), nil
	}
}

// named tells of a limit that is used up in the words of the catalog.
func (e *Engine) named(err error) error {
	if limit, ok := errors.AsType[serviceforge.UsedUp](err); ok {
		return limit.Refusal(e.Shelf.Catalog().Name(limit.Quota))
	}
	return err
}

// takeOver makes a deprovision of whatever runs. What the superseded operation
// asked a director is kept: it is cancelled first.
func (e *Engine) takeOver(i *serviceforge.Instance, c serviceforge.Caller) {
	before := i.Operation
	i.Operation = c.Begins(e.NewID(), serviceforge.Deprovision, e.Now())
	switch {
	case before.Kind == serviceforge.Deprovision:
		i.Operation.Superseded = before.Superseded
	case before.State != serviceforge.Succeeded:
		i.Operation.Superseded = before.Intent
	}
	i.Operations = append(i.Operations, i.Operation.ID)
	i.State = serviceforge.Destroying
	i.UpdatedAt = e.Now().UTC()
}

func accepted(i *serviceforge.Instance) Accepted {
	return Accepted{
		Instance:  *i,
		Operation: i.Operation.ID,
		Done:      i.Operation.Done(),
	}
}

// visible reads an instance; one of another platform is not there.
func (e *Engine) visible(ctx context.Context, c serviceforge.Caller, id string) (serviceforge.Instance, error) {
	if err := serviceforge.CheckID("the instance id", id); err != nil {
		return serviceforge.Instance{}, err
	}
	i, err := e.Store.Instance(ctx, id)
	if err == nil && !c.Sees(i.Platform) {
		return serviceforge.Instance{}, serviceforge.Errorf(serviceforge.NotFound, "there is no service instance %q", id)
	}
	return i, err
}
