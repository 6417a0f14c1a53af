package deploy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/serviceforge/serviceforge/localbosh/bosherr"
	"github.com/serviceforge/serviceforge/localbosh/manifest"
	"github.com/serviceforge/serviceforge/localbosh/render"
	"github.com/serviceforge/serviceforge/localbosh/vm"
)

// rendered is what an instance's templates became.
type rendered struct {
	jobs   []vm.Job
	digest string
}

// render renders all instances of a plan in one go.
func (e *Engine) render(ctx context.Context, plan *manifest.Plan) (map[string]rendered, error) {
	templates := map[string][]render.Template{} // by job fingerprint and name
	var in []render.Instance
	for _, g := range plan.Groups {
		for _, i := range g.Instances {
			ri := render.Instance{Group: g.Name, Index: i.Index, ID: i.ID}
			for _, j := range i.Jobs {
				key := j.Release.Name + "/" + j.Spec.Name + "/" + j.Spec.Fingerprint
				if _, ok := templates[key]; !ok {
					ts, err := e.Blobs.JobTemplates(j.Spec)
					if err != nil {
						return nil, err
					}
					templates[key] = []render.Template{}
					for _, t := range ts {
						templates[key] = append(templates[key], render.Template(t))
					}
				}
				ri.Jobs = append(ri.Jobs, render.Job{Name: j.Name, Templates: templates[key], Spec: j.Document})
			}
			in = append(in, ri)
		}
	}
	results, err := e.Renderer.Render(ctx, in)
	var mistakes *render.Error
	if errors.As(err, &mistakes) {
		return nil, bosherr.New(bosherr.DirectorError, "%s", mistakes.Error())
	}
	if err != nil {
		return nil, err
	}
	out := make(map[string]rendered, len(results))
	for _, res := range results {
		out[res.ID] = fromResult(res)
	}
	return out, nil
}

func fromResult(res render.Result) rendered {
	sum := sha256.New()
	var r rendered
	for _, j := range res.Jobs {
		fmt.Fprintf(sum, "%s %s\n", j.Name, j.Digest)
		job := vm.Job{Name: j.Name, Monit: j.Monit}
		for _, f := range j.Files {
			job.Files = append(job.Files, vm.File{Path: f.Path, Mode: uint32(f.Mode.Perm()), Data: f.Data})
		}
		r.jobs = append(r.jobs, job)
	}
	r.digest = hex.EncodeToString(sum.Sum(nil))
	return r
}
