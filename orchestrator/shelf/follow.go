package shelf

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/catalog"
	"github.com/serviceforge/serviceforge/releases"
	"github.com/serviceforge/serviceforge/releases/archive"
	"github.com/serviceforge/serviceforge/store"
)

// again is the pause after a look at the store that failed.
const again = time.Second

// Options are what a Shelf that follows the store needs.
type Options struct {
	Store *store.Store
	Log   *slog.Logger
	// BuiltIn are the releases that came with the program. One is on offer
	// while no release of its name is installed.
	BuiltIn []Edition
	// Changed is told of every catalog, the first one too, before it is in
	// force; nil = nobody.
	Changed func(*catalog.Catalog)
}

// follower keeps a Shelf what the store says.
type follower struct {
	Options
	turn   sync.Mutex // held while the store is looked at, and by whoever reads seen
	seen   int64
	broken map[string]bool // versions that were complained of
}

// Open returns a shelf that knows what is installed now; Follow keeps it so.
// Errors: Unavailable, Internal.
func Open(ctx context.Context, o Options) (*Shelf, error) {
	s := &Shelf{follower: &follower{Options: o, broken: map[string]bool{}}}
	return s, s.Refresh(ctx)
}

// Follow keeps the shelf what the store says until ctx ends.
func (s *Shelf) Follow(ctx context.Context) {
	f := s.follower
	for ctx.Err() == nil {
		f.turn.Lock()
		seen := f.seen
		f.turn.Unlock()
		f.Store.AwaitReleases(ctx, seen)
		if ctx.Err() != nil {
			return
		}
		if err := s.Refresh(ctx); err != nil && ctx.Err() == nil {
			f.Log.Warn("the service releases cannot be read; trying again", "error", serviceforge.DetailOf(err))
			timer := time.NewTimer(again)
			select {
			case <-ctx.Done():
			case <-timer.C:
			}
			timer.Stop()
		}
	}
}

// Refresh brings the shelf to what the store says now. Errors: Unavailable,
// Internal; the shelf is as it was then.
func (s *Shelf) Refresh(ctx context.Context) error {
	f := s.follower
	f.turn.Lock()
	defer f.turn.Unlock()
	stored, err := f.Store.Releases(ctx)
	if err != nil {
		return err
	}
	before := s.now.Load()
	fresh, err := f.read(ctx, stored, before)
	if err != nil {
		return err
	}
	if f.Changed != nil && (before == nil || before.catalog != fresh.catalog) {
		f.Changed(fresh.catalog)
	}
	s.now.Store(fresh)
	f.seen = stored.Seen
	return nil
}

// read makes a set of what is stored; what was loaded before is not loaded again.
func (f *follower) read(ctx context.Context, stored store.Releases, before *set) (*set, error) {
	editions := map[string]*Edition{}
	offered := map[string]*Edition{} // by name
	for i := range f.BuiltIn {
		e := &f.BuiltIn[i]
		editions[e.Ref()], offered[e.Name()] = e, e
	}
	for i := range stored.All {
		r := &stored.All[i]
		for j := range r.Versions {
			v := &r.Versions[j]
			e, err := f.edition(ctx, r.Name, v, before)
			switch {
			case serviceforge.CodeOf(err) == serviceforge.Unavailable:
				return nil, err
			case err != nil:
				f.complain(r.Name+"/"+v.Version, err)
				continue
			}
			editions[e.Ref()] = e
			if v.Version == r.Current {
				offered[r.Name] = e
			}
		}
		if offered[r.Name] == nil && r.Current != "" && before != nil { // a newer program's: what was on offer stays
			offered[r.Name] = before.offered[r.Name]
		}
	}
	return f.assemble(offered, editions, before), nil
}

// edition loads a version, unless that was done.
func (f *follower) edition(ctx context.Context, name string, v *store.ReleaseVersion, before *set) (*Edition, error) {
	fresh := Edition{Digest: v.Digest, Versions: versionsOf(v), Pools: append([]string{}, v.Pools...)}
	if before != nil {
		if known := before.editions[name+"/"+v.Version]; known != nil && known.Digest == v.Digest {
			fresh.Release = known.Release
			if maps.Equal(fresh.Versions, known.Versions) && slices.Equal(fresh.Pools, known.Pools) {
				return known, nil
			}
			return &fresh, nil
		}
	}
	files, err := f.Store.ReleaseFiles(ctx, name, v)
	if err != nil {
		return nil, err
	}
	fresh.Release, err = releases.Load(archive.Texts(files))
	return &fresh, err
}

// versionsOf are the versions of BOSH releases as the service release carries them.
func versionsOf(v *store.ReleaseVersion) map[string]string {
	versions := map[string]string{}
	for _, b := range v.BOSH {
		versions[b.Name] = b.Version
	}
	return versions
}

// assemble makes the catalog of what is on offer. A release that claims what
// another one of an earlier name has is left out.
func (f *follower) assemble(offered, editions map[string]*Edition, before *set) *set {
	if before != nil && maps.Equal(offered, before.offered) {
		same := newSet(before.catalog, editions)
		same.offered = offered
		return same
	}
	var offerings []catalog.Offering
	whole, _ := catalog.New(nil) // nothing is wrong with nothing
	for _, name := range slices.Sorted(maps.Keys(offered)) {
		more := slices.Concat(offerings, offered[name].Offerings())
		c, err := catalog.New(more)
		if err != nil {
			f.complain(offered[name].Ref(), err)
			continue
		}
		offerings, whole = more, c
	}
	s := newSet(whole, editions)
	s.offered = offered
	return s
}

// complain tells once that a version cannot be used.
func (f *follower) complain(ref string, err error) {
	if !f.broken[ref] {
		f.broken[ref] = true
		f.Log.Error("a service release in the store cannot be used", "release", ref, "error", serviceforge.DetailOf(err))
	}
}
