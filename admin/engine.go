package admin

func (a *API) getEngine(q *request) (any, error) {
	status, err := a.engine.Status(q.Context())
	if err != nil {
		return nil, err
	}
	w := status.Switch
	return Engine{Paused: w.Paused, Actor: w.Actor, Reason: w.Reason, At: w.At, Leader: status.Leader}, nil
}

func (a *API) putEngine(q *request) (any, error) {
	var order EngineOrder
	if err := q.decode(&order); err != nil {
		return nil, err
	}
	var err error
	if order.Paused {
		err = a.engine.Pause(q.Context(), q.caller, order.Reason)
	} else {
		err = a.engine.Resume(q.Context(), q.caller)
	}
	if err != nil {
		return nil, err
	}
	return a.getEngine(q)
}
