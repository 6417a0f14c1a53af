package admin

func (a *API) getHistory(q *request) (any, error) {
	id, err := q.id("instance")
	if err != nil {
		return nil, err
	}
	changes, err := a.engine.History(q.Context(), id)
	if err != nil {
		return nil, err
	}
	told := make([]Change, 0, len(changes))
	for _, c := range changes {
		told = append(told, Change(c))
	}
	return told, nil
}
