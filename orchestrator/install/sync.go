package install

import (
	"context"
	"io/fs"
	"slices"
	"strings"

	"github.com/serviceforge/serviceforge"
	pools "github.com/serviceforge/serviceforge/infrastructure_pools"
	"github.com/serviceforge/serviceforge/releases/boshrelease"
	"github.com/serviceforge/serviceforge/store"
)

// Synced is what was done for a pool.
type Synced struct {
	Ready    []string // versions ("name/version") that the pool can carry
	Lacking  []string // those that it cannot, with the reasons
	Uploaded []string
}

// Sync looks again what a pool's director has of the installed service releases,
// and has the catalog offer there what it can carry: for a pool that was added,
// was away when a release was installed, or lost something since. Where its
// director does not answer nothing changes. files is a service release of which
// the pool is given what it lacks; nil = it is given nothing. Errors: NotFound
// (the pool, the version), Conflict, Unavailable.
func (in *Installer) Sync(ctx context.Context, pool string, files fs.FS, tell func(Step)) (Synced, error) {
	var done Synced
	at, err := in.Pools.Pool(pool)
	if err != nil {
		return done, err
	}
	var given *parcel
	if files != nil {
		if given, err = in.open(files); err != nil {
			return done, err
		}
	}
	all, err := in.Store.Releases(ctx)
	if err != nil {
		return done, err
	}
	found := false
	for i := range all.All {
		record := &all.All[i]
		for _, v := range record.Versions {
			ref := record.Name + "/" + v.Version
			p := in.stored(ref, v)
			if given != nil {
				if given.release.Ref() != ref {
					continue
				}
				if given.digest != v.Digest {
					return done, serviceforge.Errorf(serviceforge.Conflict, "%s is installed with other content than this file's", ref)
				}
				p, found = given, true
			}
			if p == nil {
				done.Lacking = append(done.Lacking, ref+": it cannot be read")
				continue
			}
			if err := in.syncOne(ctx, p, record, v.Version, at, &done, tell); err != nil {
				return done, err
			}
		}
	}
	if given != nil && !found {
		return done, serviceforge.Errorf(serviceforge.NotFound, "%s is not installed: install it", given.release.Ref())
	}
	return done, in.Shelf.Refresh(ctx)
}

// syncOne brings one version of a release to what its pool has, after giving it
// what the parcel carries.
func (in *Installer) syncOne(ctx context.Context, p *parcel, record *store.Release, version string, pool pools.Pool, done *Synced, tell func(Step)) error {
	ref := p.release.Ref()
	tell(Step{Says: "looking what pool " + pool.Name + " has of " + ref})
	lack := refusesAll(&pool, p.release)
	if lack == "" {
		n, lacks, err := in.needOf(ctx, p, pool)
		if err != nil {
			return serviceforge.Wrap(err, serviceforge.CodeOf(err), "pool %s: %s; what is known of it stays", pool.Name, serviceforge.MessageOf(err))
		}
		lack = strings.Join(lacks, "; ")
		if lack == "" {
			uploaded, err := in.supply(ctx, p, n, tell)
			done.Uploaded = append(done.Uploaded, uploaded...)
			if err != nil {
				return err
			}
		}
	}
	if lack == "" {
		done.Ready = append(done.Ready, ref)
	} else {
		done.Lacking = append(done.Lacking, ref+": "+lack)
	}
	v := record.Version(version)
	if slices.Contains(v.Pools, pool.Name) == (lack == "") {
		return nil
	}
	if lack == "" {
		v.Pools = append(slices.Clone(v.Pools), pool.Name)
	} else {
		v.Pools = slices.DeleteFunc(slices.Clone(v.Pools), func(name string) bool { return name == pool.Name })
	}
	return in.change(ctx, record, anything)
}

// stored makes a parcel of what is kept of a version: it has no tarballs. nil =
// this replica cannot read it.
func (in *Installer) stored(ref string, v store.ReleaseVersion) *parcel {
	e, err := in.Shelf.Edition(ref)
	if err != nil {
		return nil
	}
	p := &parcel{release: e.Release, digest: v.Digest, bosh: map[string]carried{}}
	for _, b := range v.BOSH {
		p.bosh[b.Name] = carried{Content: boshrelease.Content{Name: b.Name, Version: b.Version, Parts: b.Parts}}
	}
	return p
}
