package cmd

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/localbosh"
	"github.com/serviceforge/serviceforge/releases"
	"github.com/serviceforge/serviceforge/releases/authoring"
	"github.com/serviceforge/serviceforge/releases/boshrelease"
	"github.com/serviceforge/serviceforge/store"
)

// roomForEtcd is what a new store needs: the program, two segments of etcd's log
// and room to breathe. etcd does not bear a full disk.
const roomForEtcd = 256 << 20

// roomy makes sure that a new store has room. Errors: Unprocessable.
func roomy(state string) error {
	if _, err := os.Stat(filepath.Join(state, "etcd", "data")); err == nil {
		return nil
	}
	var disk syscall.Statfs_t
	if err := syscall.Statfs(state, &disk); err != nil {
		return nil // the first write will tell
	}
	if free := disk.Bavail * uint64(disk.Bsize); free < roomForEtcd {
		return serviceforge.Errorf(serviceforge.Unprocessable, "%s has %d MB left, and %d MB are needed: make room, or choose another folder with --state DIR (or TMPDIR)",
			state, free>>20, uint64(roomForEtcd>>20))
	}
	return nil
}

// startEtcd starts the built-in etcd server.
func (a *App) startEtcd() error {
	dir := filepath.Join(a.config.State, "etcd")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return serviceforge.Wrap(err, serviceforge.Unprocessable, "the folder %s cannot be made", dir)
	}
	listen := ""
	if !a.parts.Web { // others are to use it
		listen = "http://" + a.config.Etcd.Listen
	}
	etcd, err := store.StartEmbedded(dir, listen)
	if err != nil {
		return err
	}
	a.etcd, a.etcdURL = etcd, listen
	a.onStop(func(context.Context) error { etcd.Close(); return nil })
	return nil
}

// startBOSH starts the local director and gives it what our deployments need.
func (a *App) startBOSH(ctx context.Context) error {
	director, err := localbosh.New(localbosh.Options{
		State: filepath.Join(a.config.State, "bosh"), Listen: a.config.BOSH.Listen, Network: a.config.BOSH.Network,
		Program: a.program.Path, User: a.config.BOSH.Username, Password: a.config.BOSH.Password.Reveal(),
		ConfigServer: a.config.BOSH.ConfigServer, LocalDNS: a.config.BOSH.LocalDNS, Workers: a.config.BOSH.Workers,
		Log: a.log.With("part", "bosh"),
	})
	if err != nil {
		return serviceforge.Wrap(err, serviceforge.Unprocessable, "the local director: %v", err)
	}
	if err := director.Start(ctx); err != nil {
		return serviceforge.Wrap(err, serviceforge.Unprocessable, "the local director: %v", err)
	}
	a.director = director
	a.onStop(director.Stop)
	if a.config.Ephemeral {
		a.onStop(director.DestroyAll)
	}
	if err := director.EnsureCloudConfig(ctx); err != nil {
		return serviceforge.Wrap(err, serviceforge.Unprocessable, "the local director's cloud config: %v", err)
	}
	if err := a.uploadOwnReleases(ctx); err != nil {
		return err
	}
	client, secret := director.Credentials()
	return writeEndpoint(a.config.State, directorFile, directorEndpoint{
		URL: director.URL(), CAFile: director.CAFile(), Client: client, Secret: secret,
	})
}

// uploadOwnReleases gives the local director the BOSH releases that come as
// source with our service release. Their big file is the installed program, by
// a link.
func (a *App) uploadOwnReleases(ctx context.Context) error {
	release, err := releases.Load(releases.Etcd())
	if err != nil {
		return err
	}
	for _, b := range release.BOSHReleases() {
		if b.Source == "" {
			continue
		}
		if err := a.uploadOwnRelease(ctx, b); err != nil {
			return serviceforge.Wrap(err, serviceforge.Unprocessable, "the local director does not take the release %s: %v", b.Name, err)
		}
	}
	return nil
}

func (a *App) uploadOwnRelease(ctx context.Context, b releases.BOSHRelease) error {
	source, err := authoring.BOSHSourceOf(releases.Etcd(), b, a.program.Path, a.program.SHA256, a.program.version(b))
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(a.config.State, ".release-*.tgz")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(file.Name()) }()
	if err := errors.Join(boshrelease.Build(ctx, file, source, true), file.Close()); err != nil {
		return err
	}
	links := map[string]string{}
	for name, payload := range source.Payload {
		links[name] = payload.Path
	}
	return a.director.EnsureRelease(ctx, file.Name(), links)
}

// version is the version of a BOSH release that holds this very program:
// another program under the same version would be refused by the director.
func (p installedProgram) version(b releases.BOSHRelease) string {
	return b.Version + "+dev." + p.SHA256[:12]
}

// localVersions are the versions on the local director.
func (a *App) localVersions(r *releases.Release) map[string]string {
	versions := map[string]string{}
	for _, b := range r.BOSHReleases() {
		if b.Source != "" {
			versions[b.Name] = a.program.version(b)
		}
	}
	return versions
}
