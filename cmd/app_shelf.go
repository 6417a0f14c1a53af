package cmd

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/catalog"
	"github.com/serviceforge/serviceforge/orchestrator/install"
	"github.com/serviceforge/serviceforge/orchestrator/shelf"
	"github.com/serviceforge/serviceforge/releases"
	"github.com/serviceforge/serviceforge/releases/archive"
)

// openShelf learns which service releases are installed, beside the one that
// comes with the program, and follows what is installed from now on.
func (a *App) openShelf(ctx context.Context) error {
	release, texts, err := releases.ReadTexts(releases.Etcd())
	if err == nil {
		err = release.Runnable()
	}
	if err != nil {
		return err
	}
	own := shelf.Edition{Release: release, BuiltIn: true, Digest: texts.Digest()}
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

// openInstaller makes what installs service releases, with a folder of its own,
// in which nothing is left of those that were cut off.
func (a *App) openInstaller() error {
	scratch := filepath.Join(a.config.State, "install")
	err := os.RemoveAll(scratch)
	if err == nil {
		err = os.MkdirAll(scratch, 0o700)
	}
	if err != nil {
		return serviceforge.Wrap(err, serviceforge.Unprocessable, "the folder %s cannot be made (%v)", scratch, reason(err))
	}
	a.installer = install.New(install.Options{
		Store: a.store, Shelf: a.shelf, Pools: a.pools, Directors: a.directors, Spiff: a.spiff,
		Log: a.log.With("part", "install"), Now: time.Now, Scratch: scratch,
	})
	return nil
}

// installConfigured installs the service releases that the settings name.
func (a *App) installConfigured(ctx context.Context) error {
	for _, from := range a.config.Install {
		err := a.installOne(ctx, from)
		if serviceforge.CodeOf(err) == serviceforge.Conflict { // another replica may just have done it
			err = a.installOne(ctx, from)
		}
		if err != nil {
			return serviceforge.Wrap(err, serviceforge.CodeOf(err), "%s cannot be installed: %s", from, serviceforge.MessageOf(err))
		}
	}
	return nil
}

func (a *App) installOne(ctx context.Context, from string) error {
	packed, _, err := openPacked(ctx, from, a.program.Path, nil)
	if err != nil {
		return err
	}
	defer func() { _ = packed.Close() }()
	opened, err := archive.Unpack(ctx, packed, a.installer.Scratch)
	if err != nil {
		return err
	}
	defer func() { _ = opened.Close() }()
	done, err := a.installer.Install(ctx, "settings", opened, func(s install.Step) { a.log.Info("installing", "from", from, "step", s.Says) })
	for _, warning := range done.Warnings {
		a.log.Warn("a service release is not quite in order", "release", done.Release, "says", warning)
	}
	return err
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
	a.store.SetLimits(withPlans(limits, offered))
}

// withPlans adds the limits that service releases have for their plans to those
// that are configured, which win.
func withPlans(limits []serviceforge.Limit, offered *catalog.Catalog) []serviceforge.Limit {
	for _, o := range offered.Offerings() {
		for _, p := range o.Plans {
			for _, l := range p.Limits {
				if !slices.ContainsFunc(limits, func(c serviceforge.Limit) bool { return c.Quota == l.Quota }) {
					limits = append(limits, l)
				}
			}
		}
	}
	return limits
}
