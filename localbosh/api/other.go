package api

import (
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/serviceforge/serviceforge/localbosh/bosherr"
	"github.com/serviceforge/serviceforge/localbosh/deploy"
	"github.com/serviceforge/serviceforge/localbosh/tasks"
)

func (s *server) otherRoutes(r chi.Router) {
	empty := func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, jsonType, []any{}) }
	r.Get("/locks", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, jsonType, s.tasks.Locks()) })
	r.Get("/events", empty) // this director keeps no audit trail: its tasks tell what happened
	r.Get("/orphaned_vms", empty)
	r.Get("/networks", empty)
	r.Get("/director/certificate_expiry", empty)
	r.Get("/disks", s.listDisks)
	r.Delete("/disks/{cid}", s.deleteDisk)
	r.Post("/cleanup", consumes("application/json", s.cleanUp))
	r.Get("/cleanup/dryrun", s.cleanUpDryRun)
	r.Post("/deployments/{name}/ssh", s.ssh)
}

func (s *server) listDisks(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, jsonType, diskRows(s.Engine.State.Orphans()))
}

func diskRows(disks []deploy.OrphanedDisk) []map[string]any {
	out := []map[string]any{}
	for _, o := range disks {
		out = append(out, map[string]any{
			"disk_cid": o.CID, "size": o.Size, "az": o.AZ, "deployment_name": o.Deployment,
			"instance_name": o.Instance, "cloud_properties": map[string]any{}, "orphaned_at": o.Orphaned.Format(timeText),
		})
	}
	return out
}

func (s *server) deleteDisk(w http.ResponseWriter, r *http.Request) {
	cid := chi.URLParam(r, "cid")
	s.enqueue(w, r, tasks.Spec{Type: tasks.DeleteDisk, Description: "delete orphan disks: " + cid, Args: deploy.DiskArgs{CID: cid}})
}

func (s *server) cleanUp(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Config struct {
			All  bool `json:"remove_all"`
			Keep bool `json:"keep_orphaned_disks"`
		}
	}
	if err := decode(w, r, &in); err != nil {
		s.fail(w, r, err)
		return
	}
	description := "clean up"
	if in.Config.All {
		description += " all"
	}
	s.enqueue(w, r, tasks.Spec{
		Type: tasks.CleanUp, Description: description,
		Args: deploy.CleanUpArgs{All: in.Config.All, KeepOrphanedDisks: in.Config.Keep},
	})
}

func (s *server) cleanUpDryRun(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	u := s.Engine.Unused(deploy.CleanUpArgs{All: q.Get("remove_all") == "true", KeepOrphanedDisks: q.Get("keep_orphaned_disks") == "true"})
	none := []any{}
	answer(w, map[string]any{
		"releases": list(u.Releases), "stemcells": list(u.Stemcells), "orphaned_disks": diskRows(u.Disks),
		"compiled_packages": none, "orphaned_vms": none, "exported_releases": none, "dns_blobs": none,
	})
}

// ssh is refused in words: the VMs of this director have no sshd.
func (s *server) ssh(w http.ResponseWriter, r *http.Request) {
	if _, ok := s.deployment(w, r); ok {
		s.fail(w, r, bosherr.New(bosherr.ValidationInvalidValue, "VMs of this director run on this machine and have no SSH server; read their logs with 'bosh logs'"))
	}
}
