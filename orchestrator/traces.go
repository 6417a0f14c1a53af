package orchestrator

import "strings"

// traces are what the tasks of a deployment tell about where it comes from.
// They decide where there is no manifest, which would carry a stamp.
type traces struct {
	// ours says that every deploy since the deployment was last deleted was
	// posted for one of the instance's operations, and at least one of them, or a
	// deletion that did not succeed.
	ours    bool
	newest  int // the newest task that deployed or deleted it; 0 = none is known
	running int // one of them that has not ended; 0 = none
}

// tracesOf reads tasks, newest first, for the operations of one instance. What
// somebody else posted over a deployment of ours makes it theirs as well: then
// it is not ours to delete. Tasks of other kinds say nothing.
func tracesOf(tasks []Task, deployment string, operations []string) traces {
	var found traces
	foreign := false
	for n := range tasks {
		t := &tasks[n]
		if !touches(t, deployment) {
			continue
		}
		found.newest = max(found.newest, t.ID)
		if t.running() {
			found.running = t.ID
		}
		if deletes(t, deployment) && t.State == TaskDone {
			break // what was before has nothing to do with what stands there
		}
		switch posted := postedFor(t, operations); {
		case posted:
			found.ours = true
		case !deletes(t, deployment):
			foreign = true
		}
	}
	found.ours = found.ours && !foreign
	return found
}

// touches says whether a task deploys or deletes the deployment, in the words
// of the director (recordings).
func touches(t *Task, deployment string) bool {
	return deletes(t, deployment) || strings.HasPrefix(t.Description, "create deployment")
}

func deletes(t *Task, deployment string) bool {
	return t.Description == "delete deployment "+deployment
}

// postedFor says whether a task was posted for one of the operations: their ids
// begin the context ids.
func postedFor(t *Task, operations []string) bool {
	for _, operation := range operations {
		if strings.HasPrefix(t.ContextID, operation+".") {
			return true
		}
	}
	return false
}
