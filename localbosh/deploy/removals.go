package deploy

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/serviceforge/serviceforge/localbosh/bosherr"
	"github.com/serviceforge/serviceforge/localbosh/tasks"
)

// VersionArgs name a release or stemcell; an empty Version means every version
// of a release.
type VersionArgs struct{ Name, Version string }

// UsedBy lists the deployments whose rows satisfy in.
func (e *Engine) UsedBy(in func(Deployment) bool) []string {
	var out []string
	for _, d := range e.State.List() {
		if in(d) {
			out = append(out, d.Name)
		}
	}
	return out
}

// ReleaseUsers lists the deployments that use a release version, or any version.
func (e *Engine) ReleaseUsers(name, version string) []string {
	return e.UsedBy(func(d Deployment) bool {
		return slices.ContainsFunc(d.Releases, func(r NameVersion) bool {
			return r.Name == name && (version == "" || r.Version == version)
		})
	})
}

// StemcellUsers lists the deployments that use a stemcell.
func (e *Engine) StemcellUsers(name, version string) []string {
	return e.UsedBy(func(d Deployment) bool { return slices.Contains(d.Stemcells, NameVersion{name, version}) })
}

// deleteRelease is the task "delete release".
func (e *Engine) deleteRelease(ctx context.Context, r *tasks.Run, args VersionArgs) (string, error) {
	users := e.ReleaseUsers(args.Name, args.Version)
	label := args.Name
	if args.Version != "" {
		label += "/" + args.Version
		if len(users) > 0 {
			return "", bosherr.New(bosherr.ReleaseVersionInUse, "ReleaseVersion '%s' is still in use, by: '%s'", label, strings.Join(users, "', '"))
		}
	} else if len(users) > 0 {
		return "", bosherr.New(bosherr.ReleaseInUse, "Release '%s' is still in use", label)
	}
	err := r.Stage("Deleting release", 1).Do(label, func(*tasks.Step) error {
		return e.Blobs.DeleteRelease(ctx, args.Name, args.Version)
	})
	return "/release/" + label, err
}

// deleteStemcell is the task "delete stemcell".
func (e *Engine) deleteStemcell(ctx context.Context, r *tasks.Run, args VersionArgs) (string, error) {
	label := args.Name + "/" + args.Version
	found := false
	for _, s := range e.Blobs.Stemcells() {
		found = found || s.Name == args.Name && s.Version == args.Version
	}
	if !found {
		return "", bosherr.New(bosherr.StemcellNotFound, "Stemcell '%s' doesn't exist", label)
	}
	if users := e.StemcellUsers(args.Name, args.Version); len(users) > 0 {
		return "", bosherr.New(bosherr.StemcellInUse, "Stemcell '%s' is still in use by: %s", label, strings.Join(users, ", "))
	}
	err := r.Stage("Deleting stemcell from cloud", 1).Do("Delete stemcell", func(*tasks.Step) error {
		return e.Blobs.DeleteStemcell(ctx, args.Name, args.Version)
	})
	return "/stemcells/" + label, err
}

// DiskArgs name an orphaned disk.
type DiskArgs struct{ CID string }

// deleteDisk is the task "delete disk".
func (e *Engine) deleteDisk(_ context.Context, r *tasks.Run, args DiskArgs) (string, error) {
	err := r.Stage("Deleting orphaned disks", 1).Do(args.CID, func(*tasks.Step) error { return e.removeOrphan(args.CID) })
	return "orphaned disk(s) " + args.CID + " deleted", err
}

func (e *Engine) removeOrphan(cid string) error {
	known := slices.ContainsFunc(e.State.Orphans(), func(o OrphanedDisk) bool { return o.CID == cid })
	if !known {
		return nil // a real director answers the same: nothing to do
	}
	if err := os.RemoveAll(e.diskDir(cid)); err != nil {
		return err
	}
	return e.State.SetOrphans(func(all []OrphanedDisk) []OrphanedDisk {
		return slices.DeleteFunc(all, func(o OrphanedDisk) bool { return o.CID == cid })
	})
}

// CleanUpArgs are those of POST /cleanup.
type CleanUpArgs struct{ All, KeepOrphanedDisks bool }

// Unused is what a cleanup removes.
type Unused struct {
	Releases, Stemcells []NameVersion
	Disks               []OrphanedDisk
}

// Unused tells what a cleanup would remove: with all everything that no
// deployment uses, else only what is older than the two newest versions.
func (e *Engine) Unused(args CleanUpArgs) Unused {
	keep := 2
	if args.All {
		keep = 0
	}
	var u Unused
	releases := map[string][]NameVersion{}
	for _, r := range slices.Backward(e.Blobs.Releases()) {
		v := NameVersion{r.Name, r.Version}
		releases[r.Name] = append(releases[r.Name], v)
		if len(releases[r.Name]) > keep && !e.Blobs.BuiltIn(v.Name, v.Version) && len(e.ReleaseUsers(v.Name, v.Version)) == 0 {
			u.Releases = append(u.Releases, v)
		}
	}
	stemcells := map[string]int{}
	for _, s := range slices.Backward(e.Blobs.Stemcells()) {
		stemcells[s.Name]++
		if stemcells[s.Name] > keep && !e.Blobs.BuiltIn(s.Name, s.Version) && len(e.StemcellUsers(s.Name, s.Version)) == 0 {
			u.Stemcells = append(u.Stemcells, NameVersion{s.Name, s.Version})
		}
	}
	if !args.KeepOrphanedDisks {
		u.Disks = e.State.Orphans()
	}
	return u
}

// cleanUp is the task "clean up".
func (e *Engine) cleanUp(ctx context.Context, r *tasks.Run, args CleanUpArgs) (string, error) {
	u := e.Unused(args)
	remove := func(title string, all []NameVersion, fn func(context.Context, string, string) error) (int, error) {
		stage, n := r.Stage(title, len(all)), 0
		for _, v := range all {
			err := stage.Do(v.Name+"/"+v.Version, func(*tasks.Step) error { return fn(ctx, v.Name, v.Version) })
			if err != nil {
				return n, err
			}
			n++
		}
		return n, nil
	}
	releases, err := remove("Deleting releases", u.Releases, e.Blobs.DeleteRelease)
	if err != nil {
		return "", err
	}
	stemcells, err := remove("Deleting stemcells", u.Stemcells, e.Blobs.DeleteStemcell)
	if err != nil {
		return "", err
	}
	compiled, err := e.Blobs.Clean(ctx)
	if err != nil {
		return "", err
	}
	disks := r.Stage("Deleting orphaned disks", len(u.Disks))
	for _, d := range u.Disks {
		if err := disks.Do(d.CID, func(*tasks.Step) error { return e.removeOrphan(d.CID) }); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("Deleted %d release(s), %d stemcell(s), %d extra compiled package(s), %d orphaned disk(s), 0 orphaned vm(s), 0 exported release(s), 0 dns blob(s)",
		releases, stemcells, len(compiled), len(u.Disks)), nil
}
