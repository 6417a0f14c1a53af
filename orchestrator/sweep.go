package orchestrator

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/orchestrator/bindings"
	"github.com/serviceforge/serviceforge/orchestrator/director"
	"github.com/serviceforge/serviceforge/orchestrator/work"
	"github.com/serviceforge/serviceforge/store"
)

// sweepGap is the least time between two looks of a sweep at one director: each
// is one plain GET. A round over very many instances takes as long as it takes.
const sweepGap = 500 * time.Millisecond

// sweepFailures in a row end a round: it is not about single instances then.
const sweepFailures = 3

// sweeper looks through one director's instances, slowly and again and again,
// for what nobody told us. It reports and repairs what is only ours to repair:
// addresses in records, claims, and orphans. It asks for the list of deployments
// and the plain list of instances, and for nothing while the engine is paused or
// the breaker of a pool is open.
type sweeper struct {
	*leader
	pools    []string          // those on the director
	director director.Director // not heard by the breakers
	known    store.Sweep
	calls    int // in this round
}

func (l *leader) newSweeper(group []string) *sweeper {
	return &sweeper{leader: l, pools: group, director: l.Directors[group[0]], known: store.Sweep{Pool: group[0]}}
}

// run sweeps until ctx ends. A round takes at least Options.Sweep.
func (s *sweeper) run(ctx context.Context) {
	if s.Sweep <= 0 || s.director == nil {
		return
	}
	if all, err := s.Store.Sweeps(ctx); err == nil {
		if before, ok := all[s.pools[0]]; ok {
			s.known = before
		}
	}
	for ctx.Err() == nil {
		err := s.round(ctx)
		if ctx.Err() != nil {
			return
		}
		cause := ""
		if err != nil {
			cause = serviceforge.MessageOf(err)
			s.Log.Warn("a sweep was given up", "pool", s.pools[0], "error", serviceforge.DetailOf(err))
		}
		if err == nil || cause != s.known.Cause {
			s.known.Cause = cause
			if err == nil {
				s.known.At, s.known.Calls = s.Now().UTC(), s.calls
			}
			s.keep(ctx)
		}
		if err != nil {
			work.Pause(ctx, s.Sweep)
		}
	}
}

// round looks once at everything. An instance that is busy, or changes while it
// is looked at, is left to the next round.
func (s *sweeper) round(ctx context.Context) error {
	s.calls = 0
	var mine []store.Summary // before the list: what was made after it is not in it
	for _, i := range s.Store.Summaries() {
		if slices.Contains(s.pools, i.Pool) && i.State == serviceforge.Running && !i.Busy() {
			mine = append(mine, i)
		}
	}
	gap := max(sweepGap, s.Sweep/time.Duration(len(mine)+1))
	var names []string
	err := s.ask(ctx, gap, func(ctx context.Context) (err error) {
		names, err = s.director.Deployments(ctx)
		return err
	})
	if err != nil {
		return err
	}
	stones, err := s.Store.Tombstones(ctx)
	if err != nil {
		return err
	}
	if err := s.slots(ctx, names, stones); err != nil {
		return err
	}
	if err := s.orphans(ctx, names, stones); err != nil {
		return err
	}
	s.forget(mine)
	failures := 0 // in a row: one instance that cannot be looked at hides no other
	for n := range mine {
		i := &mine[n]
		if !slices.Contains(names, i.Deployment) {
			s.found(ctx, i, finding{gone, "the director has no deployment of that name: delete the service instance, or restore it"})
			continue
		}
		err := s.look(ctx, gap, i)
		switch {
		case err == nil:
			failures = 0
		case ctx.Err() != nil:
			return ctx.Err()
		default:
			s.Log.Warn("an instance could not be looked at", "instance", i.ID, "pool", i.Pool, "error", serviceforge.DetailOf(err))
			if failures++; failures == sweepFailures {
				return err
			}
		}
	}
	return nil
}

// ask waits for its turn and asks the director one thing.
func (s *sweeper) ask(ctx context.Context, gap time.Duration, do func(context.Context) error) error {
	work.Pause(ctx, gap)
	if err := s.gate.Wait(ctx); err != nil {
		return err
	}
	for _, pool := range s.pools {
		if b := s.dispatchers[pool].Breaker.State(); b.Open() {
			return serviceforge.Errorf(serviceforge.Unavailable, "the breaker of pool %s is open: %s", pool, b.Cause)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, s.PostTimeout)
	defer cancel()
	s.calls++
	return do(ctx)
}

// look asks for the instances of one deployment, and the service whether it serves.
func (s *sweeper) look(ctx context.Context, gap time.Duration, i *store.Summary) error {
	var vms []director.VM
	err := s.ask(ctx, gap, func(ctx context.Context) (err error) {
		vms, err = s.director.Instances(ctx, i.Deployment)
		return err
	})
	if serviceforge.CodeOf(err) == serviceforge.NotFound {
		return nil // it went after it was listed: the next round tells
	}
	if err != nil {
		return err
	}
	var findings []finding
	for _, vm := range vms {
		if vm.Missing {
			findings = append(findings, finding{vmMissing, fmt.Sprintf("%s/%d has no VM: `bosh -d %s cloud-check`", vm.Group, vm.Index, i.Deployment)})
		}
	}
	record, err := s.Store.Instance(ctx, i.ID)
	if err != nil || record.Revision != i.Revision {
		return ignoreGone(err)
	}
	if len(findings) == 0 {
		if err := s.learn(ctx, &record, director.Addresses(vms)); err != nil {
			return err
		}
		i.Revision = record.Revision
	}
	more, err := s.serves(ctx, &record)
	if err != nil {
		return err
	}
	s.found(ctx, i, append(findings, more...)...)
	return nil
}

func ignoreGone(err error) error {
	if serviceforge.CodeOf(err) == serviceforge.NotFound {
		return nil
	}
	return err
}

// learn puts moved addresses into the record, and what hangs on them. A write
// that lost a race is left to the next round.
func (s *sweeper) learn(ctx context.Context, i *serviceforge.Instance, addresses map[string][]string) error {
	if len(addresses) == 0 || reflect.DeepEqual(addresses, i.Facts) {
		return nil
	}
	before := i.Facts
	i.Facts = addresses
	access, err := s.access(ctx, i)
	if err != nil {
		return err
	}
	i.Access = access
	told := fmt.Sprintf("The addresses moved from %v to %v", before, addresses)
	s.Log.Warn("the addresses of an instance moved", "instance", i.ID, "before", before, "after", addresses)
	i.UpdatedAt = s.Now().UTC()
	err = s.Store.PutInstance(ctx, i, s.term, serviceforge.Change{
		At: i.UpdatedAt, What: "sweep", Before: i.State, After: i.State, Result: serviceforge.Succeeded,
		Actor: "the engine", Message: told, Pool: i.Pool,
	})
	if serviceforge.CodeOf(err) == serviceforge.Conflict {
		return nil
	}
	return err
}

// serves asks the service, where the broker reaches it, and looks for bindings
// whose credentials are of the past.
func (s *sweeper) serves(ctx context.Context, i *serviceforge.Instance) (findings []finding, err error) {
	look, err := s.lookAt(i)
	if pool, unknown := s.Pools.Pool(i.Pool); err == nil && look != nil && unknown == nil && pool.Reachable {
		asking, cancel := context.WithTimeout(ctx, s.PostTimeout)
		if err := look(asking); err != nil && ctx.Err() == nil {
			findings = append(findings, finding{silent, serviceforge.MessageOf(err)})
		}
		cancel()
	}
	if err != nil {
		return nil, err
	}
	all, err := s.Store.Bindings(ctx, i.ID)
	if err != nil {
		return nil, err
	}
	var old []string
	for n := range all {
		if bindings.Stale(i, &all[n]) {
			old = append(old, all[n].ID)
		}
	}
	if len(old) > 0 {
		findings = append(findings, finding{stale, "unbind and bind again, they hold what was before: " + strings.Join(old, ", ")})
	}
	return findings, nil
}

// slots looks for claims whose instance is no more, and gives those back whose
// deployment is no more either.
func (s *sweeper) slots(ctx context.Context, deployments []string, stones []store.Tombstone) error {
	claims, err := s.Store.Claims(ctx)
	if err != nil {
		return err
	}
	names := map[string]string{} // of deleted instances' deployments
	for _, stone := range stones {
		names[stone.ID] = stone.Deployment
	}
	var lost []store.Finding
	for claim, id := range claims {
		if !slices.Contains(s.pools, claim.Pool) {
			continue
		}
		i, err := s.Store.Instance(ctx, id)
		if err == nil && i.Claim() == claim {
			continue
		}
		if err != nil && serviceforge.CodeOf(err) != serviceforge.NotFound {
			return err
		}
		f := store.Finding{Kind: slotUnheld, Pool: claim.Pool, Slot: claim.Slot, Instance: id}
		for _, name := range append(s.namesFor(id), names[id]) {
			if slices.Contains(deployments, name) {
				f.Deployment = name
			}
		}
		if f.Says = "its deployment still stands: see `serviceforge orphans`"; f.Deployment == "" {
			f.Says = "it was given back"
			if err := s.Store.FreeClaim(ctx, claim, id, s.term); err != nil {
				f.Says = serviceforge.MessageOf(err)
			}
		}
		lost = append(lost, f)
	}
	s.replace(ctx, func(f *store.Finding) bool { return f.Kind == slotUnheld }, lost)
	return nil
}

// namesFor lists the names that deployments of an instance of that id may have.
func (s *sweeper) namesFor(id string) (names []string) {
	for _, prefix := range s.Shelf.Prefixes() {
		names = append(names, serviceforge.DeploymentName(prefix, id))
	}
	return names
}
