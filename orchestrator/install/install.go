// Package install puts service releases in force: it checks them, gives the
// pools' directors what they need, and switches the catalog of all replicas.
package install

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/serviceforge/serviceforge"
	pools "github.com/serviceforge/serviceforge/infrastructure_pools"
	"github.com/serviceforge/serviceforge/orchestrator/director"
	"github.com/serviceforge/serviceforge/orchestrator/shelf"
	"github.com/serviceforge/serviceforge/releases/spiff"
	"github.com/serviceforge/serviceforge/releases/validate"
	"github.com/serviceforge/serviceforge/store"
)

// DefaultPatience is how long a director may take for one upload.
const DefaultPatience = 30 * time.Minute

// Options are what an Installer needs; all but the last are required.
type Options struct {
	Store     *store.Store
	Shelf     *shelf.Shelf // one that follows the store
	Pools     *pools.Set
	Directors map[string]director.Director // by pool name
	Spiff     *spiff.Renderer
	Log       *slog.Logger
	Now       func() time.Time
	Scratch   string        // folder for temporary files; "" = the system's
	Patience  time.Duration // default DefaultPatience
}

// Installer installs service releases. It may be used on every replica, and by
// several goroutines.
type Installer struct{ Options }

// New returns an Installer.
func New(o Options) *Installer {
	o.Patience = cmp.Or(o.Patience, DefaultPatience)
	return &Installer{o}
}

// Step is what an install is at.
type Step struct {
	Says    string
	Percent int // of an upload; 0 = it cannot be told
}

// Installed is what an install did.
type Installed struct {
	Release  string   // name/version, which is on offer now
	Already  bool     // it was before, and nothing was missing
	Uploaded []string // what directors were given: "redis/1.0.0 to pool eu-1"
	Without  []string // pools that do not have what it needs, with the reasons
	Warnings []string // of the checks
}

// Install puts the service release in files in force. Before anything is
// changed, all of it is checked: it renders on every pool, claims no other
// release's ids, and directors have, or can be given, what it needs. Then it is
// stored and switched to; it can be cut off anywhere and begun again. Errors:
// Invalid (the release), Unprocessable (it does not fit here), Conflict (with
// what is installed), Unavailable.
func (in *Installer) Install(ctx context.Context, actor string, files fs.FS, tell func(Step)) (Installed, error) {
	tell(Step{Says: "checking the release"})
	p, err := in.open(files)
	if err != nil {
		return Installed{}, err
	}
	done := Installed{Release: p.release.Ref()}
	before, err := in.Store.Releases(ctx)
	if err != nil {
		return done, err
	}
	record, err := in.mayTake(p, before)
	if err != nil {
		return done, err
	}
	there := record.Version(p.release.Version())
	same := there != nil && there.Digest == p.digest
	if !same {
		tell(Step{Says: "rendering every plan on every pool"})
		if done.Warnings, err = in.render(ctx, p); err != nil {
			return done, err
		}
	}
	tell(Step{Says: "asking the directors what they have"})
	needs, without, err := in.needs(ctx, p)
	if err != nil {
		return done, err
	}
	done.Without = without
	version := store.ReleaseVersion{Version: p.release.Version(), Digest: p.digest, BOSH: p.kept(), Pools: []string{}, Actor: actor, At: in.Now().UTC()}
	missing := false
	for _, n := range needs {
		version.Pools = append(version.Pools, n.pool.Name)
		missing = missing || n.uploads()
	}
	if same && record.Current == p.release.Version() && !missing && slices.Equal(there.Pools, version.Pools) {
		done.Already = true
		return done, in.Shelf.Refresh(ctx)
	}
	if same { // who installed it first stays
		version.Actor, version.At = there.Actor, there.At
	}
	if done.Uploaded, err = in.apply(ctx, p, record, version, needs, tell); err != nil {
		return done, err
	}
	in.Log.Info("a service release is installed", "release", done.Release, "actor", actor, "uploaded", done.Uploaded, "without", without)
	return done, in.Shelf.Refresh(ctx)
}

// apply stores the wish, does what directors need, stores the files, and switches.
func (in *Installer) apply(ctx context.Context, p *parcel, record *store.Release, version store.ReleaseVersion, needs []need, tell func(Step)) ([]string, error) {
	record.Installing = &version
	if err := in.Store.PutRelease(ctx, record); err != nil {
		return nil, err
	}
	if err := in.Store.CleanRelease(ctx, record); err != nil {
		return nil, err
	}
	var uploaded []string
	for _, n := range needs {
		some, err := in.supply(ctx, p, n, tell)
		uploaded = append(uploaded, some...)
		if err != nil {
			return uploaded, err
		}
	}
	tell(Step{Says: "storing the release"})
	if err := in.Store.PutReleaseFiles(ctx, record.Name, &version, p.texts); err != nil {
		return uploaded, err
	}
	tell(Step{Says: "switching the catalog"})
	record.Installing, record.Removing = nil, nil
	record.Current = version.Version
	record.Versions = append(slices.DeleteFunc(slices.Clone(record.Versions), func(v store.ReleaseVersion) bool { return v.Version == version.Version }), version)
	if err := in.change(ctx, record, func(all store.Releases) error { return in.clashes(p, all) }); err != nil {
		return uploaded, err
	}
	return uploaded, in.Store.CleanRelease(ctx, record)
}

// change stores a record that changes what is on offer, and looks again whether
// it may where another release was changed meanwhile. Errors: Conflict.
func (in *Installer) change(ctx context.Context, record *store.Release, may func(store.Releases) error) error {
	for {
		all, err := in.Store.Releases(ctx)
		if err != nil {
			return err
		}
		if recordOf(all, record.Name).Revision != record.Revision {
			return serviceforge.Errorf(serviceforge.Conflict, "the service release %s was changed by somebody else meanwhile: try again", record.Name)
		}
		if err := may(all); err != nil {
			return err
		}
		err = in.Store.SwitchRelease(ctx, record, all.Switched)
		if serviceforge.CodeOf(err) != serviceforge.Conflict {
			return err
		}
	}
}

// mayTake returns the record of the release, and refuses a version that is
// installed with other content while instances use it, or came with the program.
func (in *Installer) mayTake(p *parcel, all store.Releases) (*store.Release, error) {
	if err := in.clashes(p, all); err != nil {
		return nil, err
	}
	ref := p.release.Ref()
	if e, err := in.Shelf.Edition(ref); err == nil && e.BuiltIn && e.Digest != p.texts.Digest() {
		return nil, serviceforge.Errorf(serviceforge.Conflict, "%s comes with ServiceForge, with other content: raise the version in service.yml", ref)
	}
	record := recordOf(all, p.release.Name())
	if there := record.Version(p.release.Version()); there != nil && there.Digest != p.digest {
		if users := in.Store.ReleaseUse(ref); users > 0 {
			return nil, serviceforge.Errorf(serviceforge.Conflict,
				"%s is installed with other content, and %s: raise the version in service.yml", ref, usedBy(users))
		}
	}
	return record, nil
}

// recordOf returns the record of a release; a new one where there is none.
func recordOf(all store.Releases, name string) *store.Release {
	for i := range all.All {
		if all.All[i].Name == name {
			return &all.All[i]
		}
	}
	return &store.Release{Name: name}
}

func usedBy(instances int) string {
	if instances == 1 {
		return "a service instance uses it"
	}
	return fmt.Sprintf("%d service instances use it", instances)
}

// clashes refuses ids and names that another release claims, on offer or not.
func (in *Installer) clashes(p *parcel, all store.Releases) error {
	installed := map[string]bool{}
	for _, r := range all.All {
		for _, v := range r.Versions {
			installed[r.Name+"/"+v.Version] = true
		}
	}
	ids, names := map[string]string{}, map[string]string{}
	for ref, e := range in.Shelf.Editions() {
		if e.Name() == p.release.Name() || !installed[ref] && !e.BuiltIn {
			continue
		}
		for _, o := range e.Offerings() {
			ids[o.ID], names[o.Name] = ref, ref
			for _, plan := range o.Plans {
				ids[plan.ID] = ref
			}
		}
	}
	refused := func(what, which, ref string) error {
		return serviceforge.Errorf(serviceforge.Conflict, "the %s %s is one of the service release %s: two releases cannot claim it", what, which, ref)
	}
	for _, o := range p.release.Offerings() {
		if ref := ids[o.ID]; ref != "" {
			return refused("service id", o.ID, ref)
		}
		if ref := names[o.Name]; ref != "" {
			return refused("service name", o.Name, ref)
		}
		for _, plan := range o.Plans {
			if ref := ids[plan.ID]; ref != "" {
				return refused("plan id", plan.ID, ref)
			}
		}
	}
	return nil
}

// render looks for what is wrong with the release, and renders every plan on
// every pool. Errors: Invalid, with all that was found.
func (in *Installer) render(ctx context.Context, p *parcel) (warnings []string, err error) {
	findings, err := validate.Release(ctx, in.Spiff, p.release, p.files, in.Pools.All())
	if err != nil {
		return nil, err
	}
	var wrong []string
	for _, f := range findings {
		text := f.Where + ": " + f.Message
		if f.Level == "error" {
			wrong = append(wrong, text)
		} else {
			warnings = append(warnings, text)
		}
	}
	if len(wrong) > 0 {
		return warnings, serviceforge.Errorf(serviceforge.Invalid, "the service release %s is not in order:\n%s", p.release.Ref(), strings.Join(wrong, "\n"))
	}
	return warnings, nil
}
