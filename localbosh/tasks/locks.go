package tasks

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/serviceforge/serviceforge/localbosh/bosherr"
)

// lock is held by one task.
type lock struct {
	name string
	task *task
}

// Lock is a held lock as GET /locks shows it.
type Lock struct {
	Type     string   `json:"type"`
	Resource []string `json:"resource"`
	// Timeout is when the lock would end were it not renewed, "seconds.micros".
	Timeout string `json:"timeout"`
	TaskID  string `json:"task_id"`
}

// Lock takes the lock "type:resource" for the task and keeps it until the task
// ends. If another task holds it for too long, the error is the director's.
func (r *Run) Lock(ctx context.Context, name string) error {
	timer := time.NewTimer(r.q.opts.LockWait)
	defer timer.Stop()
	for {
		holder, freed := r.q.tryLock(r, name)
		if holder == nil {
			r.log.Debug("lock acquired", "lock", name)
			return nil
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timer.C:
			return bosherr.New(bosherr.DirectorError,
				"Failed to acquire lock for lock:%s uid: %s. Locking task id is %d, description: '%s'",
				name, newUUID(), holder.ID, holder.Description)
		}
	}
}

// tryLock returns nil if r got the lock, else who holds it and a channel that
// is closed when any lock is freed.
func (q *Queue) tryLock(r *Run, name string) (*task, <-chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if l, ok := q.locks[name]; ok {
		return l.task, q.freed
	}
	l := &lock{name: name, task: r.t}
	q.locks[name] = l
	r.held = append(r.held, l)
	return nil, nil
}

// unlock frees what a task held; held belongs to a Run that has ended.
func (q *Queue) unlock(held []*lock) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, l := range held {
		delete(q.locks, l.name)
	}
	close(q.freed)
	q.freed = make(chan struct{})
}

// Locked says whether a task holds the lock "type:resource".
func (q *Queue) Locked(name string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	_, ok := q.locks[name]
	return ok
}

// Locks lists the held locks by name.
func (q *Queue) Locks() []Lock {
	q.mu.Lock()
	defer q.mu.Unlock()
	out := []Lock{}
	until := time.Now().Add(q.opts.LockWait)
	for name, l := range q.locks {
		kind, resource, _ := strings.Cut(name, ":")
		out = append(out, Lock{
			Type: kind, Resource: []string{resource}, TaskID: fmt.Sprint(l.task.ID),
			Timeout: fmt.Sprintf("%d.%06d", until.Unix(), until.Nanosecond()/1000),
		})
	}
	slices.SortFunc(out, func(a, b Lock) int { return strings.Compare(a.Type+a.Resource[0], b.Type+b.Resource[0]) })
	return out
}

func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
