package install

import (
	"cmp"
	"context"
	"slices"
	"time"

	pools "github.com/serviceforge/serviceforge/infrastructure_pools"
	"github.com/serviceforge/serviceforge/orchestrator/shelf"
	"github.com/serviceforge/serviceforge/releases"
	"github.com/serviceforge/serviceforge/store"
)

// Version is one version of a service release, as operators see it.
type Version struct {
	Name, Version string
	State         State
	Instances     int         // made with it, or on the way to it
	Pools         []Readiness // of every pool
	Digest, Actor string
	At            time.Time // when it was installed; zero = it came with the program
}

// State is what a version is to those who order.
type State string

// The states of a version.
const (
	OnOffer    State = "on offer"
	Retired    State = "retired"    // existing instances may use it; it can be installed again
	Installing State = "installing" // or cut off: install again
	Removing   State = "removing"   // or cut off: uninstall again
	Replaced   State = "replaced"   // it came with the program, and another one is installed
	Unreadable State = "unreadable" // this replica's program does not understand it
)

// Readiness says whether a pool can carry a version.
type Readiness struct {
	Pool  string
	Ready bool
}

// List lists all versions by name, oldest first. Errors: Unavailable, Internal.
func (in *Installer) List(ctx context.Context) ([]Version, error) {
	all, err := in.Store.Releases(ctx)
	if err != nil {
		return nil, err
	}
	var list []Version
	for _, e := range in.Shelf.Editions() {
		if !e.BuiltIn {
			continue
		}
		v := Version{Name: e.Name(), Version: e.Release.Version(), State: OnOffer, Digest: e.Digest}
		if recordOf(all, e.Name()).Current != "" {
			v.State = Replaced
		}
		list = append(list, in.used(v, e))
	}
	for _, r := range all.All {
		for _, kept := range r.Versions {
			list = append(list, in.version(&r, kept))
		}
		if i := r.Installing; i != nil {
			list = append(list, Version{Name: r.Name, Version: i.Version, State: Installing, Digest: i.Digest, Actor: i.Actor, At: i.At})
		}
	}
	slices.SortStableFunc(list, func(a, b Version) int { return cmp.Compare(a.Name, b.Name) })
	return list, nil
}

func (in *Installer) version(r *store.Release, kept store.ReleaseVersion) Version {
	v := Version{Name: r.Name, Version: kept.Version, State: Retired, Digest: kept.Digest, Actor: kept.Actor, At: kept.At}
	e, err := in.Shelf.Edition(r.Name + "/" + kept.Version)
	switch {
	case err != nil:
		v.State = Unreadable
		return v
	case slices.Contains(r.Removing, kept.Version):
		v.State = Removing
	case kept.Version == r.Current:
		v.State = OnOffer
	}
	return in.used(v, e)
}

// used adds uses and readiness.
func (in *Installer) used(v Version, e *shelf.Edition) Version {
	v.Instances = in.Store.ReleaseUse(e.Ref())
	for _, p := range in.Pools.All() {
		v.Pools = append(v.Pools, Readiness{p.Name, ready(&p, e.Release, e.Pools)})
	}
	return v
}

func ready(p *pools.Pool, r *releases.Release, supplied []string) bool {
	return refusesAll(p, r) == "" && (supplied == nil || slices.Contains(supplied, p.Name))
}
