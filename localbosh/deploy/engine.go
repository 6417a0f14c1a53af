package deploy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"

	"github.com/serviceforge/serviceforge/localbosh/blobs"
	"github.com/serviceforge/serviceforge/localbosh/render"
	"github.com/serviceforge/serviceforge/localbosh/tasks"
	"github.com/serviceforge/serviceforge/localbosh/vm"
)

// Options is what an engine works with; all but Variables and Log are required.
type Options struct {
	// Director is the director's name, the first part of relative variables.
	Director string
	State    *State
	Configs  *Configs
	// Variables is nil for a director without a config server.
	Variables *Variables
	Blobs     *blobs.Store
	Host      *vm.Host
	Renderer  *render.Renderer
	// Disks is the folder of persistent disks, Applied the one of the files VMs
	// were given last, Resources the one of what tasks leave for download, Spool
	// the one of uploads that wait for their task.
	Disks, Applied, Resources, Spool string
	// Dynamic is where instances on dynamic networks get addresses.
	Dynamic netip.Prefix
	// OrphanDisks keeps the disks of deleted instances.
	OrphanDisks bool
	Log         *slog.Logger
}

// Engine runs the director's tasks on deployments, releases and stemcells.
type Engine struct {
	Options
	log *slog.Logger

	// choosing is held from the look at the addresses that are taken until the
	// chosen ones are stored.
	choosing sync.Mutex

	mu     sync.Mutex
	guards map[string]*guard // by CID
	// watching is the life of all guards.
	watching context.Context
	unwatch  context.CancelFunc
	guarding sync.WaitGroup
}

// New makes the folders of an engine.
func New(o Options) (*Engine, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	for _, dir := range []string{o.Disks, o.Applied, o.Resources, o.Spool} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("director's folders: %w", err)
		}
	}
	e := &Engine{Options: o, log: o.Log, guards: map[string]*guard{}}
	e.watching, e.unwatch = context.WithCancel(context.Background())
	return e, nil
}

// Register makes the engine the one that runs q's tasks.
func (e *Engine) Register(q *tasks.Queue) {
	tasks.Handle(q, tasks.UpdateDeployment, e.update)
	tasks.Handle(q, tasks.DeleteDeployment, e.delete)
	tasks.Handle(q, tasks.RunErrand, e.errand)
	tasks.Handle(q, tasks.VMState, e.vmState)
	tasks.Handle(q, tasks.FetchLogs, e.fetchLogs)
	tasks.Handle(q, tasks.UpdateRelease, e.uploadRelease)
	tasks.Handle(q, tasks.DeleteRelease, e.deleteRelease)
	tasks.Handle(q, tasks.UpdateStemcell, e.uploadStemcell)
	tasks.Handle(q, tasks.DeleteStemcell, e.deleteStemcell)
	tasks.Handle(q, tasks.DeleteDisk, e.deleteDisk)
	tasks.Handle(q, tasks.CleanUp, e.cleanUp)
}

// lockDeployment is what every task that changes a deployment begins with.
func lockDeployment(ctx context.Context, r *tasks.Run, name string) error {
	return r.Lock(ctx, "deployment:"+name)
}

// diskDir is the folder of a persistent disk.
func (e *Engine) diskDir(cid string) string { return filepath.Join(e.Disks, cid) }

// each runs fn for every item, at most limit at once, and joins the errors; when
// one fails, those not begun yet are left out.
func each[T any](ctx context.Context, limit int, items []T, fn func(context.Context, T) error) error {
	if limit < 1 {
		limit = 1
	}
	var (
		wg     sync.WaitGroup
		mu     sync.Mutex
		failed []error
		slots  = make(chan struct{}, limit)
	)
	stop := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(failed) > 0 || ctx.Err() != nil
	}
	for _, item := range items {
		slots <- struct{}{}
		if stop() {
			break
		}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := fn(ctx, item); err != nil {
				mu.Lock()
				failed = append(failed, err)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(failed) == 0 && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if len(failed) == 1 {
		return failed[0]
	}
	return errors.Join(failed...)
}
