package api

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/go-chi/chi/v5"

	"github.com/serviceforge/serviceforge/localbosh/bosherr"
	"github.com/serviceforge/serviceforge/localbosh/deploy"
	"github.com/serviceforge/serviceforge/localbosh/manifest"
)

func (s *server) configRoutes(r chi.Router) {
	for path, kind := range map[string]string{"/cloud_configs": "cloud", "/runtime_configs": "runtime", "/cpi_configs": "cpi"} {
		r.Get(path, s.listTyped(kind))
		r.Post(path, consumes("text/yaml", s.putTyped(kind)))
		r.Post(path+"/diff", consumes("text/yaml", s.diffTyped(kind)))
	}
	r.Get("/configs", s.listConfigs)
	r.Get("/configs/{id}", s.getConfig)
	r.Post("/configs", consumes("application/json", s.putConfig))
	r.Post("/configs/diff", consumes("application/json", s.diffConfigs))
	r.Delete("/configs", s.deleteConfigs)
	r.Delete("/configs/{id}", s.deleteConfig)
	r.Get("/deployment_configs", s.deploymentConfigs)
}

// timeText is how the director writes times in config lists.
const timeText = "2006-01-02 15:04:05 UTC"

// configName is the name of a request; none means "default".
func configName(r *http.Request) string {
	if name := r.URL.Query().Get("name"); name != "" {
		return name
	}
	return "default"
}

func (s *server) listTyped(kind string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		limit, err := strconv.Atoi(r.URL.Query().Get("limit"))
		if err != nil || limit < 1 {
			s.fail(w, r, bosherr.New(bosherr.ValidationInvalidValue, "limit is required"))
			return
		}
		out := []map[string]string{}
		for _, c := range s.Engine.Configs.List(deploy.ConfigFilter{Type: kind, Name: configName(r), Limit: limit}) {
			out = append(out, map[string]string{"properties": c.Content, "created_at": c.Created.Format(timeText)})
		}
		answer(w, out)
	}
}

// readYAML reads a body that must be a YAML mapping; more is not checked before
// somebody deploys with it.
func readYAML(w http.ResponseWriter, r *http.Request) (string, map[string]any, error) {
	data, err := body(w, r)
	if err != nil {
		return "", nil, err
	}
	tree, err := manifest.ParseTree(data)
	return string(data), tree, err
}

func (s *server) putTyped(kind string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		content, _, err := readYAML(w, r)
		if err == nil {
			_, err = s.Engine.Configs.Put(kind, configName(r), content)
		}
		if err != nil {
			s.fail(w, r, err)
			return
		}
		text(w, http.StatusCreated, htmlType, "")
	}
}

func (s *server) diffTyped(kind string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, after, err := readYAML(w, r)
		if err != nil {
			writeJSON(w, http.StatusBadRequest, htmlType, map[string]any{"diff": []any{}, "error": "Unable to diff config content: " + err.Error()})
			return
		}
		before, _ := s.latest(kind, configName(r))
		answer(w, map[string]any{"diff": diff(before, after, false)})
	}
}

// latest is the tree and id ("0" for none) of the current version.
func (s *server) latest(kind, name string) (map[string]any, string) {
	all := s.Engine.Configs.List(deploy.ConfigFilter{Type: kind, Name: name, Limit: 1})
	if len(all) == 0 {
		return nil, "0"
	}
	tree, err := manifest.ParseTree([]byte(all[0].Content))
	if err != nil {
		tree = nil
	}
	return tree, strconv.Itoa(all[0].ID)
}

func (s *server) configJSON(c deploy.Config) map[string]any {
	return map[string]any{
		"content": c.Content, "id": strconv.Itoa(c.ID), "type": c.Type, "name": c.Name, "team": nil,
		"created_at": c.Created.Format(timeText), "current": s.Engine.Configs.Current(c),
	}
}

func (s *server) listConfigs(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	f := deploy.ConfigFilter{Type: q.Get("type"), Name: q.Get("name")}
	f.Limit, _ = strconv.Atoi(q.Get("limit"))
	if q.Get("latest") == "true" {
		f.Limit = 1
	}
	out := []map[string]any{}
	for _, c := range s.Engine.Configs.List(f) {
		out = append(out, s.configJSON(c))
	}
	answer(w, out)
}

func (s *server) getConfig(w http.ResponseWriter, r *http.Request) {
	c, err := s.Engine.Configs.Get(chi.URLParam(r, "id"))
	if err == nil && c.Deleted {
		err = bosherr.New(bosherr.ConfigNotFound, "Config %d not found", c.ID)
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	answer(w, s.configJSON(c))
}

func (s *server) putConfig(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Type, Name, Content string
		ExpectedLatestID    *string `json:"expected_latest_id"`
	}
	if err := decode(w, r, &in); err != nil {
		s.fail(w, r, err)
		return
	}
	if in.Type == "" || in.Name == "" {
		s.fail(w, r, bosherr.New(bosherr.BadManifest, "'type' and 'name' are required"))
		return
	}
	if _, err := manifest.ParseTree([]byte(in.Content)); err != nil {
		s.fail(w, r, err)
		return
	}
	if _, id := s.latest(in.Type, in.Name); in.ExpectedLatestID != nil && *in.ExpectedLatestID != id {
		writeJSON(w, http.StatusPreconditionFailed, htmlType, map[string]any{
			"latest_id": id, "expected_latest_id": *in.ExpectedLatestID,
			"description": fmt.Sprintf("Latest Id: '%s' does not match expected latest id", id),
		})
		return
	}
	c, err := s.Engine.Configs.Put(in.Type, in.Name, in.Content)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	writeJSON(w, http.StatusCreated, htmlType, s.configJSON(c))
}

// diffConfigs compares two stored versions, or the current one with a text.
func (s *server) diffConfigs(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Type, Name, Content string
		From, To            struct{ ID, Content string }
	}
	if err := decode(w, r, &in); err != nil {
		s.fail(w, r, err)
		return
	}
	if in.Type != "" {
		after, err := manifest.ParseTree([]byte(in.Content))
		if err != nil {
			s.fail(w, r, err)
			return
		}
		before, id := s.latest(in.Type, in.Name)
		answer(w, map[string]any{"from": map[string]string{"id": id}, "diff": diff(before, after, false)})
		return
	}
	var trees [2]map[string]any
	for n, side := range []struct{ ID, Content string }{in.From, in.To} {
		content := side.Content
		if side.ID != "" && side.ID != "0" {
			c, err := s.Engine.Configs.Get(side.ID)
			if err != nil {
				s.fail(w, r, err)
				return
			}
			content = c.Content
		}
		trees[n], _ = manifest.ParseTree([]byte(content)) // what is no mapping compares as empty
	}
	answer(w, map[string]any{"diff": diff(trees[0], trees[1], false)})
}

func (s *server) deleteConfigs(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	s.deleteMatching(w, r, func(c deploy.Config) bool { return c.Type == q.Get("type") && c.Name == q.Get("name") })
}

func (s *server) deleteConfig(w http.ResponseWriter, r *http.Request) {
	s.deleteMatching(w, r, func(c deploy.Config) bool { return strconv.Itoa(c.ID) == chi.URLParam(r, "id") })
}

func (s *server) deleteMatching(w http.ResponseWriter, r *http.Request, match func(deploy.Config) bool) {
	found, err := s.Engine.Configs.Delete(match)
	switch {
	case err != nil:
		s.fail(w, r, err)
	case !found:
		w.WriteHeader(http.StatusNotFound)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

// deploymentConfigs tells with which configs deployments were deployed.
func (s *server) deploymentConfigs(w http.ResponseWriter, r *http.Request) {
	out := []map[string]any{}
	for n, name := range r.URL.Query()["deployment[]"] {
		d, err := s.Engine.State.Get(name)
		if err != nil {
			continue
		}
		for _, id := range append(append([]int{}, d.CloudConfigs...), d.RuntimeConfigs...) {
			if c, err := s.Engine.Configs.Get(strconv.Itoa(id)); err == nil {
				out = append(out, map[string]any{
					"id": n + 1, "deployment": name,
					"config": map[string]any{"id": c.ID, "type": c.Type, "name": c.Name},
				})
			}
		}
	}
	answer(w, out)
}
