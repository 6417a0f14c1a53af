package admin

import (
	"context"
	"encoding/json"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator"
	"github.com/serviceforge/serviceforge/store"
)

// maxWait is how long GET …/operation may be held.
const maxWait = time.Second

// operatorScope stands for organization and space of what operators create.
const operatorScope = "default"

func (a *API) getCatalog(*request) (any, error) {
	offerings := []Offering{}
	for _, o := range a.catalog().Offerings() {
		told := Offering{ID: o.ID, Name: o.Name, Description: o.Description, Bindable: o.Bindable, Release: o.Release}
		for _, p := range o.Plans {
			told.Plans = append(told.Plans, Plan{ID: p.ID, Name: p.Name, Description: p.Description})
		}
		offerings = append(offerings, told)
	}
	return offerings, nil
}

func (a *API) listInstances(q *request) (any, error) {
	summaries, err := a.engine.Instances(q.Context(), q.caller)
	if err != nil {
		return nil, err
	}
	instances := make([]Instance, 0, len(summaries))
	for i := range summaries {
		instances = append(instances, a.ofSummary(&summaries[i]))
	}
	return instances, nil
}

func (a *API) ofSummary(s *store.Summary) Instance {
	told := Instance{
		ID: s.ID, ServiceID: s.ServiceID, PlanID: s.PlanID, Platform: s.Platform,
		State: s.State, Operation: s.Kind, OperationState: s.OperationState, Message: s.Message,
		Deployment: s.Deployment, Pool: s.Pool, CreatedAt: s.CreatedAt,
	}
	told.Service, told.Plan = a.names(s.ServiceID, s.PlanID)
	return told
}

func (a *API) names(serviceID, planID string) (service, plan string) {
	o, p, err := a.engine.Shelf.Known(serviceID, planID)
	if err != nil {
		return "", ""
	}
	return o.Name, p.Name
}

func (a *API) getInstance(q *request) (any, error) {
	id, err := q.id("instance")
	if err != nil {
		return nil, err
	}
	i, err := a.engine.Instance(q.Context(), q.caller, id)
	if err != nil {
		return nil, err
	}
	bindings, err := a.engine.Bindings(q.Context(), q.caller, id)
	if err != nil {
		return nil, err
	}
	told := Instance{
		ID: i.ID, ServiceID: i.ServiceID, PlanID: i.PlanID, Platform: i.Platform,
		State: i.State, Operation: i.Operation.Kind, OperationState: i.Operation.State,
		Message: i.Operation.Message, Cause: i.Operation.Cause, Task: i.Operation.Intent.Task,
		Deployment: i.Deployment, Pool: i.Pool, Release: i.Release, Facts: i.Facts,
		CreatedAt: i.CreatedAt, UpdatedAt: i.UpdatedAt,
	}
	told.Service, told.Plan = a.names(i.ServiceID, i.PlanID)
	for n := range bindings {
		told.Bindings = append(told.Bindings, bindings[n].ID)
		if bindings[n].Stale {
			told.StaleBindings = append(told.StaleBindings, bindings[n].ID)
		}
	}
	return told, nil
}

func (a *API) createInstance(q *request) (any, error) {
	id, err := q.id("instance")
	if err != nil {
		return nil, err
	}
	var order Order
	if err := q.decode(&order); err != nil {
		return nil, err
	}
	if _, _, err := a.catalog().Plan(order.ServiceID, order.PlanID); err != nil {
		return nil, err
	}
	name := order.Name
	if name == "" {
		name = id
	}
	about, err := json.Marshal(map[string]string{"platform": "serviceforge", "instance_name": name})
	if err != nil {
		return nil, err
	}
	parameters, err := objectOf(order.Parameters)
	if err != nil {
		return nil, err
	}
	accepted, err := a.engine.Provision(q.Context(), orchestrator.ProvisionRequest{
		Caller:            owner(q.caller, a.platform),
		InstanceID:        id,
		ServiceID:         order.ServiceID,
		PlanID:            order.PlanID,
		OrganizationGUID:  operatorScope,
		SpaceGUID:         operatorScope,
		Context:           about,
		Parameters:        parameters,
		AcceptsIncomplete: true,
	})
	return Accepted{Operation: accepted.Operation, Done: accepted.Done}, err
}

// objectOf returns a JSON object as sent; null is nothing.
func objectOf(raw json.RawMessage) (json.RawMessage, error) {
	var object map[string]json.RawMessage
	if len(raw) == 0 {
		return nil, nil
	}
	if err := json.Unmarshal(raw, &object); err != nil {
		return nil, serviceforge.Wrap(err, serviceforge.Invalid, "parameters must be a JSON object")
	}
	if object == nil {
		return nil, nil
	}
	return raw, nil
}

// owner is the operator acting for a platform.
func owner(c serviceforge.Caller, platform string) serviceforge.Caller {
	c.Platform = platform
	return c
}

func (a *API) updateInstance(q *request) (any, error) {
	id, err := q.id("instance")
	if err != nil {
		return nil, err
	}
	var order UpdateOrder
	if err := q.decode(&order); err != nil {
		return nil, err
	}
	parameters, err := objectOf(order.Parameters)
	if err != nil {
		return nil, err
	}
	accepted, err := a.engine.Update(q.Context(), orchestrator.UpdateRequest{
		Caller: q.caller, InstanceID: id, PlanID: order.PlanID, Parameters: parameters, Upgrade: order.Upgrade, AcceptsIncomplete: true,
	})
	return Accepted{Operation: accepted.Operation, Done: accepted.Done}, err
}

func (a *API) deleteInstance(q *request) (any, error) {
	id, err := q.id("instance")
	if err != nil {
		return nil, err
	}
	accepted, err := a.engine.Deprovision(q.Context(), orchestrator.DeprovisionRequest{
		Caller: q.caller, InstanceID: id, AcceptsIncomplete: true,
	})
	return Accepted{Operation: accepted.Operation, Done: accepted.Done}, err
}

func (a *API) repairInstance(q *request) (any, error) {
	id, err := q.id("instance")
	if err != nil {
		return nil, err
	}
	accepted, err := a.engine.Repair(q.Context(), q.caller, id)
	return Accepted{Operation: accepted.Operation, Kind: accepted.Instance.Operation.Kind}, err
}

// getOperation answers a poll. With wait (a duration, at most a second) the
// answer is held until it differs from the one whose "seen" the client sends
// back, so that progress is live for one request a second.
func (a *API) getOperation(q *request) (any, error) {
	id, err := q.id("instance")
	if err != nil {
		return nil, err
	}
	query := q.URL.Query()
	wait, err := waitOf(query.Get("wait"))
	if err != nil {
		return nil, err
	}
	operation := query.Get("operation")
	now, err := a.engine.LastOperation(q.Context(), q.caller, id, operation)
	if err != nil {
		return nil, err
	}
	if wait > 0 && now.State == serviceforge.InProgress && progressOf(now).Seen() == query.Get("seen") {
		held, cancel := context.WithTimeout(q.Context(), wait)
		defer cancel()
		if now, err = a.engine.AwaitProgress(held, q.caller, id, operation, now); err != nil {
			return nil, err
		}
	}
	return progressOf(now), nil
}

func progressOf(p serviceforge.Progress) Progress {
	return Progress{
		Kind: p.Kind, State: p.State, Step: p.Step, Description: p.Description,
		Stage: p.Stage, Node: p.Node, Percent: p.Percent,
		RetryAfter: int((p.RetryAfter + time.Second - 1) / time.Second),
	}
}

func waitOf(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	wait, err := time.ParseDuration(text)
	if err != nil {
		return 0, serviceforge.Wrap(err, serviceforge.Invalid, "wait must be a duration such as 1s")
	}
	return min(max(wait, 0), maxWait), nil
}
