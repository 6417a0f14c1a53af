package verdict

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/serviceforge/serviceforge/orchestrator/director"
)

// LockTaken says that a task failed only because another one worked on the
// same deployment (WIRE.md 401).
func LockTaken(t director.Task) bool {
	return t.State == director.TaskError && strings.HasPrefix(t.Result, "Failed to acquire lock")
}

// LastWords are those of a failed task: the result is cut at 128 characters, the
// last event is not (WIRE.md 310).
func LastWords(t director.Task, events []byte) string {
	for line := range strings.Lines(string(events)) {
		var event struct {
			Error struct {
				Code    int    `json:"code"`
				Message string `json:"message"`
			} `json:"error"`
		}
		if json.Unmarshal([]byte(line), &event) == nil && event.Error.Message != "" {
			return fmt.Sprintf("task %d: %s (%d)", t.ID, event.Error.Message, event.Error.Code)
		}
	}
	return fmt.Sprintf("task %d: %s: %s", t.ID, t.State, t.Result)
}
