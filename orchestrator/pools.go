package orchestrator

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/serviceforge/serviceforge"
	pools "github.com/serviceforge/serviceforge/infrastructure_pools"
	"github.com/serviceforge/serviceforge/orchestrator/director"
	"github.com/serviceforge/serviceforge/store"
)

// inspection bounds what one look at a director takes.
const inspection = 5 * time.Second

// PoolStatus is what operators see of an infrastructure pool.
type PoolStatus struct {
	Name, Director string
	State          pools.State
	Reason, Actor  string // of the operator who set the state; empty = the pool file did
	Since          time.Time
	Instances      int // placed there, whatever their state
	Limited        bool
	Size           int // how many it takes, when it is limited
	Free           int // places that nobody claims, when it is limited
	InFlight       int // tasks of ours, running or about to be posted
	MaxInFlight    int
	Queued         int    // operations that wait for a worker
	Healthy        bool   // the director answers and lets us in
	Health         string // "ok", or what is wrong
	Breaker        string // why the breaker is open: new work waits; "" = it is closed
}

// PoolStatuses looks at all pools and asks each director who it is. The answer
// is the same on every replica. Errors: Unavailable (no store).
func (e *Engine) PoolStatuses(ctx context.Context) ([]PoolStatus, error) {
	marks, err := e.Store.ReadPoolMarks(ctx)
	if err != nil {
		return nil, err
	}
	claims, err := e.Store.Claims(ctx)
	if err != nil {
		return nil, err
	}
	breakers, err := e.Breakers(ctx)
	if err != nil {
		return nil, err
	}
	all := e.Pools.All()
	statuses := make([]PoolStatus, len(all))
	at := make(map[string]*PoolStatus, len(all))
	var asking sync.WaitGroup
	for n := range all {
		statuses[n] = statusOf(&all[n], marks[all[n].Name])
		at[all[n].Name] = &statuses[n]
		asking.Go(func() { _, statuses[n].Health = e.health(ctx, all[n].Name) })
	}
	asking.Wait()
	summaries := e.Store.Summaries()
	for n := range summaries {
		if s := at[summaries[n].Pool]; s != nil {
			s.count(&summaries[n])
		}
	}
	for n := range all {
		s := &statuses[n]
		s.Queued = e.progress.Waiting(s.Name)
		s.Healthy = s.Health == "ok"
		if b := breakers[s.Name]; b.Open() {
			s.Breaker = b.Cause
		}
		s.Free = freePlaces(&all[n], s.Instances, claims)
	}
	return statuses, nil
}

func statusOf(p *pools.Pool, m store.PoolMark) PoolStatus {
	s := PoolStatus{
		Name: p.Name, Director: p.Director.URL, State: p.State, Limited: p.Limited(), Size: p.Size(), MaxInFlight: p.MaxInFlight,
	}
	if m.State != "" {
		s.State, s.Reason, s.Actor, s.Since = pools.State(m.State), m.Reason, m.Actor, m.At
	}
	return s
}

// count adds an instance of the pool.
func (s *PoolStatus) count(i *store.Summary) {
	s.Instances++
	if i.Busy() && i.AtDirector() {
		s.InFlight++
	}
}

// freePlaces counts the places that a new instance could claim.
func freePlaces(p *pools.Pool, instances int, claims map[serviceforge.Claim]string) int {
	free := 0
	for n := range p.Size() {
		if _, taken := claims[serviceforge.Claim{Pool: p.Name, Slot: p.Place(n)}]; !taken {
			free++
		}
	}
	return min(free, max(0, p.Size()-instances))
}

// health asks the pool's director who it is, and whom it takes us for.
func (e *Engine) health(ctx context.Context, pool string) (director.Info, string) {
	asked := e.Directors[pool]
	if asked == nil {
		return director.Info{}, "no director is configured"
	}
	ctx, cancel := context.WithTimeout(ctx, inspection)
	defer cancel()
	info, err := asked.Info(ctx)
	switch {
	case err != nil:
		return info, serviceforge.MessageOf(err)
	case info.User == "" && info.UAA:
		return info, "the director does not take our credentials; it has a UAA: name a client of it in the pool file (director.uaa)"
	case info.User == "":
		return info, "the director does not take our credentials"
	}
	return info, "ok"
}

// SetPoolState closes a pool for new instances (cordoned, draining) or opens it
// (active), on all replicas, whatever its file says. Errors: NotFound, Invalid,
// Unavailable.
func (e *Engine) SetPoolState(ctx context.Context, c Caller, pool, state, reason string) error {
	p, err := e.Pools.Pool(pool)
	wanted := pools.State(state)
	switch {
	case err != nil:
		return err
	case !wanted.Valid():
		return serviceforge.Errorf(serviceforge.Invalid, "the state of a pool is %s, %s or %s", pools.Active, pools.Cordoned, pools.Draining)
	case wanted != pools.Active && reason == "":
		return serviceforge.Errorf(serviceforge.Invalid, "say why: the others will ask")
	case len(reason) > maxReason:
		return serviceforge.Errorf(serviceforge.TooLarge, "the reason is longer than %d bytes", maxReason)
	}
	e.Log.Info("the state of a pool is set", "pool", pool, "state", state, "reason", reason, "actor", c.Actor)
	now := e.Now().UTC()
	mark := store.PoolMark{State: state, Reason: reason, Actor: c.Actor, At: now, Stalls: store.Remember(closures(e.Store.PoolMarks()[pool], now))}
	if wanted == pools.Active && p.State == pools.Active {
		mark = store.PoolMark{At: now, Stalls: mark.Stalls}
	}
	return e.Store.MarkPool(ctx, pool, mark)
}

// closures are the times during which operators had closed the pool, to this moment.
func closures(m store.PoolMark, now time.Time) []store.Stall {
	all := slices.Clone(m.Stalls)
	if m.State != "" && m.State != string(pools.Active) {
		all = append(all, store.Stall{From: m.At, To: now})
	}
	return all
}

const maxReason = 1 << 10

// Finding is one thing that CheckPool looked at.
type Finding struct {
	Pool string
	What string // e.g. "director", "cloud config"
	Good bool
	// Warning says that it serves, and should be otherwise.
	Warning bool
	Says    string
}

// CheckPool looks whether a pool can serve what is offered: its director
// answers and lets us in with no more rights than needed, has the names of the pool file in its cloud config,
// the BOSH releases, and the stemcells. Errors: NotFound.
func (e *Engine) CheckPool(ctx context.Context, pool string) ([]Finding, error) {
	p, err := e.Pools.Pool(pool)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 3*inspection)
	defer cancel()
	info, health := e.health(ctx, pool)
	findings := append([]Finding{{What: "director", Good: health == "ok", Says: health}}, e.checkPlans(ctx, &p, health == "ok")...)
	if d := e.Directors[pool]; health == "ok" {
		findings = slices.Concat(findings, checkScopes(info), checkNames(ctx, d, &p), e.checkReleases(ctx, d), checkStemcells(ctx, d, &p))
	}
	for n := range findings {
		findings[n].Pool = pool
	}
	return findings, nil
}

// checkPlans tells which plans could go to the pool by their rules, and cannot:
// for what the pool lacks, or its director.
func (e *Engine) checkPlans(ctx context.Context, p *pools.Pool, there bool) (findings []Finding) {
	for _, o := range e.Shelf.Catalog().Offerings() {
		for _, plan := range o.Plans {
			if !plan.Pools.Allows(p.Name, p.Tags) {
				continue
			}
			reason := p.Refuses(plan)
			if reason == "" && there {
				var err error
				if reason, err = lack(ctx, e.Directors[p.Name], p, plan.Needs.Director); err != nil {
					reason = "was not asked: " + serviceforge.MessageOf(err)
				}
			}
			if reason != "" {
				findings = append(findings, Finding{What: "plans", Good: true, Warning: true, Says: fmt.Sprintf("cannot take %s/%s: it %s", o.Name, plan.Name, reason)})
			}
		}
	}
	return findings
}

func checkNames(ctx context.Context, d director.Director, p *pools.Pool) []Finding {
	const what = "cloud config"
	texts, err := d.CloudConfigs(ctx)
	if err != nil {
		return []Finding{{What: what, Says: serviceforge.MessageOf(err)}}
	}
	if len(texts) == 0 {
		return []Finding{{What: what, Says: "there is none, or our client may not read it (a team's client): the names of the pool file are not checked"}}
	}
	config, err := pools.ParseCloudConfig(texts...)
	if err != nil {
		return []Finding{{What: what, Says: serviceforge.MessageOf(err)}}
	}
	var findings []Finding
	for _, missing := range p.Missing(config) {
		findings = append(findings, Finding{What: what, Says: "there is no " + missing})
	}
	if len(findings) == 0 {
		return []Finding{{What: what, Good: true, Says: "has every name of the pool file"}}
	}
	return findings
}

func (e *Engine) checkReleases(ctx context.Context, d director.Director) (findings []Finding) {
	there, err := d.Releases(ctx)
	if err != nil {
		return []Finding{{What: "releases", Says: serviceforge.MessageOf(err)}}
	}
	editions := e.Shelf.Editions()
	for _, ref := range slices.Sorted(maps.Keys(editions)) {
		for _, b := range editions[ref].BOSHReleases() {
			version := cmp.Or(editions[ref].Versions[b.Name], b.Version)
			findings = append(findings, present("release", b.Name, version, there[b.Name]))
		}
	}
	return findings
}

func checkStemcells(ctx context.Context, d director.Director, p *pools.Pool) (findings []Finding) {
	there, err := d.Stemcells(ctx)
	if err != nil {
		return []Finding{{What: "stemcells", Says: serviceforge.MessageOf(err)}}
	}
	for _, os := range slices.Sorted(maps.Keys(p.Stemcells)) {
		findings = append(findings, present("stemcell", os, p.Stemcells[os], there[os]))
	}
	return findings
}

func present(what, name, version string, there []string) Finding {
	if slices.Contains(there, version) {
		return Finding{What: what, Good: true, Says: fmt.Sprintf("%s/%s is there", name, version)}
	}
	return Finding{What: what, Says: fmt.Sprintf("%s/%s is not on the director", name, version)}
}
