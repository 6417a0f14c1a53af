package install

import (
	"context"
	"slices"
	"strings"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/store"
)

// Uninstall removes a version of a service release ("name/version"), or all of
// them ("name"), that no instance uses. First nobody can order it any more, then
// it is looked again whether nobody did, then it is removed; what was cut off is
// done by uninstalling again. BOSH releases stay on the directors. Errors:
// NotFound, Conflict (instances use it), Unavailable.
func (in *Installer) Uninstall(ctx context.Context, actor, ref string) error {
	name, version, one := strings.Cut(ref, "/")
	all, err := in.Store.Releases(ctx)
	if err != nil {
		return err
	}
	record := recordOf(all, name)
	var versions []string
	for _, v := range record.Versions {
		if !one || v.Version == version {
			versions = append(versions, v.Version)
		}
	}
	if len(versions) == 0 {
		if err := in.Store.CleanRelease(ctx, record); err != nil { // what one that was cut off left
			return err
		}
		return in.notInstalled(ref)
	}
	var refs []string
	for _, v := range versions {
		refs = append(refs, name+"/"+v)
		if users := in.Store.ReleaseUse(name + "/" + v); users > 0 {
			return inUse(name+"/"+v, users)
		}
	}
	was := record.Current
	if slices.Contains(versions, was) {
		record.Current = ""
	}
	record.Removing = versions
	if err := in.change(ctx, record, anything); err != nil {
		return err
	}
	users, err := in.Store.ReleaseUsers(ctx, refs...)
	if err != nil {
		return err
	}
	if len(users) > 0 { // made on a replica that had not heard of it
		record.Current, record.Removing = was, nil
		if err := in.change(ctx, record, anything); err != nil {
			return err
		}
		return inUse(ref, len(users))
	}
	record.Removing = nil
	record.Versions = slices.DeleteFunc(record.Versions, func(v store.ReleaseVersion) bool { return slices.Contains(versions, v.Version) })
	if err := in.change(ctx, record, anything); err != nil {
		return err
	}
	if err := in.Store.CleanRelease(ctx, record); err != nil {
		return err
	}
	in.Log.Info("a service release is uninstalled", "release", ref, "actor", actor)
	return in.Shelf.Refresh(ctx)
}

func anything(store.Releases) error { return nil }

func inUse(ref string, instances int) error {
	return serviceforge.Errorf(serviceforge.Conflict, "%s cannot be uninstalled: %s; upgrade or delete what uses it first", ref, usedBy(instances))
}

func (in *Installer) notInstalled(ref string) error {
	for _, e := range in.Shelf.Editions() {
		if e.BuiltIn && (ref == e.Ref() || ref == e.Name()) {
			return serviceforge.Errorf(serviceforge.Conflict, "%s comes with ServiceForge: it cannot be uninstalled", e.Ref())
		}
	}
	return serviceforge.Errorf(serviceforge.NotFound, "the service release %s is not installed (`serviceforge releases` lists what is)", ref)
}
