package orchestrator

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/releases"
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

// Strays lists the deployments on all directors that look like ours and have no
// instance. Each of them costs a call or two. A director that does not answer
// fails the list. Errors: Unavailable.
func (e *Engine) Strays(ctx context.Context) ([]Stray, error) {
	stones, err := e.Store.Tombstones(ctx)
	if err != nil {
		return nil, err
	}
	var strays []Stray
	for _, group := range e.directorGroups() {
		s, err := e.newSearch(group, stones)
		if err != nil {
			return nil, err
		}
		found, err := s.all(ctx)
		if err != nil {
			return nil, serviceforge.Wrap(err, serviceforge.CodeOf(err), "pool %s: %s", s.pool, serviceforge.MessageOf(err))
		}
		strays = append(strays, found...)
	}
	return strays, nil
}

// directorGroups puts pools that share a director together.
func (e *Engine) directorGroups() (groups [][]string) {
	at := map[string]int{}
	for _, p := range e.Pools.All() {
		n, known := at[p.Director.URL]
		if p.Director.URL == "" || !known {
			at[p.Director.URL] = len(groups)
			groups = append(groups, []string{p.Name})
			continue
		}
		groups[n] = append(groups[n], p.Name)
	}
	return groups
}

// search looks through the deployments of one director.
type search struct {
	*Engine
	pool     string   // the first of those on the director
	pools    []string // all of them
	director Director
	byID     map[string]store.Tombstone
	byName   map[string]store.Tombstone
}

func (e *Engine) newSearch(group []string, stones []store.Tombstone) (*search, error) {
	s := &search{Engine: e, pool: group[0], pools: group, director: e.Directors[group[0]],
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
	asking, cancel := context.WithTimeout(ctx, inspection)
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
		stray, found, err := s.look(ctx, name)
		if err != nil {
			return nil, err
		}
		if found {
			strays = append(strays, stray)
		}
	}
	return strays, nil
}

// looksLikeOurs says whether the name could be one that we gave.
func (s *search) looksLikeOurs(name string) bool {
	if _, ok := s.byName[name]; ok {
		return true
	}
	return slices.ContainsFunc(s.offeringPrefixes(), func(prefix string) bool { return strings.HasPrefix(name, prefix+"-") })
}

func (e *Engine) offeringPrefixes() (prefixes []string) {
	for _, o := range e.Catalog.Offerings() {
		prefixes = append(prefixes, o.DeploymentNamePrefix)
	}
	return prefixes
}

// look finds out whose a deployment is that no instance of this director has.
func (s *search) look(ctx context.Context, name string) (stray Stray, found bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, inspection)
	defer cancel()
	stray = Stray{Pool: s.pool, Deployment: name, Group: Foreign}
	manifest, err := s.director.Manifest(ctx, name)
	if serviceforge.CodeOf(err) == serviceforge.NotFound {
		return stray, false, nil
	}
	if err != nil {
		return stray, false, err
	}
	if stray.Deployed = len(manifest) > 0; stray.Deployed {
		s.judgeStamp(&stray, manifest)
		return stray, true, nil
	}
	stone, buried := s.byName[name]
	if !buried {
		return stray, true, nil // nothing says that we posted it
	}
	posted, err := postedFor(ctx, s.director, name, stone.Operations)
	if err == nil && posted {
		stray.Group, stray.Instance, stray.DeletedAt = Orphan, stone.ID, stone.DeletedAt
	}
	return stray, true, err
}

func (s *search) judgeStamp(stray *Stray, manifest []byte) {
	stamp, ok := releases.StampOf(manifest)
	if !ok || stamp.Broker != s.Store.BrokerID() {
		return
	}
	stray.Group, stray.Instance = Unknown, stamp.Instance
	if stone, ok := s.byID[stamp.Instance]; ok && stone.Deployment == stray.Deployment {
		stray.Group, stray.DeletedAt = Orphan, stone.DeletedAt
	}
}

// postedFor says whether a deployment without a manifest was posted for one of
// the operations: the newest task that carries one of their ids decides. Where
// that deleted the deployment, what stands there now came from somebody else.
func postedFor(ctx context.Context, d Director, deployment string, operations []string) (bool, error) {
	tasks, err := d.Tasks(ctx, TaskQuery{Deployment: deployment})
	if err != nil {
		return false, err
	}
	for _, t := range tasks {
		for _, operation := range operations {
			if step, ok := strings.CutPrefix(t.ContextID, operation+"."); ok {
				deleted := strings.HasPrefix(step, "delete.") || strings.HasPrefix(step, "leave.")
				return !deleted || t.State != TaskDone, nil
			}
		}
	}
	return false, nil
}

// DeleteStray has a stray deployment deleted and returns the director's task.
// What it is, is found out anew: an orphan only goes when its instance has been
// gone for grace, anything else only when own says that the caller answers for
// it. pool may be empty where only one director has the name. Errors: NotFound,
// Conflict (it belongs to an instance), NotReady (within the grace period),
// Forbidden (not an orphan), Invalid (several directors have it), Unavailable.
func (e *Engine) DeleteStray(ctx context.Context, c Caller, pool, deployment string, grace time.Duration, own bool) (task int, err error) {
	s, stray, err := e.findStray(ctx, pool, deployment)
	if err != nil {
		return 0, err
	}
	if stray.Instance != "" {
		if _, err := e.Store.Instance(ctx, stray.Instance); serviceforge.CodeOf(err) != serviceforge.NotFound {
			if err == nil {
				err = serviceforge.Errorf(serviceforge.Conflict, "deployment %s may belong to service instance %q", deployment, stray.Instance)
			}
			return 0, err
		}
	}
	switch age := e.Now().Sub(stray.DeletedAt); {
	case own:
	case stray.Group != Orphan:
		return 0, serviceforge.Errorf(serviceforge.Forbidden,
			"deployment %s on pool %s is %s, not an orphan of this broker: it is left alone unless you say --i-own %s", deployment, s.pool, stray.Group, deployment)
	case age < grace:
		return 0, serviceforge.Errorf(serviceforge.NotReady, "service instance %q was deleted %s ago: its orphan goes after %s",
			stray.Instance, age.Round(time.Second), grace)
	}
	e.Log.Warn("a stray deployment is deleted", "pool", s.pool, "deployment", deployment, "group", stray.Group,
		"instance", stray.Instance, "actor", c.Actor, "answered_for", own)
	ctx, cancel := context.WithTimeout(ctx, e.PostTimeout)
	defer cancel()
	return s.director.Delete(ctx, deployment, e.NewID()+".orphan.0")
}

// findStray looks for one stray by its name.
func (e *Engine) findStray(ctx context.Context, pool, deployment string) (*search, Stray, error) {
	stones, err := e.Store.Tombstones(ctx)
	if err != nil {
		return nil, Stray{}, err
	}
	var at *search
	var stray Stray
	for _, group := range e.directorGroups() {
		if pool != "" && !slices.Contains(group, pool) {
			continue
		}
		s, err := e.newSearch(group, stones)
		if err != nil {
			return nil, stray, err
		}
		if s.belongs(deployment) {
			return nil, stray, serviceforge.Errorf(serviceforge.Conflict, "deployment %s belongs to a service instance: delete that", deployment)
		}
		one, found, err := s.look(ctx, deployment)
		switch {
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

func (s *search) belongs(deployment string) bool {
	return slices.ContainsFunc(s.Store.Summaries(), func(i store.Summary) bool {
		return i.Deployment == deployment && slices.Contains(s.pools, i.Pool)
	})
}
