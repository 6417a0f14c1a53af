package breaker

import (
	"context"
	"errors"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator/director"
)

// Hear returns a Director whose answers, or silences, the breaker hears of.
func (b *Breaker) Hear(d director.Director) director.Director { return &heard{d, b} }

// heard is a Director whose answers, or silences, a breaker hears of.
type heard struct {
	director.Director
	breaker *Breaker
}

// tell says whether the director answered; a request that we gave up says nothing.
func (h *heard) tell(ctx context.Context, err error) {
	switch {
	case serviceforge.CodeOf(err) != serviceforge.Unavailable:
		h.breaker.answered()
	case !errors.Is(ctx.Err(), context.Canceled):
		h.breaker.unheard(serviceforge.DetailOf(err))
	}
}

// Deploy is Director's.
func (h *heard) Deploy(ctx context.Context, manifest []byte, contextID string) (int, error) {
	task, err := h.Director.Deploy(ctx, manifest, contextID)
	h.tell(ctx, err)
	return task, err
}

// Delete is Director's.
func (h *heard) Delete(ctx context.Context, deployment, contextID string) (int, error) {
	task, err := h.Director.Delete(ctx, deployment, contextID)
	h.tell(ctx, err)
	return task, err
}

// RunErrand is Director's.
func (h *heard) RunErrand(ctx context.Context, deployment, errand string, on []director.VM, contextID string) (int, error) {
	task, err := h.Director.RunErrand(ctx, deployment, errand, on, contextID)
	h.tell(ctx, err)
	return task, err
}

// Results is Director's.
func (h *heard) Results(ctx context.Context, task int) ([]byte, error) {
	output, err := h.Director.Results(ctx, task)
	h.tell(ctx, err)
	return output, err
}

// Tasks is Director's.
func (h *heard) Tasks(ctx context.Context, q director.TaskQuery) ([]director.Task, error) {
	tasks, err := h.Director.Tasks(ctx, q)
	h.tell(ctx, err)
	return tasks, err
}

// Task is Director's.
func (h *heard) Task(ctx context.Context, id int, wait time.Duration) (director.Task, error) {
	task, err := h.Director.Task(ctx, id, wait)
	h.tell(ctx, err)
	return task, err
}

// Cancel is Director's.
func (h *heard) Cancel(ctx context.Context, id int) error {
	err := h.Director.Cancel(ctx, id)
	h.tell(ctx, err)
	return err
}

// Manifest is Director's.
func (h *heard) Manifest(ctx context.Context, deployment string) ([]byte, error) {
	manifest, err := h.Director.Manifest(ctx, deployment)
	h.tell(ctx, err)
	return manifest, err
}

// Instances is Director's.
func (h *heard) Instances(ctx context.Context, deployment string) ([]director.VM, error) {
	vms, err := h.Director.Instances(ctx, deployment)
	h.tell(ctx, err)
	return vms, err
}

// VMs is Director's.
func (h *heard) VMs(ctx context.Context, deployment string) (int, error) {
	vms, err := h.Director.VMs(ctx, deployment)
	h.tell(ctx, err)
	return vms, err
}

// Deployments is Inventory's.
func (h *heard) Deployments(ctx context.Context) ([]string, error) {
	names, err := h.Director.Deployments(ctx)
	h.tell(ctx, err)
	return names, err
}

// Events is Director's.
func (h *heard) Events(ctx context.Context, task int, from int64) ([]byte, error) {
	events, err := h.Director.Events(ctx, task, from)
	h.tell(ctx, err)
	return events, err
}
