package cmd

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/config"
	pools "github.com/serviceforge/serviceforge/infrastructure_pools"
	"github.com/serviceforge/serviceforge/localbosh"
	"github.com/serviceforge/serviceforge/orchestrator"
	"github.com/serviceforge/serviceforge/orchestrator/director"
	"github.com/serviceforge/serviceforge/orchestrator/install"
	"github.com/serviceforge/serviceforge/orchestrator/shelf"
	"github.com/serviceforge/serviceforge/releases/spiff"
	"github.com/serviceforge/serviceforge/store"
	"github.com/serviceforge/serviceforge/users"
)

// Parts says which parts of the program run in this process.
type Parts struct {
	Etcd bool // the built-in etcd server
	BOSH bool // the local director
	Web  bool // the broker
}

// App is the program as a value: New, Start, Stop. The commands dev, serve,
// bosh and etcd are the same App with other parts.
type App struct {
	config  config.Config
	parts   Parts
	log     *slog.Logger
	program installedProgram

	etcd      *store.Embedded
	director  *localbosh.Director
	store     *store.Store
	shelf     *shelf.Shelf
	installer *install.Installer
	pools     *pools.Set
	directors map[string]director.Director
	users     *users.Drivers
	spiff     *spiff.Renderer
	engine    *orchestrator.Engine

	files    []*config.File // read again when they change
	ready    readiness
	metrics  *metrics
	draining atomic.Bool

	onlyLocal   bool   // all pools are on the local director
	address     string // HOST:PORT where the broker listens
	brokerURL   string
	etcdURL     string
	serverError chan error // a server that ended by itself

	mu      sync.Mutex
	cleanup []func(context.Context) error // run in reverse order by Stop
}

// New makes an App of valid settings; nothing is started.
func New(c config.Config, p Parts, log *slog.Logger) *App {
	return &App{config: c, parts: p, log: log, serverError: make(chan error, 1), metrics: newMetrics()}
}

// Start starts the parts in order; after an error everything that had been
// started is stopped again. Errors are fit for the person at the terminal.
func (a *App) Start(ctx context.Context) error {
	err := a.start(ctx)
	if err != nil {
		a.log.Debug("start failed", "error", serviceforge.DetailOf(err))
		err = errors.Join(err, a.Stop(context.WithoutCancel(ctx)))
	}
	return err
}

// start is one straight line: nearly every step depends on what came before.
func (a *App) start(ctx context.Context) error {
	if a.config.Ephemeral {
		if err := a.makeEphemeral(); err != nil {
			return err
		}
	}
	for part, wanted := range map[string]bool{"etcd": a.parts.Etcd, "broker": a.parts.Web} {
		if !wanted {
			continue
		}
		unlock, err := openState(a.config.State, part)
		if err != nil {
			return err
		}
		a.onStop(func(context.Context) error { unlock(); return nil })
	}
	if a.parts.Etcd {
		if err := roomy(a.config.State); err != nil {
			return err
		}
	}
	var listener net.Listener
	var certificates *identity
	var local string // URL of the broker on this machine
	var err error
	if a.parts.Web { // first: a taken port should cost nothing
		if listener, err = listen(a.config.Broker.Listen, "--listen HOST:PORT"); err != nil {
			return err
		}
		a.onStop(func(context.Context) error { _ = listener.Close(); return nil })
		a.address = listener.Addr().String()
		if certificates, err = a.identify(); err != nil {
			return err
		}
		local = "http://" + a.address
		if certificates != nil {
			local = "https://" + a.address
		}
		a.brokerURL = cmp.Or(a.config.Broker.URL, local)
	}
	if a.parts.BOSH || a.parts.Web {
		if a.program, err = installProgram(a.config.State); err != nil {
			return err
		}
	}
	if a.parts.Etcd {
		if err := a.startEtcd(); err != nil {
			return err
		}
	}
	if a.parts.BOSH {
		if err := a.startBOSH(ctx); err != nil {
			return err
		}
	}
	if a.parts.Web {
		if err := a.openStore(ctx); err != nil {
			return err
		}
		if err := a.loadPools(); err != nil {
			return err
		}
		if err := a.openShelf(ctx); err != nil {
			return err
		}
		if err := a.makeEngine(); err != nil {
			return err
		}
		if err := a.openInstaller(); err != nil {
			return err
		}
		faces, err := a.faces()
		if err != nil {
			return err
		}
		a.followFiles()
		a.serveHTTP(listener, faces, certificates)
		a.runEngine()
		if err := a.installConfigured(ctx); err != nil {
			return err
		}
		return writeEndpoint(a.config.State, brokerFile, brokerEndpoint{
			URL: local, Username: a.config.Broker.Username, Password: a.config.Broker.Password.Reveal(),
		})
	}
	return nil
}

// Stop ends everything in reverse order and waits for it. Services that run on
// the local director go on, unless the folder is ephemeral.
func (a *App) Stop(ctx context.Context) error {
	a.mu.Lock()
	steps := a.cleanup
	a.cleanup = nil
	a.mu.Unlock()
	var errs []error
	for _, step := range slices.Backward(steps) {
		if err := step(ctx); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// onStop adds a step to Stop.
func (a *App) onStop(step func(context.Context) error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.cleanup = append(a.cleanup, step)
}

// Wait returns when ctx ends, or when a server ended by itself.
func (a *App) Wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-a.serverError:
		return err
	}
}

// makeEphemeral moves everything into a temporary folder that Stop removes.
func (a *App) makeEphemeral() error {
	dir, err := os.MkdirTemp("", "serviceforge-")
	if err != nil {
		return serviceforge.Wrap(err, serviceforge.Unprocessable, "no temporary folder can be made (%v): set TMPDIR", reason(err))
	}
	a.config.State = dir
	a.onStop(func(context.Context) error { return os.RemoveAll(dir) })
	return nil
}

// listen opens a TCP port; flag tells how to choose another one.
func listen(address, flag string) (net.Listener, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, serviceforge.Wrap(err, serviceforge.Unprocessable, "%s cannot be listened on (%v): choose another address with %s", address, cause(err), flag)
	}
	return listener, nil
}

// cause returns the innermost error.
func cause(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}
