package admin

import (
	"context"
	"time"
)

// Sweep is what the engine found when it last looked through a director for
// what nobody had told it.
type Sweep struct {
	Pool     string         `json:"pool"`            // the first of those on the director
	At       time.Time      `json:"at,omitzero"`     // end of the last whole round; zero = there was none yet
	Calls    int            `json:"calls"`           // to the director, in that round
	Cause    string         `json:"cause,omitempty"` // why the present round does not go on
	Findings []SweepFinding `json:"findings"`
	More     int            `json:"more,omitempty"` // findings that are not kept
}

// SweepFinding is something that is not as the records say.
type SweepFinding struct {
	Kind       string    `json:"kind"`
	Pool       string    `json:"pool"`
	Instance   string    `json:"instance,omitempty"`
	Deployment string    `json:"deployment,omitempty"`
	Slot       string    `json:"slot,omitempty"`
	Says       string    `json:"says"`
	Since      time.Time `json:"since"`
}

func (a *API) listSweeps(q *request) (any, error) {
	sweeps, err := a.engine.Sweeps(q.Context())
	if err != nil {
		return nil, err
	}
	told := make([]Sweep, 0, len(sweeps))
	for _, w := range sweeps {
		one := Sweep{Pool: w.Pool, At: w.At, Calls: w.Calls, Cause: w.Cause, Findings: []SweepFinding{}, More: w.More}
		for _, f := range w.Findings {
			one.Findings = append(one.Findings, SweepFinding(f))
		}
		told = append(told, one)
	}
	return told, nil
}

// Sweeps tells what was found on each director.
func (c *Client) Sweeps(ctx context.Context) ([]Sweep, error) { return get[[]Sweep](ctx, c, "/sweeps") }
