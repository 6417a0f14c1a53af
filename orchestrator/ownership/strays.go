package ownership

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/serviceforge/serviceforge"
	pools "github.com/serviceforge/serviceforge/infrastructure_pools"
	"github.com/serviceforge/serviceforge/orchestrator/director"
	"github.com/serviceforge/serviceforge/orchestrator/shelf"
	"github.com/serviceforge/serviceforge/releases/deployed"
	"github.com/serviceforge/serviceforge/store"
)

// Group says what a deployment without an instance is (DESIGN §4, "Stamp").
type Group string

// The groups of strays.
const (
	Orphan  Group = "orphan"  // our stamp, and the tombstone of a deleted instance: ours to delete
	Unknown Group = "unknown" // our stamp, but neither record nor tombstone: its record was lost
	Foreign Group = "foreign" // a name like ours, made by somebody else
)

// DefaultGrace is how long after an instance's end its orphan is left alone: a
// task of it may still be under way.
const DefaultGrace = 10 * time.Minute

// Stray is a deployment on a pool's director that no instance has.
type Stray struct {
	Pool, Deployment string
	Group            Group
	Instance         string    // whom the stamp or the tombstone names; "" = nobody of ours
	DeletedAt        time.Time // when that instance was deleted; zero = not known
	Deployed         bool      // a deploy of it succeeded once: the manifest is there
}

// Silence is a director that could not be looked at in full.
type Silence struct {
	Pool  string // the first of those on the director
	Cause string // fit for an operator
}

// Finder looks for strays on the directors of all pools.
type Finder struct {
	Store       *store.Store
	Shelf       *shelf.Shelf
	Pools       *pools.Set
	Directors   map[string]director.Director // by pool name
	Log         *slog.Logger
	Now         func() time.Time
	NewID       func() string
	PostTimeout time.Duration
}

// List lists the deployments on all directors that look like ours and have no
// instance, and the directors that did not answer, or not to the end: what they
// have beside that is not known. Each stray costs a call or two. Errors:
// Unavailable (no store).
func (f *Finder) List(ctx context.Context) ([]Stray, []Silence, error) {
	stones, err := f.Store.Tombstones(ctx)
	if err != nil {
		return nil, nil, err
	}
	groups := f.Pools.ByDirector()
	found, errs := make([][]Stray, len(groups)), make([]error, len(groups))
	var all sync.WaitGroup
	for n, group := range groups {
		all.Go(func() {
			s, err := f.newSearch(group, stones)
			if err == nil {
				found[n], err = s.all(ctx)
			}
			errs[n] = err
		})
	}
	all.Wait()
	var silent []Silence
	for n, err := range errs {
		if err != nil {
			f.Log.Warn("a director was not searched for strays", "pool", groups[n][0], "error", serviceforge.DetailOf(err))
			silent = append(silent, Silence{Pool: groups[n][0], Cause: serviceforge.MessageOf(err)})
		}
	}
	return slices.Concat(found...), silent, nil
}

// search looks through the deployments of one director.
type search struct {
	*Finder
	pool     string   // the first of those on the director
	pools    []string // all of them
	director director.Director
	byID     map[string]store.Tombstone
	byName   map[string]store.Tombstone
}

func (f *Finder) newSearch(group []string, stones []store.Tombstone) (*search, error) {
	s := &search{Finder: f, pool: group[0], pools: group, director: f.Directors[group[0]],
		byID: map[string]store.Tombstone{}, byName: map[string]store.Tombstone{}}
	if s.director == nil {
		return nil, serviceforge.Errorf(serviceforge.Unavailable, "the infrastructure pool %s has no director", s.pool)
	}
	for _, stone := range stones {
		s.byID[stone.ID], s.byName[stone.Deployment] = stone, stone
	}
	return s, nil
}

func (s *search) all(ctx context.Context) (strays []Stray, err error) {
	asking, cancel := context.WithTimeout(ctx, director.Inspection)
	names, err := s.director.Deployments(asking)
	cancel()
	if err != nil {
		return nil, err
	}
	mine := map[string]bool{}
	for _, i := range s.Store.Summaries() {
		if slices.Contains(s.pools, i.Pool) {
			mine[i.Deployment] = true
		}
	}
	for _, name := range names {
		if mine[name] || !s.looksLikeOurs(name) {
			continue
		}
		seen, found, err := s.look(ctx, name)
		if err != nil {
			return strays, err
		}
		if found {
			strays = append(strays, seen.Stray)
		}
	}
	return strays, nil
}

// looksLikeOurs says whether the name could be one that we gave.
func (s *search) looksLikeOurs(name string) bool {
	if _, ok := s.byName[name]; ok {
		return true
	}
	return slices.ContainsFunc(s.Shelf.Prefixes(), func(prefix string) bool { return strings.HasPrefix(name, prefix+"-") })
}

// sight is what a look at a stray showed. Two that are equal saw the same
// deployment.
type sight struct {
	Stray
	digest string // of the manifest; "" = there is none
	made   int    // the newest task that made or deleted the deployment, where there is no manifest
}

// look finds out whose a deployment is that no instance of this director has.
func (s *search) look(ctx context.Context, name string) (seen sight, found bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, director.Inspection)
	defer cancel()
	seen = sight{Stray: Stray{Pool: s.pool, Deployment: name, Group: Foreign}}
	manifest, err := s.director.Manifest(ctx, name)
	if serviceforge.CodeOf(err) == serviceforge.NotFound {
		return seen, false, nil
	}
	if err != nil {
		return seen, false, err
	}
	if seen.Deployed = len(manifest) > 0; seen.Deployed {
		seen.digest = deployed.Digest(manifest)
		s.judgeStamp(&seen.Stray, manifest)
		return seen, true, nil
	}
	tasks, err := s.director.Tasks(ctx, director.TaskQuery{Deployment: name})
	if err != nil {
		return seen, true, err
	}
	stone, buried := s.byName[name]
	traces := tracesOf(tasks, name, nil, stone.Operations)
	if seen.made = traces.newest; buried && traces.owner == Earlier {
		seen.Group, seen.Instance, seen.DeletedAt = Orphan, stone.ID, stone.DeletedAt
	}
	return seen, true, nil
}

func (s *search) judgeStamp(stray *Stray, manifest []byte) {
	stamp, ok := deployed.StampOf(manifest)
	if !ok || stamp.Broker != s.Store.BrokerID() {
		return
	}
	stray.Group, stray.Instance = Unknown, stamp.Instance
	stone, buried := s.byID[stamp.Instance]
	if buried && stone.Deployment == stray.Deployment && slices.Contains(stone.Operations, stamp.Operation) {
		stray.Group, stray.DeletedAt = Orphan, stone.DeletedAt
	}
}

// Delete has a stray deployment deleted and returns the director's task.
// What it is, is found out anew: an orphan only goes when its instance has been
// gone for grace, anything else only when own says that the caller answers for
// it; that may be what keeps an instance's deletion from its end. pool may be
// empty where only one director has the name. Errors: NotFound,
// Conflict (it belongs to an instance, or changed meanwhile), NotReady (within
// the grace period, or a task works on it), Forbidden (not an orphan), Invalid
// (several directors have it), Unavailable.
func (f *Finder) Delete(ctx context.Context, actor, pool, deployment string, grace time.Duration, own bool) (task int, err error) {
	s, seen, err := f.findStray(ctx, pool, deployment, own)
	if err != nil {
		return 0, err
	}
	if seen.Instance != "" {
		i, err := f.Store.Instance(ctx, seen.Instance)
		stuck := i.Operation.Kind == serviceforge.Deprovision && i.Operation.State == serviceforge.Failed
		if serviceforge.CodeOf(err) != serviceforge.NotFound && !(own && stuck) {
			if err == nil {
				err = serviceforge.Errorf(serviceforge.Conflict, "deployment %s may belong to service instance %q", deployment, seen.Instance)
			}
			return 0, err
		}
	}
	switch age := f.Now().Sub(seen.DeletedAt); {
	case own:
	case seen.Group != Orphan:
		return 0, serviceforge.Errorf(serviceforge.Forbidden,
			"deployment %s on pool %s is %s, not an orphan of this broker: it is left alone unless you say --i-own %s", deployment, s.pool, seen.Group, deployment)
	case age < grace:
		return 0, serviceforge.Errorf(serviceforge.NotReady, "service instance %q was deleted %s ago: its orphan goes after %s",
			seen.Instance, age.Round(time.Second), grace)
	}
	f.Log.Warn("a stray deployment is deleted", "pool", s.pool, "deployment", deployment, "group", seen.Group,
		"instance", seen.Instance, "actor", actor, "answered_for", own)
	return s.erase(ctx, seen)
}

// erase deletes what was seen and nothing else. No director compares before it
// deletes, so the last thing before the request is another look, and the first
// thing after it whether somebody's task came between: then ours, which waits
// for that one's lock, is cancelled.
func (s *search) erase(ctx context.Context, seen sight) (task int, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.PostTimeout)
	defer cancel()
	name := seen.Deployment
	changed := serviceforge.Errorf(serviceforge.Conflict, "deployment %s on pool %s changed meanwhile: look again with `serviceforge orphans`", name, s.pool)
	before, err := s.director.Tasks(ctx, director.TaskQuery{Deployment: name})
	if err != nil {
		return 0, err
	}
	traces := tracesOf(before, name, nil, nil)
	if traces.running != 0 {
		return 0, serviceforge.Errorf(serviceforge.NotReady, "task %d works on deployment %s: wait for its end", traces.running, name)
	}
	switch now, found, err := s.look(ctx, name); {
	case err != nil:
		return 0, err
	case !found:
		return 0, serviceforge.Errorf(serviceforge.NotFound, "there is no deployment %s", name)
	case now != seen:
		return 0, changed
	}
	contextID := s.NewID() + ".orphan.0"
	if seen.Group == Orphan { // as one of its instance's: who looks later knows that this deletion was ours
		contextID = s.byID[seen.Instance].OperationID + "." + serviceforge.VerbDelete + "." + s.NewID()
	}
	if task, err = s.director.Delete(ctx, name, contextID); err != nil {
		return 0, err
	}
	after, err := s.director.Tasks(ctx, director.TaskQuery{Deployment: name})
	if err == nil && slices.ContainsFunc(after, func(t director.Task) bool { return touches(&t, name) && t.ID > traces.newest && t.ID < task }) {
		if err := s.director.Cancel(ctx, task); err != nil {
			return 0, err
		}
		return 0, changed
	}
	return task, nil
}

// findStray looks for one stray by its name.
func (f *Finder) findStray(ctx context.Context, pool, deployment string, own bool) (at *search, stray sight, err error) {
	stones, err := f.Store.Tombstones(ctx)
	if err != nil {
		return nil, stray, err
	}
	for _, group := range f.Pools.ByDirector() {
		if pool != "" && !slices.Contains(group, pool) {
			continue
		}
		s, err := f.newSearch(group, stones)
		if err != nil {
			return nil, stray, err
		}
		if s.belongs(deployment, own) {
			return nil, stray, serviceforge.Errorf(serviceforge.Conflict, "deployment %s belongs to a service instance: delete that", deployment)
		}
		one, found, err := s.look(ctx, deployment)
		switch {
		case err != nil && pool == "":
			return nil, stray, serviceforge.Wrap(err, serviceforge.CodeOf(err),
				"pool %s: %s: whether it has a deployment of that name too is not known; name the pool with --pool", s.pool, serviceforge.MessageOf(err))
		case err != nil:
			return nil, stray, err
		case found && at != nil:
			return nil, stray, serviceforge.Errorf(serviceforge.Invalid, "pools %s and %s both have a deployment %s: name the pool", at.pool, s.pool, deployment)
		case found:
			at, stray = s, one
		}
	}
	if at == nil {
		return nil, stray, serviceforge.Errorf(serviceforge.NotFound, "there is no deployment %s", deployment)
	}
	return at, stray, nil
}

// belongs says whether an instance has the deployment. One whose deletion has
// failed has it no more for who answers for that (own).
func (s *search) belongs(deployment string, own bool) bool {
	return slices.ContainsFunc(s.Store.Summaries(), func(i store.Summary) bool {
		stuck := i.Kind == serviceforge.Deprovision && i.OperationState == serviceforge.Failed
		return i.Deployment == deployment && slices.Contains(s.pools, i.Pool) && !(own && stuck)
	})
}
