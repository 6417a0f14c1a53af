package deploy

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/serviceforge/serviceforge/localbosh/blobs"
	"github.com/serviceforge/serviceforge/localbosh/bosherr"
	"github.com/serviceforge/serviceforge/localbosh/manifest"
	"github.com/serviceforge/serviceforge/localbosh/tasks"
	"github.com/serviceforge/serviceforge/localbosh/vm"
)

// packages maps, per instance group, package names to folder names below
// vm.Host.Packages.
type packages map[string]map[string]string

// compile compiles what the groups need and is not compiled yet.
func (e *Engine) compile(ctx context.Context, r *tasks.Run, p *prepared, groups []*manifest.PlannedGroup) (packages, error) {
	type unit struct {
		use      manifest.PackageUse
		stemcell manifest.Stemcell
	}
	var missing []unit
	seen := map[string]bool{}
	find := r.Stage("Preparing package compilation", 1)
	_ = find.Do("Finding packages to compile", func(*tasks.Step) error {
		for _, g := range groups {
			for _, u := range g.Packages {
				key := u.Release.Name + "/" + u.Package.Name + "/" + u.Package.Fingerprint + "/" + g.Stemcell.OS + "/" + g.Stemcell.Version
				if _, ok := e.Blobs.Compiled(u.Release, u.Package, g.Stemcell); !ok && !seen[key] {
					missing = append(missing, unit{u, g.Stemcell})
				}
				seen[key] = true
			}
		}
		return nil
	})
	stage := r.Stage("Compiling packages", len(missing))
	err := each(ctx, p.cloud.Compilation.Workers, missing, func(ctx context.Context, u unit) error {
		return stage.Do(u.use.Package.Name+"/"+u.use.Package.Fingerprint, func(*tasks.Step) error {
			_, err := e.Blobs.Compile(ctx, u.use.Release, u.use.Package, u.stemcell, e.packaging(r))
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return e.packageDirs(groups)
}

func (e *Engine) packageDirs(groups []*manifest.PlannedGroup) (packages, error) {
	out := packages{}
	for _, g := range groups {
		out[g.Name] = map[string]string{}
		for _, u := range g.Packages {
			dir, ok := e.Blobs.Compiled(u.Release, u.Package, g.Stemcell)
			if !ok {
				return nil, fmt.Errorf("package %s of release %s is not compiled", u.Package.Name, u.Release.Name)
			}
			rel, err := filepath.Rel(e.Host.Packages, dir)
			if err != nil {
				return nil, err
			}
			out[g.Name][u.Package.Name] = rel
		}
	}
	return out, nil
}

// packaging runs a package's script in a sandbox; its output goes to the task's
// debug log, and into the error when it fails.
func (e *Engine) packaging(r *tasks.Run) blobs.CompileFunc {
	return func(ctx context.Context, c blobs.Compilation) error {
		output, err := e.Host.Compile(ctx, vm.Compile{
			Name: c.Name, Version: c.Fingerprint, Source: c.Source, Dependencies: c.Dependencies, Target: c.Target,
		})
		r.Log().Debug("packaging", "package", c.Name, "output", output)
		if err != nil {
			return bosherr.New(bosherr.RPCRemoteException,
				"Action Failed get_task: Task %s result: Compiling package %s: Running packaging script: %v, Output: %s",
				newUUID(), c.Name, err, tail(output, 4000))
		}
		return nil
	}
}

// tail is the end of a long text.
func tail(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return "…" + s[len(s)-n:]
}
