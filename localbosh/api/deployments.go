package api

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/serviceforge/serviceforge/localbosh/bosherr"
	"github.com/serviceforge/serviceforge/localbosh/deploy"
	"github.com/serviceforge/serviceforge/localbosh/manifest"
	"github.com/serviceforge/serviceforge/localbosh/tasks"
)

func (s *server) deploymentRoutes(r chi.Router) {
	r.Get("/deployments", s.listDeployments)
	r.Post("/deployments", consumes("text/yaml", s.postDeployment))
	r.Get("/deployments/{name}", s.getDeployment)
	r.Delete("/deployments/{name}", s.deleteDeployment)
	r.Post("/deployments/{name}/diff", consumes("text/yaml", s.diffDeployment))
	r.Get("/deployments/{name}/vms", s.listVMs)
	r.Get("/deployments/{name}/instances", s.listInstances)
	r.Get("/deployments/{name}/variables", s.listVariables)
	r.Get("/deployments/{name}/errands", s.listErrands)
	r.Post("/deployments/{name}/errands/{errand}/runs", consumes("application/json", s.runErrand))
	r.Put("/deployments/{name}/jobs/{group}", consumes("text/yaml", s.changeState))
	r.Put("/deployments/{name}/jobs/{group}/{instance}", consumes("text/yaml", s.changeState))
	r.Get("/deployments/{name}/jobs/{group}/{instance}/logs", s.fetchLogs)
	r.Put("/deployments/{name}/instance_groups/{group}/{instance}/ignore", consumes("application/json", s.ignore))
}

// deployment is the one the path names; it answers itself when there is none.
func (s *server) deployment(w http.ResponseWriter, r *http.Request) (deploy.Deployment, bool) {
	d, err := s.Engine.State.Get(chi.URLParam(r, "name"))
	if err != nil {
		s.fail(w, r, err)
	}
	return d, err == nil
}

func (s *server) listDeployments(w http.ResponseWriter, r *http.Request) {
	type row struct {
		Name        string                `json:"name"`
		Teams       []string              `json:"teams"`
		CloudConfig string                `json:"cloud_config,omitempty"`
		Stemcells   *[]deploy.NameVersion `json:"stemcells,omitempty"`
		Releases    *[]deploy.NameVersion `json:"releases,omitempty"`
		Locked      bool                  `json:"locked"`
	}
	q := r.URL.Query()
	current := s.current("cloud")
	out := []row{}
	for _, d := range s.Engine.State.List() {
		v := row{Name: d.Name, Teams: []string{}, Locked: s.tasks.Locked("deployment:" + d.Name)}
		if q.Get("exclude_configs") != "true" {
			v.CloudConfig = "outdated"
			if len(d.CloudConfigs) == 0 {
				v.CloudConfig = "none"
			} else if slices.Equal(d.CloudConfigs, current) {
				v.CloudConfig = "latest"
			}
		}
		if q.Get("exclude_stemcells") != "true" {
			v.Stemcells = &d.Stemcells
		}
		if q.Get("exclude_releases") != "true" {
			v.Releases = &d.Releases
		}
		out = append(out, v)
	}
	answer(w, out)
}

// current are the ids of the newest configs of a type.
func (s *server) current(kind string) []int {
	ids := []int{}
	for _, c := range s.Engine.Configs.Latest(kind) {
		ids = append(ids, c.ID)
	}
	return ids
}

func (s *server) getDeployment(w http.ResponseWriter, r *http.Request) {
	if d, ok := s.deployment(w, r); ok {
		answer(w, map[string]any{"manifest": d.Manifest})
	}
}

// postDeployment accepts a manifest; all but its being a mapping with a name is
// found out by the task.
func (s *server) postDeployment(w http.ResponseWriter, r *http.Request) {
	posted, tree, err := readYAML(w, r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	name, ok := tree["name"].(string)
	if !ok || !deploy.ValidName(name) {
		text(w, http.StatusInternalServerError, htmlType, "") // so does the director
		return
	}
	args := deploy.UpdateArgs{Deployment: name, Manifest: &posted}
	if err := updateOptions(r, &args); err != nil {
		s.fail(w, r, err)
		return
	}
	if err := s.Engine.State.Ensure(name); err != nil {
		s.fail(w, r, err)
		return
	}
	s.enqueueUpdate(w, r, args)
}

func (s *server) enqueueUpdate(w http.ResponseWriter, r *http.Request, args deploy.UpdateArgs) {
	description := "create deployment"
	if args.DryRun {
		description += " (dry run)"
	}
	s.enqueue(w, r, tasks.Spec{Type: tasks.UpdateDeployment, Description: description, Deployment: args.Deployment, Args: args})
}

// updateOptions reads the query of a deploy.
func updateOptions(r *http.Request, args *deploy.UpdateArgs) error {
	q := r.URL.Query()
	args.Recreate = q.Get("recreate") == "true"
	args.DryRun = q.Get("dry_run") == "true"
	args.Canaries, args.MaxInFlight = q.Get("canaries"), q.Get("max_in_flight")
	if skip := q.Get("skip_drain"); skip != "" {
		args.SkipDrain = strings.Split(skip, ",")
	}
	if context := q.Get("context"); context != "" {
		var c struct {
			Cloud   []int `json:"cloud_config_ids"`
			Runtime []int `json:"runtime_config_ids"`
		}
		if err := json.Unmarshal([]byte(context), &c); err != nil {
			return bosherr.New(bosherr.BadManifest, "Malformed context: %v", err)
		}
		args.CloudConfigs, args.RuntimeConfigs = c.Cloud, c.Runtime
	}
	return nil
}

func (s *server) deleteDeployment(w http.ResponseWriter, r *http.Request) {
	d, ok := s.deployment(w, r)
	if !ok {
		return
	}
	s.enqueue(w, r, tasks.Spec{
		Type: tasks.DeleteDeployment, Description: "delete deployment " + d.Name, Deployment: d.Name,
		Args: deploy.DeleteArgs{Deployment: d.Name, Force: r.URL.Query().Get("force") == "true"},
	})
}

// diffDeployment compares a manifest with the last good one, each with its cloud
// config. It works for a deployment that does not exist, and leaves nothing.
func (s *server) diffDeployment(w http.ResponseWriter, r *http.Request) {
	_, after, err := readYAML(w, r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	var before map[string]any
	if d, err := s.Engine.State.Get(chi.URLParam(r, "name")); err == nil && d.Manifest != nil {
		if before, err = manifest.ParseTree([]byte(*d.Manifest)); err == nil {
			s.addConfigs(before, d.CloudConfigs)
		}
	}
	cloud := s.current("cloud")
	s.addConfigs(after, cloud)
	answer(w, map[string]any{
		"context": map[string]any{"cloud_config_ids": cloud, "runtime_config_ids": s.current("runtime")},
		"diff":    diff(before, after, r.URL.Query().Get("redact") != "false"),
	})
}

func (s *server) addConfigs(tree map[string]any, ids []int) {
	for _, id := range ids {
		c, err := s.Engine.Configs.Get(strconv.Itoa(id))
		if err != nil {
			continue
		}
		cloud, err := manifest.ParseTree([]byte(c.Content))
		if err != nil {
			continue
		}
		for key, v := range cloud {
			old, isList := tree[key].([]any)
			if more, ok := v.([]any); ok && isList {
				v = slices.Concat(old, more)
			}
			tree[key] = v
		}
	}
}

func (s *server) listVMs(w http.ResponseWriter, r *http.Request) { s.listState(w, r, false) }

func (s *server) listInstances(w http.ResponseWriter, r *http.Request) { s.listState(w, r, true) }

// listState lists VMs, or instances with and without one: from the records, or
// with format=full by a task that asks every VM.
func (s *server) listState(w http.ResponseWriter, r *http.Request, instances bool) {
	d, ok := s.deployment(w, r)
	if !ok {
		return
	}
	if r.URL.Query().Get("format") == "full" {
		s.enqueue(w, r, tasks.Spec{
			Type: tasks.VMState, Description: "retrieve vm-stats", Deployment: d.Name,
			Args: deploy.VMStateArgs{Deployment: d.Name, Instances: instances},
		})
		return
	}
	out := []map[string]any{}
	for _, i := range d.Instances {
		if i.VM == nil && !instances {
			continue
		}
		row := map[string]any{
			"agent_id": nil, "cid": nil, "job": i.Group, "index": i.Index, "id": i.ID, "az": i.AZ, "ips": []string{},
			"vm_created_at": nil,
		}
		if i.VM != nil {
			row["agent_id"], row["cid"], row["ips"] = i.VM.AgentID, i.VM.CID, list(i.IPs())
			row["vm_created_at"] = i.VM.Created.Format(time.RFC3339)
		}
		if instances {
			row["expects_vm"] = !i.Errand && i.State != deploy.Detached
		} else {
			row["active"], row["permanent_nats_credentials"] = true, false
		}
		out = append(out, row)
	}
	answer(w, out)
}

func (s *server) listVariables(w http.ResponseWriter, r *http.Request) {
	d, ok := s.deployment(w, r)
	if !ok {
		return
	}
	out := []map[string]string{}
	for _, name := range d.Variables {
		if s.Engine.Variables == nil {
			break
		}
		if id, ok := s.Engine.Variables.ID(name); ok {
			out = append(out, map[string]string{"id": strconv.Itoa(id), "name": name})
		}
	}
	answer(w, out)
}

func (s *server) listErrands(w http.ResponseWriter, r *http.Request) {
	d, ok := s.deployment(w, r)
	if !ok {
		return
	}
	names, err := s.Engine.Errands(d.Name)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	answer(w, names)
}

func (s *server) runErrand(w http.ResponseWriter, r *http.Request) {
	d, ok := s.deployment(w, r)
	if !ok {
		return
	}
	var in struct {
		KeepAlive bool                    `json:"keep-alive"`
		Instances []deploy.InstanceFilter `json:"instances"`
	}
	if err := decode(w, r, &in); err != nil {
		s.fail(w, r, err)
		return
	}
	errand := chi.URLParam(r, "errand")
	s.enqueue(w, r, tasks.Spec{
		Type: tasks.RunErrand, Description: "run errand " + errand + " from deployment " + d.Name, Deployment: d.Name,
		Args: deploy.ErrandArgs{Deployment: d.Name, Errand: errand, KeepAlive: in.KeepAlive, Instances: in.Instances},
	})
}

// states are what PUT …/jobs can ask for.
var states = []string{deploy.Started, deploy.Stopped, deploy.Detached, "restart", "recreate"}

// changeState is PUT …/jobs/GROUP[/INSTANCE]?state=…; a group that does not exist
// is a task that does nothing.
func (s *server) changeState(w http.ResponseWriter, r *http.Request) {
	d, ok := s.deployment(w, r)
	if !ok {
		return
	}
	change := deploy.StateChange{Group: chi.URLParam(r, "group"), Instance: chi.URLParam(r, "instance"), State: r.URL.Query().Get("state")}
	if !slices.Contains(states, change.State) {
		s.fail(w, r, bosherr.New(bosherr.ValidationInvalidValue, "'%s' is not one of the job states %s", change.State, strings.Join(states, ", ")))
		return
	}
	if change.Group == "*" {
		change.Group = ""
	}
	if change.Instance != "" {
		if _, err := d.Find(change.Group, change.Instance); err != nil {
			s.fail(w, r, err)
			return
		}
	}
	args := deploy.UpdateArgs{
		Deployment: d.Name, States: []deploy.StateChange{change},
		CloudConfigs: d.CloudConfigs, RuntimeConfigs: d.RuntimeConfigs,
	}
	if err := updateOptions(r, &args); err != nil {
		s.fail(w, r, err)
		return
	}
	s.enqueueUpdate(w, r, args)
}

func (s *server) fetchLogs(w http.ResponseWriter, r *http.Request) {
	d, ok := s.deployment(w, r)
	if !ok {
		return
	}
	args := deploy.LogsArgs{Deployment: d.Name, Group: chi.URLParam(r, "group"), Instance: chi.URLParam(r, "instance")}
	if args.Instance != "*" {
		if _, err := d.Find(args.Group, args.Instance); err != nil {
			s.fail(w, r, err)
			return
		}
	}
	s.enqueue(w, r, tasks.Spec{Type: tasks.FetchLogs, Description: "fetch logs", Deployment: d.Name, Args: args})
}

// ignore makes deploys leave an instance alone, or not any more.
func (s *server) ignore(w http.ResponseWriter, r *http.Request) {
	d, ok := s.deployment(w, r)
	if !ok {
		return
	}
	var in struct{ Ignore bool }
	i, err := d.Find(chi.URLParam(r, "group"), chi.URLParam(r, "instance"))
	if err == nil {
		err = decode(w, r, &in)
	}
	if err == nil {
		err = s.Engine.Ignore(d.Name, i.ID, in.Ignore)
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	text(w, http.StatusOK, htmlType, "")
}
