package admin

import (
	"context"
	"net/http"
	"net/url"

	"github.com/serviceforge/serviceforge/store"
)

// Key is a key of the ring, or one that a record was sealed with. It shows ids only.
type Key struct {
	ID        string   `json:"id"`
	Current   bool     `json:"current"` // what is new is sealed with it
	Here      bool     `json:"here"`    // the broker that answers has it
	Records   int      `json:"records"` // instances and bindings that it sealed
	Lacking   []string `json:"lacking,omitempty"`
	Instances []string `json:"instances,omitempty"` // that it sealed, where it is not here; at most a hundred
}

// Rotation is how far a rotation is. It is done when Done says so; until then it
// is asked for again.
type Rotation struct {
	To      string   `json:"to"`
	Sealed  int      `json:"sealed"` // by this request
	Left    int      `json:"left"`
	Lost    int      `json:"lost"` // of those: their keys are not here
	Waiting []string `json:"waiting,omitempty"`
	Done    bool     `json:"done"`
}

func (a *API) listKeys(q *request) (any, error) {
	uses, err := a.store.KeyUses(q.Context())
	if err != nil {
		return nil, err
	}
	told := make([]Key, 0, len(uses))
	for _, u := range uses {
		told = append(told, ofKey(u))
	}
	return told, nil
}

func ofKey(u store.KeyUse) Key {
	return Key{ID: u.ID, Current: u.Current, Here: u.Here, Records: u.Records, Lacking: u.Lacking, Instances: u.Instances}
}

func (a *API) rotateKeys(q *request) (any, error) {
	r, err := a.store.RotateKeys(q.Context())
	if err != nil {
		return nil, err
	}
	a.log.Info("keys are rotated", "to", r.To, "sealed", r.Sealed, "left", r.Left, "actor", q.caller.Actor)
	return Rotation{To: r.To, Sealed: r.Sealed, Left: r.Left, Lost: r.Lost, Waiting: r.Waiting, Done: r.Done()}, nil
}

func (a *API) resetInstance(q *request) (any, error) {
	id, err := q.id("instance")
	if err != nil {
		return nil, err
	}
	accepted, err := a.engine.Reset(q.Context(), q.caller, id)
	return Accepted{Operation: accepted.Operation, Kind: accepted.Instance.Operation.Kind}, err
}

// Keys lists the keys that seal secrets, with what they are used for.
func (c *Client) Keys(ctx context.Context) ([]Key, error) { return get[[]Key](ctx, c, "/keys") }

// RotateKeys seals for about a second what the newest key did not seal. Errors:
// Unprocessable (a broker has not got the key).
func (c *Client) RotateKeys(ctx context.Context) (Rotation, error) {
	return send[Rotation](ctx, c, http.MethodPost, "/keys/rotation", nil)
}

// Reset makes new secrets for an instance and deploys it anew, without its data.
// Errors: NotFound, Busy.
func (c *Client) Reset(ctx context.Context, id string) (Accepted, error) {
	return send[Accepted](ctx, c, http.MethodPost, "/instances/"+url.PathEscape(id)+"/reset", nil)
}
