package serviceforge

import "time"

// Progress is the answer to a poll (OSB "Polling Last Operation").
type Progress struct {
	Kind        Kind
	State       OperationState
	Step        Step
	Description string        // one honest line, never empty
	Stage       string        // the director's stage, e.g. "Updating instance"; may be empty
	Node        string        // the director's task, e.g. "etcd/0"; may be empty
	Percent     int           // 0..100, monotonic within an operation
	RetryAfter  time.Duration // when asking again makes sense: 1 s to 60 s while it is in progress
	// Place is where it stands in its director's line, of as many as are Waiting;
	// 0 = it is not in one. The same on all replicas.
	Place, Waiting int
	Aftermath
}
