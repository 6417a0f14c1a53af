package admin

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator/ownership"
)

// Pool is an infrastructure pool as an operator sees it.
type Pool struct {
	Name        string    `json:"name"`
	Director    string    `json:"director"`         // URL
	State       string    `json:"state"`            // active, cordoned or draining
	Reason      string    `json:"reason,omitempty"` // of the operator who set the state
	Actor       string    `json:"actor,omitempty"`
	Since       time.Time `json:"since,omitzero"`
	Instances   int       `json:"instances"`
	Capacity    int       `json:"capacity,omitempty"` // how many it takes; 0 = no limit
	Free        int       `json:"free,omitempty"`     // places nobody claims, where there is a limit
	InFlight    int       `json:"in_flight"`
	MaxInFlight int       `json:"max_in_flight"`
	Queued      int       `json:"queued"`
	Healthy     bool      `json:"healthy"`
	Health      string    `json:"health"`
	Breaker     string    `json:"breaker,omitempty"` // why it is open
}

// PoolOrder is the body of PUT /admin/v1/pools/{pool}.
type PoolOrder struct {
	State  string `json:"state"`
	Reason string `json:"reason,omitempty"`
}

// Finding is one thing that a check of a pool looked at.
type Finding struct {
	Pool string `json:"pool"`
	What string `json:"what"`
	Good bool   `json:"good"`
	// Warning says that it serves, and should be otherwise.
	Warning bool   `json:"warning,omitempty"`
	Says    string `json:"says"`
}

func (a *API) listPools(q *request) (any, error) {
	statuses, err := a.engine.PoolStatuses(q.Context())
	if err != nil {
		return nil, err
	}
	told := make([]Pool, 0, len(statuses))
	for _, s := range statuses {
		told = append(told, Pool{
			Name: s.Name, Director: s.Director, State: string(s.State), Reason: s.Reason, Actor: s.Actor, Since: s.Since,
			Instances: s.Instances, Capacity: s.Size, Free: s.Free, InFlight: s.InFlight, MaxInFlight: s.MaxInFlight,
			Queued: s.Queued, Healthy: s.Healthy, Health: s.Health, Breaker: s.Breaker,
		})
	}
	return told, nil
}

func (a *API) putPool(q *request) (any, error) {
	name, err := q.name("pool")
	if err != nil {
		return nil, err
	}
	var order PoolOrder
	if err := q.decode(&order); err != nil {
		return nil, err
	}
	return struct{}{}, a.engine.SetPoolState(q.Context(), q.caller, name, order.State, order.Reason)
}

func (a *API) checkPool(q *request) (any, error) {
	name, err := q.name("pool")
	if err != nil {
		return nil, err
	}
	findings, err := a.engine.CheckPool(q.Context(), name)
	told := make([]Finding, 0, len(findings))
	for _, f := range findings {
		told = append(told, Finding(f))
	}
	return told, err
}

// name returns a path parameter that names a thing of ours, unescaped once.
func (q *request) name(parameter string) (string, error) {
	name, err := url.PathUnescape(q.route.URLParam(parameter))
	if err != nil {
		return "", serviceforge.Wrap(err, serviceforge.Invalid, "the name of the %s is not correctly percent-encoded", parameter)
	}
	return name, nil
}

// Orphan is a deployment on a director that no instance has.
type Orphan struct {
	Pool       string          `json:"pool"`
	Deployment string          `json:"deployment"`
	Group      ownership.Group `json:"group"`
	Instance   string          `json:"instance,omitempty"` // whom it was made for
	DeletedAt  time.Time       `json:"deleted_at,omitzero"`
	Deployed   bool            `json:"deployed"` // a deploy of it succeeded once
}

// Orphans is the answer to GET /admin/v1/orphans.
type Orphans struct {
	Orphans []Orphan `json:"orphans"`
	Silent  []Silent `json:"silent,omitempty"` // directors that were not looked at in full
}

// Silent is a director that did not answer.
type Silent struct {
	Pool  string `json:"pool"`
	Cause string `json:"cause"`
}

// OrphanDeleted is the answer to DELETE /admin/v1/orphans/{deployment}.
type OrphanDeleted struct {
	Task int `json:"bosh_task_id"`
}

func (a *API) listOrphans(q *request) (any, error) {
	strays, silent, err := a.engine.Strays(q.Context())
	if err != nil {
		return nil, err
	}
	told := Orphans{Orphans: make([]Orphan, 0, len(strays))}
	for _, s := range strays {
		told.Orphans = append(told.Orphans, Orphan(s))
	}
	for _, s := range silent {
		told.Silent = append(told.Silent, Silent(s))
	}
	return told, nil
}

// deleteOrphan takes pool, grace (a duration) and own ("true": the operator
// answers for what is not an orphan) from the query.
func (a *API) deleteOrphan(q *request) (any, error) {
	name, err := q.name("deployment")
	if err != nil {
		return nil, err
	}
	query := q.URL.Query()
	grace := ownership.DefaultGrace
	if text := query.Get("grace"); text != "" {
		if grace, err = time.ParseDuration(text); err != nil || grace < 0 {
			return nil, serviceforge.Wrap(err, serviceforge.Invalid, "grace must be a duration such as 10m")
		}
	}
	own := query.Get("own") == "true"
	if own {
		if err := q.needs(admin); err != nil {
			return nil, err
		}
	}
	task, err := a.engine.DeleteStray(q.Context(), q.caller, query.Get("pool"), name, grace, own)
	return OrphanDeleted{Task: task}, err
}

// Pools lists the infrastructure pools in their order of preference.
func (c *Client) Pools(ctx context.Context) ([]Pool, error) { return get[[]Pool](ctx, c, "/pools") }

// SetPool sets a pool's state. Errors: NotFound, Invalid.
func (c *Client) SetPool(ctx context.Context, pool string, order PoolOrder) error {
	_, err := send[struct{}](ctx, c, http.MethodPut, "/pools/"+url.PathEscape(pool), order)
	return err
}

// CheckPool has a pool checked against its director. Errors: NotFound.
func (c *Client) CheckPool(ctx context.Context, pool string) ([]Finding, error) {
	return get[[]Finding](ctx, c, "/pools/"+url.PathEscape(pool)+"/check")
}

// Orphans lists deployments that look like ours and have no instance, and the
// directors that did not answer.
func (c *Client) Orphans(ctx context.Context) (Orphans, error) {
	return get[Orphans](ctx, c, "/orphans")
}

// DeleteOrphan has a deployment deleted and returns the director's task. An
// empty pool means the only one that has it; own answers for what is not an
// orphan. Errors: NotFound, Conflict, NotReady, Forbidden, Invalid.
func (c *Client) DeleteOrphan(ctx context.Context, pool, deployment string, grace time.Duration, own bool) (int, error) {
	query := url.Values{"pool": {pool}, "grace": {grace.String()}}
	if own {
		query.Set("own", "true")
	}
	deleted, err := send[OrphanDeleted](ctx, c, http.MethodDelete, "/orphans/"+url.PathEscape(deployment)+"?"+query.Encode(), nil)
	return deleted.Task, err
}
