package ownership

import (
	"strings"

	"github.com/serviceforge/serviceforge/orchestrator/director"
)

// traces are what the tasks of a deployment tell about where it comes from.
// They decide where there is no manifest, which would carry a stamp.
type traces struct {
	owner   Owner // nobody = no task tells
	newest  int   // the newest task that deployed or deleted it; 0 = none is known
	running int   // one of them that has not ended; 0 = none
}

// tracesOf reads tasks, newest first, for the operations of one instance and of
// the earlier ones of its id that were deleted. What anybody else posted since
// the deployment was last deleted makes it theirs as well: then it is foreign.
// Of what is left it is ours if this instance posted for it: before it first
// did so there was no deployment of that name, whatever became of the earlier
// one's deletion. Tasks of other kinds say nothing.
func tracesOf(tasks []director.Task, deployment string, operations, buried []string) traces {
	var found traces
	alien := false
	for n := range tasks {
		t := &tasks[n]
		if !touches(t, deployment) {
			continue
		}
		found.newest = max(found.newest, t.ID)
		if t.Running() {
			found.running = t.ID
		}
		if deletes(t, deployment) && t.State == director.TaskDone {
			break // what was before has nothing to do with what stands there
		}
		switch {
		case postedFor(t, operations):
			found.owner = Ours
		case postedFor(t, buried):
			if found.owner == Nobody {
				found.owner = Earlier
			}
		case !deletes(t, deployment):
			alien = true
		}
	}
	if alien {
		found.owner = Others
	}
	return found
}

// touches says whether a task deploys or deletes the deployment, in the words
// of the director (recordings).
func touches(t *director.Task, deployment string) bool {
	return deletes(t, deployment) || strings.HasPrefix(t.Description, "create deployment")
}

func deletes(t *director.Task, deployment string) bool {
	return t.Description == "delete deployment "+deployment
}

// postedFor says whether a task was posted for one of the operations: their ids
// begin the context ids.
func postedFor(t *director.Task, operations []string) bool {
	for _, operation := range operations {
		if strings.HasPrefix(t.ContextID, operation+".") {
			return true
		}
	}
	return false
}
