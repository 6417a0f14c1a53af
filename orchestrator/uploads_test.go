package orchestrator_test

import (
	"context"
	"slices"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator/director"
	"github.com/serviceforge/serviceforge/releases/boshrelease"
)

// uploads is what the scripted director was given.
type uploads struct {
	parts map[string]map[string]string // by name/version
	sent  []string                     // "name/version", "stemcell os/version", in order
	// hidden says that we do not see the tasks of our uploads, as a team's client.
	hidden bool
	// slow uploads end a while after somebody asked for their task; the director
	// answers at once, as real ones do.
	slow time.Duration
}

func (d *scripted) Parts(_ context.Context, name, version string) (parts map[string]string, err error) {
	err = d.call("Parts", func() error {
		if !slices.Contains(d.inventory.releases[name], version) {
			return serviceforge.Errorf(serviceforge.NotFound, "Release version '%s/%s' doesn't exist", name, version)
		}
		parts = d.uploads.parts[name+"/"+version]
		return nil
	})
	return parts, err
}

func (d *scripted) Matches(context.Context, []byte) (known []string, err error) {
	err = d.call("Matches", func() error {
		for _, parts := range d.uploads.parts {
			for _, fingerprint := range parts {
				known = append(known, fingerprint)
			}
		}
		return nil
	})
	return known, err
}

func (d *scripted) UploadRelease(_ context.Context, t director.Tarball) (task int, err error) {
	err = d.call("UploadRelease", func() error {
		in, err := t.Open()
		if err != nil {
			return err
		}
		defer func() { _ = in.Close() }()
		c, err := boshrelease.Read(in)
		if err != nil {
			return err
		}
		ref := c.Name + "/" + c.Version
		if d.inventory.releases == nil {
			d.inventory.releases = map[string][]string{}
		}
		if d.uploads.parts == nil {
			d.uploads.parts = map[string]map[string]string{}
		}
		if !slices.Contains(d.inventory.releases[c.Name], c.Version) {
			d.inventory.releases[c.Name] = append(d.inventory.releases[c.Name], c.Version)
			d.uploads.parts[ref] = c.Parts
		}
		d.uploads.sent = append(d.uploads.sent, ref)
		task = d.task(director.Task{State: director.TaskDone, Description: "create release", Result: "Created release '" + ref + "'"})
		if d.uploads.slow > 0 {
			d.tasks[task-1].State = director.TaskProcessing
		}
		if d.uploads.hidden {
			task = 1 << 20
		}
		return nil
	})
	return task, err
}

// uploaded ends the task of an upload.
func (d *scripted) uploaded(task int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tasks[task-1].State = director.TaskDone
	d.tell()
}

func (d *scripted) FetchRelease(context.Context, string, string) (task int, err error) {
	err = d.call("FetchRelease", func() error {
		task = d.task(director.Task{State: director.TaskError, Description: "create release", Result: "No connection"})
		return nil
	})
	return task, err
}

func (d *scripted) UploadStemcell(_ context.Context, t director.Tarball) (task int, err error) {
	err = d.call("UploadStemcell", func() error {
		in, err := t.Open()
		if err != nil {
			return err
		}
		defer func() { _ = in.Close() }()
		s, err := boshrelease.ReadStemcell(in)
		if err != nil {
			return err
		}
		if d.inventory.stemcells == nil {
			d.inventory.stemcells = map[string][]string{}
		}
		d.inventory.stemcells[s.OS] = append(d.inventory.stemcells[s.OS], s.Version)
		d.uploads.sent = append(d.uploads.sent, "stemcell "+s.OS+"/"+s.Version)
		task = d.task(director.Task{State: director.TaskDone, Description: "create stemcell"})
		return nil
	})
	return task, err
}
