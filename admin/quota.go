package admin

import (
	"context"
	"net/http"
	"time"

	"github.com/serviceforge/serviceforge/store"
)

// Quotas is what is limited, and what is taken of it.
type Quotas struct {
	Limits    []string   `json:"limits"` // SCOPE[:ID]/RESOURCE=LIMIT, those in force
	Use       []QuotaUse `json:"use"`
	Counting  bool       `json:"counting"` // nothing can be taken until it is counted
	CountedAt time.Time  `json:"counted_at,omitzero"`
}

// QuotaUse is how much is taken of a quota.
type QuotaUse struct {
	Scope    string `json:"scope"`
	ID       string `json:"id,omitempty"`
	Name     string `json:"name,omitempty"` // for people: that of the service or the plan, else the id
	Resource string `json:"resource"`
	Used     int64  `json:"used"`
	Limit    int64  `json:"limit"`
}

// Recounted is the answer to POST /admin/v1/quota/recount.
type Recounted struct {
	Corrections []store.Correction `json:"corrections"`
}

func (a *API) getQuotas(q *request) (any, error) {
	all, err := a.store.Quotas(q.Context())
	if err != nil {
		return nil, err
	}
	told := Quotas{Limits: all.Limits, Use: make([]QuotaUse, 0, len(all.Use)), Counting: all.Counting, CountedAt: all.CountedAt}
	for _, u := range all.Use {
		told.Use = append(told.Use, QuotaUse{
			Scope: string(u.Scope), ID: u.ID, Name: a.catalog().Name(u.Quota), Resource: u.Resource, Used: u.Used, Limit: u.Most,
		})
	}
	return told, nil
}

// recountTimeout bounds how long an operator waits for a count.
const recountTimeout = time.Minute

func (a *API) recount(q *request) (any, error) {
	ctx, cancel := context.WithTimeout(q.Context(), recountTimeout)
	defer cancel()
	corrections, err := a.store.Recount(ctx)
	return Recounted{Corrections: corrections}, err
}

// Quotas tells what is limited, and what is taken of it.
func (c *Client) Quotas(ctx context.Context) (Quotas, error) { return get[Quotas](ctx, c, "/quota") }

// Recount has counted anew what exists, and tells which counters were wrong.
// Errors: Unprocessable (nothing is limited).
func (c *Client) Recount(ctx context.Context) (Recounted, error) {
	return send[Recounted](ctx, c, http.MethodPost, "/quota/recount", nil)
}
