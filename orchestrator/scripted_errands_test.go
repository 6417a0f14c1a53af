package orchestrator_test

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator/director"
)

// errands is what the scripted director knows of errands.
type errands struct {
	exits   map[string][]int // exit codes of the next runs of an errand, on every instance; none = 0
	refused map[string]bool  // errands whose task fails
	tail    string           // of what errands say, behind a secret
	hold    bool             // tasks of errands do not end by themselves
	runs    []string         // of each run: the errand, and the instances that were named
	results map[int]string   // by task
}

func (d *scripted) RunErrand(_ context.Context, name, errand string, on []director.VM, contextID string) (id int, err error) {
	err = d.call("RunErrand", func() error {
		if d.deployments[name] == nil {
			return serviceforge.Errorf(serviceforge.NotFound, "Deployment '%s' doesn't exist", name)
		}
		run := errand
		for _, vm := range on {
			run += fmt.Sprintf(" %s/%d=%s", vm.Group, vm.Index, vm.ID)
		}
		d.errands.runs = append(d.errands.runs, run)
		exit := 0
		if next := d.errands.exits[errand]; len(next) > 0 {
			exit, d.errands.exits[errand] = next[0], next[1:]
		}
		if len(on) == 0 { // as a colocated one does
			on = []director.VM{{Group: "node", ID: "id-0"}, {Group: "node", ID: "id-1"}}
		}
		t := director.Task{State: director.TaskDone, Deployment: name, ContextID: contextID,
			Description: "run errand " + errand + " from deployment " + name, Result: "1 succeeded, 0 errored, 0 canceled"}
		switch {
		case d.errands.refused[errand]:
			t.State, t.Result = director.TaskError, "Errand '"+errand+"' doesn't exist"
		case d.errands.hold:
			t.State = d.held()
		}
		id = d.task(t)
		for i, vm := range on {
			code := exit
			if i < len(on)-1 { // only the last one fails
				code = 0
			}
			line, err := json.Marshal(map[string]any{"instance": map[string]string{"group": vm.Group, "id": vm.ID}, "errand_name": errand,
				"exit_code": code, "stdout": "hello\n", "stderr": "it says " + d.secretOf(name) + d.errands.tail + "\n"})
			if err != nil {
				return err
			}
			d.errands.results[id] += string(line) + "\n"
		}
		return nil
	})
	return id, err
}

var passwordIn = regexp.MustCompile(`"password": "([^"]+)"`)

// secretOf is a secret of the deployment, which errands like to quote.
func (d *scripted) secretOf(name string) string {
	if m := passwordIn.FindSubmatch(d.deployments[name].manifest); m != nil {
		return string(m[1])
	}
	return ""
}

func (d *scripted) Results(_ context.Context, task int) (output []byte, err error) {
	err = d.call("Results", func() error {
		output = []byte(d.errands.results[task])
		return nil
	})
	return output, err
}

// ran lists the errands that were run, and on what.
func (d *scripted) ran() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string{}, d.errands.runs...)
}
