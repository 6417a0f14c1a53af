package localbosh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/serviceforge/serviceforge/localbosh/api"
	"github.com/serviceforge/serviceforge/localbosh/blobs"
	"github.com/serviceforge/serviceforge/localbosh/deploy"
	"github.com/serviceforge/serviceforge/localbosh/render"
	"github.com/serviceforge/serviceforge/localbosh/tasks"
	"github.com/serviceforge/serviceforge/localbosh/vm"
)

// version is what GET /info tells: the director whose API this one speaks.
const version = "283.1.0 (serviceforge)"

// Director is an embedded director. Its methods are safe for concurrent use.
type Director struct {
	opts    Options
	network netip.Prefix

	mu       sync.Mutex
	started  bool
	stopped  bool
	lock     *os.File
	identity identity
	ca       *authority
	listener net.Listener
	http     *http.Server
	serving  sync.WaitGroup
	ctx      context.Context
	cancel   context.CancelFunc
	blobs    *blobs.Store
	renderer *render.Renderer
	engine   *deploy.Engine
	queue    *tasks.Queue
}

// New checks the options. It does no I/O.
func New(o Options) (*Director, error) {
	network, err := o.validate()
	if err != nil {
		return nil, err
	}
	return &Director{opts: o, network: network}, nil
}

// path is a path in the state folder. VMs live near its top: the paths of their
// sockets are limited to 108 bytes.
func (d *Director) path(parts ...string) string {
	return filepath.Join(append([]string{d.opts.State}, parts...)...)
}

// Start locks and opens the state folder, takes over the VMs that run in it,
// and serves the API until Stop. It returns when the API answers. A director
// that failed to start, or was stopped, cannot be started again.
func (d *Director) Start(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.started {
		return errors.New("localbosh: the director was started before")
	}
	d.started = true
	d.ctx, d.cancel = context.WithCancel(context.Background())
	err := d.open(ctx)
	if err == nil {
		err = d.serve()
	}
	if err != nil {
		d.shut(ctx)
		return err
	}
	d.renderer.Warm(d.ctx)
	d.opts.Log.Info("director is ready", "address", d.listener.Addr().String(), "state", d.opts.State)
	return nil
}

// open makes everything ready but the API.
func (d *Director) open(ctx context.Context) error {
	if err := os.MkdirAll(d.path("director"), 0o700); err != nil {
		return fmt.Errorf("the state folder cannot be used: %w", err)
	}
	if err := d.acquire(); err != nil {
		return err
	}
	if err := d.listen(ctx); err != nil {
		return err
	}
	env := []string{"SERVICEFORGE_STATE=" + d.opts.State}
	var err error
	if d.identity, err = openIdentity(d.path("director", "identity"), d.opts); err != nil {
		return err
	}
	if d.ca, err = openAuthority(d.path("director"), d.listener.Addr()); err != nil {
		return err
	}
	if d.blobs, err = blobs.Open(blobs.Options{Dir: d.path("blobs"), Log: d.opts.Log}); err != nil {
		return err
	}
	d.renderer = render.New(render.Options{Program: d.opts.Program, CacheDir: d.opts.Cache, Env: env, Log: d.opts.Log})
	host := &vm.Host{
		Program: d.opts.Program, State: d.opts.State, VMs: d.path("vms"), Packages: d.path("blobs", "compiled"),
		Env: env, Log: d.opts.Log,
	}
	if err := host.Probe(ctx); err != nil {
		return err
	}
	if err := d.openEngine(host); err != nil {
		return err
	}
	if err := d.engine.Adopt(ctx, d.queue); err != nil {
		return err
	}
	d.queue.Start()
	return nil
}

func (d *Director) openEngine(host *vm.Host) error {
	state, err := deploy.OpenState(d.path("director", "deployments"))
	if err != nil {
		return err
	}
	configs, err := deploy.OpenConfigs(d.path("director", "configs"))
	if err != nil {
		return err
	}
	o := deploy.Options{
		Director: d.opts.Name, State: state, Configs: configs, Blobs: d.blobs, Host: host, Renderer: d.renderer,
		Disks: d.path("disks"), Applied: d.path("director", "applied"), Resources: d.path("director", "resources"), Spool: d.path("director", "spool"),
		Dynamic: d.network, OrphanDisks: d.opts.OrphanDisks, Log: d.opts.Log,
	}
	if d.opts.ConfigServer {
		if o.Variables, err = deploy.OpenVariables(d.path("director", "variables")); err != nil {
			return err
		}
	}
	if d.engine, err = deploy.New(o); err != nil {
		return err
	}
	d.queue, err = tasks.New(tasks.Options{Dir: d.path("director", "tasks"), Workers: d.opts.Workers, Log: d.opts.Log})
	if err != nil {
		return err
	}
	d.engine.Register(d.queue)
	return nil
}

// acquire locks the state folder for this process; the kernel frees the lock
// when the process ends, however it ends.
func (d *Director) acquire() error {
	f, err := os.OpenFile(d.path("director", "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("the state folder cannot be used: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return fmt.Errorf("another director uses the state folder %s; stop it, or choose another folder with --state", d.opts.State)
	}
	d.lock = f
	return nil
}

func (d *Director) listen(ctx context.Context) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", d.opts.Listen)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("the director's address %s is taken; choose another with --bosh-listen", d.opts.Listen)
	}
	if err != nil {
		return fmt.Errorf("the director cannot listen on %s: %w", d.opts.Listen, err)
	}
	d.listener = l
	return nil
}

// serve begins to answer requests.
func (d *Director) serve() error {
	handler := api.New(api.Options{
		Tasks: d.queue, Engine: d.engine, Blobs: d.blobs, User: d.identity.User, Password: d.identity.Password, Log: d.opts.Log,
		Info: api.Info{
			Name: d.opts.Name, UUID: d.identity.UUID, Version: version,
			ConfigServer: d.opts.ConfigServer, LocalDNS: d.opts.LocalDNS,
		},
	})
	d.http = &http.Server{
		Handler: handler, TLSConfig: d.ca.server, ErrorLog: quiet(d.opts.Log), ReadHeaderTimeout: 30 * time.Second,
		BaseContext: func(net.Listener) context.Context { return d.ctx },
	}
	d.serving.Go(func() {
		if err := d.http.ServeTLS(d.listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
			d.opts.Log.Error("the director's API ended", "error", err)
		}
	})
	return nil
}

// Stop ends the API and the running tasks and waits for them; the VMs go on
// running. The next Start on the same folder takes them over.
func (d *Director) Stop(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.started || d.stopped {
		return nil
	}
	return d.shut(ctx)
}

// shut ends what was begun, in the opposite order.
func (d *Director) shut(ctx context.Context) error {
	d.stopped = true
	d.cancel() // requests that are being held end
	var err error
	if d.http != nil {
		if err = d.http.Shutdown(ctx); err != nil {
			err = errors.Join(err, d.http.Close())
		}
		d.serving.Wait()
	} else if d.listener != nil {
		err = d.listener.Close()
	}
	if d.queue != nil {
		d.queue.Stop()
	}
	if d.engine != nil {
		d.engine.Close()
	}
	if d.renderer != nil {
		err = errors.Join(err, d.renderer.Close())
	}
	if d.lock != nil {
		err = errors.Join(err, d.lock.Close())
	}
	return err
}

// DestroyAll ends and removes every VM of a started director, with its disk. It
// is for folders that are thrown away; tasks that still run are ended first, and
// the director takes no more: call Stop next.
func (d *Director) DestroyAll(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.engine == nil || d.stopped {
		return errors.New("localbosh: the director does not run")
	}
	d.queue.Stop()
	return d.engine.DestroyAll(ctx)
}

// AwaitRenderer waits until templates can be rendered at once. The first time
// on a machine that takes seconds: Ruby is compiled, and kept in the cache.
func (d *Director) AwaitRenderer(ctx context.Context) error { return d.renderer.Ready(ctx) }

// Addr is the HOST:PORT on which the API listens, known after Start.
func (d *Director) Addr() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.listener == nil {
		return ""
	}
	return d.listener.Addr().String()
}

// URL is https:// and Addr.
func (d *Director) URL() string { return "https://" + d.Addr() }

// CA is the certificate in PEM form that clients of the API must trust, known
// after Start.
func (d *Director) CA() []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ca == nil {
		return nil
	}
	return d.ca.pem
}

// CAFile is the path of a file that holds CA.
func (d *Director) CAFile() string { return d.path("director", "ca.pem") }

// Credentials are the client and secret of the API, known after Start.
func (d *Director) Credentials() (user, password string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.identity.User, d.identity.Password
}

// Network is the network of the default cloud config.
func (d *Director) Network() netip.Prefix { return d.network }
