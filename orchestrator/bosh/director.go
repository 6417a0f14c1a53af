package bosh

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	cli "github.com/cloudfoundry/bosh-cli/v7/director"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator/director"
)

var _ director.Director = (*Client)(nil)

// Deploy posts a manifest and returns the task that works on it.
func (c *Client) Deploy(ctx context.Context, manifest []byte, contextID string) (int, error) {
	request, t := c.call(ctx, contextID)
	var task cli.TaskResp
	err := request.Post("/deployments", manifest, func(r *http.Request) { r.Header.Set("Content-Type", "text/yaml") }, &task)
	return task.ID, t.translate(err, "deploying")
}

// Delete asks for the end of a deployment and returns the task.
func (c *Client) Delete(ctx context.Context, deployment, contextID string) (int, error) {
	request, t := c.call(ctx, contextID)
	var task cli.TaskResp
	err := request.Delete("/deployments/"+url.PathEscape(deployment), &task)
	return task.ID, t.translate(err, "deleting deployment "+deployment)
}

// RunErrand asks for a run of an errand and returns the task. VMs of errand
// groups go away after it.
func (c *Client) RunErrand(ctx context.Context, deployment, errand string, on []director.VM, contextID string) (int, error) {
	type instance struct {
		Group string `json:"group"`
		ID    string `json:"id"`
	}
	body := struct {
		Instances   []instance `json:"instances"`
		KeepAlive   bool       `json:"keep-alive"`
		WhenChanged bool       `json:"when-changed"`
	}{Instances: []instance{}}
	for _, vm := range on {
		body.Instances = append(body.Instances, instance{vm.Group, vm.ID})
	}
	doing := "running errand " + errand
	text, err := json.Marshal(body)
	if err != nil {
		return 0, serviceforge.Wrap(err, serviceforge.Internal, "%s: the request cannot be written", doing)
	}
	request, t := c.call(ctx, contextID)
	var task cli.TaskResp
	err = request.Post("/deployments/"+url.PathEscape(deployment)+"/errands/"+url.PathEscape(errand)+"/runs", text,
		func(r *http.Request) { r.Header.Set("Content-Type", "application/json") }, &task)
	return task.ID, t.translate(err, doing)
}

// Results reads a task's result output.
func (c *Client) Results(ctx context.Context, task int) ([]byte, error) {
	request, t := c.call(ctx, "")
	body, _, err := request.RawGet(fmt.Sprintf("/tasks/%d/output?type=result", task), nil, nil)
	return body, t.translate(err, fmt.Sprintf("reading the result of task %d", task))
}

// Tasks lists tasks, newest first; verbose=2 shows those of every type.
func (c *Client) Tasks(ctx context.Context, q director.TaskQuery) ([]director.Task, error) {
	query := url.Values{"verbose": {"2"}}
	if q.ContextID != "" {
		query.Set("context_id", q.ContextID)
	}
	if q.Deployment != "" {
		query.Set("deployment", q.Deployment)
	}
	if len(q.States) > 0 {
		query.Set("state", strings.Join(q.States, ","))
	}
	if q.Limit > 0 {
		query.Set("limit", strconv.Itoa(q.Limit))
	}
	request, t := c.call(ctx, "")
	t.wait = q.Wait
	var answers []cli.TaskResp
	if err := request.Get("/tasks?"+query.Encode(), &answers); err != nil {
		return nil, t.translate(err, "listing tasks")
	}
	tasks := make([]director.Task, 0, len(answers))
	for _, a := range answers {
		tasks = append(tasks, taskFrom(a))
	}
	slices.SortFunc(tasks, func(a, b director.Task) int { return cmp.Compare(b.ID, a.ID) })
	return tasks, nil
}

// Task reads one task.
func (c *Client) Task(ctx context.Context, id int, wait time.Duration) (director.Task, error) {
	request, t := c.call(ctx, "")
	t.wait = wait
	var answer cli.TaskResp
	err := request.Get(fmt.Sprintf("/tasks/%d", id), &answer)
	return taskFrom(answer), t.translate(err, fmt.Sprintf("reading task %d", id))
}

func taskFrom(a cli.TaskResp) director.Task {
	return director.Task{ID: a.ID, State: a.State, Deployment: a.Deployment, ContextID: a.ContextId, Description: a.Description, Result: a.Result}
}

// Cancel asks a task to end. The director refuses (400) when it has ended.
func (c *Client) Cancel(ctx context.Context, id int) error {
	request, t := c.call(ctx, "")
	_, _, err := request.RawDelete(fmt.Sprintf("/task/%d", id)) // singular: WIRE.md
	if t.status == http.StatusBadRequest || t.status == http.StatusNotFound {
		return nil
	}
	return t.translate(err, fmt.Sprintf("cancelling task %d", id))
}

// Manifest returns what the last successful deploy posted, byte for byte.
func (c *Client) Manifest(ctx context.Context, deployment string) ([]byte, error) {
	request, t := c.call(ctx, "")
	var answer cli.DeploymentResp
	err := request.Get("/deployments/"+url.PathEscape(deployment), &answer)
	return []byte(answer.Manifest), t.translate(err, "reading deployment "+deployment)
}

// Instances reads the plain list of instances: no task, no agent is asked.
func (c *Client) Instances(ctx context.Context, deployment string) ([]director.VM, error) {
	type instance struct {
		ID        string   `json:"id"`
		Group     string   `json:"job"`
		Index     int      `json:"index"`
		IPs       []string `json:"ips"`
		CID       string   `json:"cid"`
		ExpectsVM bool     `json:"expects_vm"`
	}
	answers, err := get[[]instance](ctx, c, "/deployments/"+url.PathEscape(deployment)+"/instances", "reading the instances of "+deployment)
	vms := make([]director.VM, 0, len(answers))
	for _, a := range answers {
		vms = append(vms, director.VM{ID: a.ID, Group: a.Group, Index: a.Index, Addresses: a.IPs, Missing: a.ExpectsVM && a.CID == ""})
	}
	slices.SortFunc(vms, func(a, b director.VM) int { return cmp.Compare(a.Index, b.Index) })
	return vms, err
}

// Events reads a task's event output from a byte on; 416 means nothing new.
func (c *Client) Events(ctx context.Context, task int, from int64) ([]byte, error) {
	request, t := c.call(ctx, "")
	body, _, err := request.RawGet(fmt.Sprintf("/tasks/%d/output?type=event", task), nil,
		func(r *http.Request) { r.Header.Set("Range", fmt.Sprintf("bytes=%d-", from)) })
	switch {
	case t.status == http.StatusRequestedRangeNotSatisfiable:
		return nil, nil
	case t.status == http.StatusOK && from > 0:
		return nil, nil // a director without ranges: the whole text is of no use
	}
	return body, t.translate(err, fmt.Sprintf("reading the events of task %d", task))
}
