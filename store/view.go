// Package store keeps instances, bindings and tombstones in etcd: sealed records,
// revision compares, a leader, and an in-memory view fed by a watch.
package store

import (
	"time"

	"github.com/serviceforge/serviceforge"
)

// Summary is what the in-memory view keeps of an instance: enough to answer
// polls and lists, small enough for a hundred thousand of them (≤ 0.3 KB).
type Summary struct {
	ID, ServiceID, PlanID string
	Platform              string
	Deployment, Pool      string
	State                 serviceforge.State
	OperationID           string
	Kind                  serviceforge.Kind
	OperationState        serviceforge.OperationState
	Step                  serviceforge.Step
	Message               string // of a finished operation
	StartedAt             time.Time
	CreatedAt             time.Time
	Revision              int64
}
