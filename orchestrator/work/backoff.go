package work

import "time"

// The bounds of Backoff: of requests that did not get through, and of failed deletes.
const (
	backoffFirst = 500 * time.Millisecond
	BackoffMost  = time.Minute
)

// Backoff is the pause after so many attempts that did not get through.
func Backoff(repeats int) time.Duration { return min(backoffFirst<<min(repeats, 10), BackoffMost) }
