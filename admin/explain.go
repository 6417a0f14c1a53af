package admin

import "github.com/serviceforge/serviceforge/orchestrator"

func (a *API) getExplanation(q *request) (any, error) {
	id, err := q.id("instance")
	if err != nil {
		return nil, err
	}
	x, err := a.engine.Explain(q.Context(), q.caller, id)
	if err != nil {
		return nil, err
	}
	return explanationOf(&x), nil
}

func explanationOf(x *orchestrator.Explanation) Explanation {
	i := &x.Instance
	o := &i.Operation
	told := Explanation{
		ID: i.ID, State: i.State, Operation: o.Kind, OperationID: o.ID, OperationState: o.State, Step: o.Step,
		Waits: x.Waits, Position: x.Position, Until: x.Until, Message: o.Message, Cause: o.Cause, Class: x.Class, Advice: x.Advice,
		Pool: i.Pool, Deployment: i.Deployment, Task: o.Intent.Task, Attempt: o.Attempt, Failures: o.Failures, Repeats: o.Repeats,
		StartedAt: o.StartedAt, FinishedAt: o.FinishedAt,
	}
	for _, f := range x.Findings {
		told.Findings = append(told.Findings, SweepFinding(f))
	}
	if b := x.Breaker; b != nil {
		told.Breaker = &Breaker{Away: b.Away, Sick: b.Sick, Since: b.Since, Cause: b.Cause}
	}
	return told
}
