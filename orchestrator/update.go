package orchestrator

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/catalog"
	"github.com/serviceforge/serviceforge/releases/parameters"
)

func (e *Engine) update(ctx context.Context, r UpdateRequest) (Accepted, error) {
	nothing := false // to do
	answer, err := e.change(ctx, r.Caller, r.InstanceID, func(i *serviceforge.Instance) (settled bool, err error) {
		if err := i.CheckKey(); err != nil {
			return false, err
		}
		wish, err := e.updateWish(r, i)
		if err != nil {
			return false, err
		}
		if running := &i.Operation; i.Busy() {
			if running.Kind == serviceforge.Update && wish.Same(running.Wish) {
				return true, nil
			}
			return false, serviceforge.Errorf(serviceforge.Busy, "the %s of service instance %q is in progress", running.Kind, i.ID)
		}
		if i.State != serviceforge.Running {
			return false, serviceforge.Errorf(serviceforge.Unprocessable, "service instance %q is %s: it cannot be updated", i.ID, i.State)
		}
		if nothing = wish.Same(i.Present()) && i.Unfinished == ""; nothing {
			return true, nil
		}
		return false, e.beginUpdate(i, wish, r)
	})
	if nothing {
		answer.Operation, answer.Done = "", true
	}
	return answer, err
}

// updateWish checks the request and says what the instance is to be, from
// memory only. Errors: Invalid, TooLarge.
func (e *Engine) updateWish(r UpdateRequest, i *serviceforge.Instance) (serviceforge.Wish, error) {
	wish := i.Present()
	if err := i.CheckIDs(r.ServiceID, ""); err != nil {
		return wish, err
	}
	if r.PlanID != "" {
		wish.PlanID = r.PlanID
	}
	if err := e.onOffer(i, wish.PlanID); err != nil {
		return wish, err
	}
	if err := parameters.CheckObject("context", r.Context); err != nil {
		return wish, err
	}
	if err := parameters.CheckObject("parameters", r.Parameters); err != nil {
		return wish, err
	}
	if !serviceforge.EmptyJSON(r.Context) {
		wish.Context = serviceforge.NewSecret(string(r.Context))
	}
	if r.Upgrade && i.Pool != "" { // without one it has nothing to be upgraded, and is refused anyway
		if err := e.upgrade(i, &wish); err != nil {
			return wish, err
		}
	}
	plan, err := e.wishedPlan(i, wish)
	if err != nil {
		return wish, err
	}
	if wish.Parameters, err = merged(i.Parameters, r.Parameters); err != nil {
		return wish, err
	}
	release, err := e.Shelf.Release(wish.Release)
	if err != nil {
		return wish, err
	}
	if err := release.CheckParameters(plan, parameters.Update, r.Parameters); err != nil {
		return wish, err
	}
	return wish, release.CheckParameters(plan, parameters.Whole, json.RawMessage(wish.Parameters.Reveal()))
}

// onOffer refuses a change to a plan that nobody can have any more; the one that
// the instance has may stay. Errors: Invalid.
func (e *Engine) onOffer(i *serviceforge.Instance, planID string) error {
	if planID == i.PlanID {
		return nil
	}
	_, _, err := e.Shelf.Catalog().Plan(i.ServiceID, planID)
	return err
}

// upgrade makes the wish one for the version of the service release that is on
// offer, and for what its pool file says now. Errors: Unprocessable.
func (e *Engine) upgrade(i *serviceforge.Instance, wish *serviceforge.Wish) error {
	pool, err := e.Pools.Pool(i.Pool)
	if err != nil {
		return err
	}
	offering, plan, err := e.Shelf.Catalog().Plan(i.ServiceID, wish.PlanID)
	if err != nil {
		return serviceforge.Wrap(err, serviceforge.Unprocessable,
			"the plan of service instance %q is no longer offered: it stays with %s, or changes to another plan by the upgrade", i.ID, i.Release)
	}
	edition, err := e.Shelf.Edition(offering.Release)
	if err != nil {
		return err
	}
	if edition.Pools != nil && !slices.Contains(edition.Pools, i.Pool) {
		return serviceforge.Errorf(serviceforge.Unprocessable,
			"the infrastructure of service instance %q has not got what %s needs yet", i.ID, offering.Release)
	}
	wish.Release, wish.Versions, wish.Maintenance = offering.Release, edition.Versions, plan.MaintenanceInfo.Version
	wish.Pins = i.Pins.Upgraded(pool.Pins())
	return nil
}

// wishedPlan is the plan as the service release has it that the wish is made
// with. Errors: Unprocessable.
func (e *Engine) wishedPlan(i *serviceforge.Instance, wish serviceforge.Wish) (catalog.Plan, error) {
	_, plan, err := e.Shelf.Plan(wish.Release, i.ServiceID, wish.PlanID)
	if serviceforge.CodeOf(err) == serviceforge.Invalid {
		err = serviceforge.Wrap(err, serviceforge.Unprocessable,
			"service instance %q is made with %s, which has no such plan: change the plan by an upgrade (maintenance_info)", i.ID, wish.Release)
	}
	return plan, err
}

// merged puts the members of changes over those of an instance's parameters.
func merged(present serviceforge.Secret, changes json.RawMessage) (serviceforge.Secret, error) {
	if serviceforge.EmptyJSON(changes) {
		return present, nil
	}
	parameters := map[string]json.RawMessage{}
	for _, document := range []string{present.Reveal(), string(changes)} {
		var object map[string]json.RawMessage
		if document == "" {
			continue
		}
		if err := json.Unmarshal([]byte(document), &object); err != nil {
			return present, serviceforge.Wrap(err, serviceforge.Invalid, "parameters is not a JSON object")
		}
		maps.Copy(parameters, object)
	}
	text, err := json.Marshal(parameters)
	if err != nil {
		return present, serviceforge.Wrap(err, serviceforge.Internal, "the parameters cannot be written")
	}
	return serviceforge.NewSecret(string(text)), nil
}

// beginUpdate makes the operation that fulfils the wish; one that needs no
// deployment is fulfilled at once. Errors: Unprocessable, AsyncRequired.
func (e *Engine) beginUpdate(i *serviceforge.Instance, wish serviceforge.Wish, r UpdateRequest) error {
	plan, err := e.wishedPlan(i, wish)
	if err != nil {
		return err
	}
	if err := e.mayBecome(i, wish); err != nil {
		return err
	}
	before := i.Present()
	now := e.Now().UTC()
	operation := r.Caller.Begins(e.NewID(), serviceforge.Update, e.Now())
	operation.Wish = wish
	i.UpdatedAt = now
	if wish.SameDeployment(before) && i.Unfinished == "" {
		operation.State, operation.Step, operation.FinishedAt = serviceforge.Succeeded, serviceforge.Ready, now
		i.Operation = operation
		i.Fulfil()
	} else {
		if !r.AcceptsIncomplete {
			return asyncRequired()
		}
		operation.Step = serviceforge.Placed // it has its pool
		i.Operation = operation
		i.Reserve(wish.PlanID, plan.Costs)
	}
	i.Operations = append(i.Operations, operation.ID)
	return nil
}

// mayBecome says whether the instance may be what is wished for: by the rules of
// its plan, by its pool, and by what an update that failed has begun. Errors:
// Unprocessable.
func (e *Engine) mayBecome(i *serviceforge.Instance, wish serviceforge.Wish) error {
	plan, err := e.wishedPlan(i, wish)
	if err != nil {
		return err
	}
	for _, id := range []string{i.PlanID, i.Unfinished} {
		if id == "" || id == wish.PlanID {
			continue
		}
		offering, from, err := e.Shelf.Plan(wish.Release, i.ServiceID, id)
		if err != nil { // it is in no newer version
			offering, from, err = e.Shelf.Plan(i.Release, i.ServiceID, id)
		}
		switch {
		case err != nil:
			return err
		case id == i.Unfinished && !from.MayBecome(wish.PlanID):
			return serviceforge.Errorf(serviceforge.Unprocessable,
				"the change to plan %s failed half way: ask for it again, before anything else", from.Name)
		case !catalog.Updateable(offering, from):
			return serviceforge.Errorf(serviceforge.Unprocessable, "the plan of service instances of %s %s cannot be changed", offering.Name, from.Name)
		case !from.MayBecome(wish.PlanID):
			return serviceforge.Errorf(serviceforge.Unprocessable,
				"plan %s cannot be changed to %s%s", from.Name, plan.Name, e.instead(offering, from))
		}
	}
	pool, err := e.Pools.Pool(i.Pool)
	if err != nil {
		return err
	}
	pool = pool.Pinned(wish.Pins)
	if reason := pool.Refuses(plan); reason != "" && wish.PlanID != i.PlanID {
		return serviceforge.Errorf(serviceforge.Unprocessable, "the infrastructure of service instance %q cannot carry plan %s: pool %s %s", i.ID, plan.Name, pool.Name, reason)
	}
	return nil
}

// instead names the plans that instances of a plan may change to.
func (e *Engine) instead(o catalog.Offering, from catalog.Plan) string {
	var names []string
	for _, p := range o.Plans {
		if p.ID != from.ID && from.MayBecome(p.ID) {
			names = append(names, p.Name)
		}
	}
	if len(names) == 0 {
		return "; it can be changed to no other"
	}
	return "; it can be changed to " + strings.Join(names, ", ")
}
