package cmd

import (
	"context"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/catalog"
	"github.com/serviceforge/serviceforge/orchestrator/shelf"
	"github.com/serviceforge/serviceforge/releases"
)

// openShelf learns which service releases are installed, beside the one that
// comes with the program, and follows what is installed from now on.
func (a *App) openShelf(ctx context.Context) error {
	release, err := releases.Load(releases.Etcd())
	if err == nil {
		err = release.Runnable()
	}
	if err != nil {
		return err
	}
	own := shelf.Edition{Release: release, BuiltIn: true}
	if a.onlyLocal {
		own.Versions = a.localVersions(release)
	}
	a.shelf, err = shelf.Open(ctx, shelf.Options{
		Store: a.store, Log: a.log.With("part", "shelf"), BuiltIn: []shelf.Edition{own}, Changed: a.limit,
	})
	if err != nil {
		return err
	}
	following, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.shelf.Follow(following)
	}()
	a.onStop(func(context.Context) error { cancel(); <-done; return nil })
	return nil
}

// limit gives the store the configured quotas, by ids. One for a service that
// is not on offer waits until it is.
func (a *App) limit(offered *catalog.Catalog) {
	limits, err := a.config.Limits()
	if err != nil { // they were validated
		a.log.Error("the quotas cannot be read", "error", serviceforge.DetailOf(err))
		return
	}
	for n, l := range limits {
		if limits[n], err = offered.Limit(l); err != nil {
			a.log.Warn("a quota has nothing to limit now", "quota", l.String(), "error", serviceforge.MessageOf(err))
			limits[n] = l
		}
	}
	a.store.SetLimits(limits)
}
