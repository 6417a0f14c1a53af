// Package readiness looks whether a pool's director has what is wanted of it.
package readiness

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/serviceforge/serviceforge"
	pools "github.com/serviceforge/serviceforge/infrastructure_pools"
	"github.com/serviceforge/serviceforge/orchestrator/director"
	"github.com/serviceforge/serviceforge/orchestrator/shelf"
)

// finding is one thing that was looked at.
type Finding struct {
	Pool string
	What string // e.g. "director", "cloud config"
	Good bool
	// Warning says that it serves, and should be otherwise.
	Warning bool
	Says    string
}

// Check looks whether a pool can serve what is on the shelf: its director
// answers and lets us in with no more rights than needed, has the names of the
// pool file in its cloud config, the BOSH releases, and the stemcells.
func Check(ctx context.Context, d director.Director, p *pools.Pool, offered *shelf.Shelf) []Finding {
	ctx, cancel := context.WithTimeout(ctx, 3*director.Inspection)
	defer cancel()
	info, health := Health(ctx, d)
	there := health == "ok"
	findings := append([]Finding{{What: "director", Good: there, Says: health}}, checkPlans(ctx, d, p, offered, there)...)
	if there {
		findings = slices.Concat(findings, checkScopes(info), checkNames(ctx, d, p), checkReleases(ctx, d, offered), checkStemcells(ctx, d, p))
	}
	for n := range findings {
		findings[n].Pool = p.Name
	}
	return findings
}

// checkPlans tells which plans could go to the pool by their rules, and cannot:
// for what the pool lacks, or its director.
func checkPlans(ctx context.Context, d director.Director, p *pools.Pool, offered *shelf.Shelf, there bool) (findings []Finding) {
	for _, o := range offered.Catalog().Offerings() {
		for _, plan := range o.Plans {
			if !plan.Pools.Allows(p.Name, p.Tags) {
				continue
			}
			reason := p.Refuses(plan)
			if reason == "" && there {
				var err error
				if reason, err = Lack(ctx, d, p, plan.Needs.Director); err != nil {
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

func checkReleases(ctx context.Context, d director.Director, offered *shelf.Shelf) (findings []Finding) {
	there, err := d.Releases(ctx)
	if err != nil {
		return []Finding{{What: "releases", Says: serviceforge.MessageOf(err)}}
	}
	editions := offered.Editions()
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

// Health asks a pool's director who it is, and whom it takes us for; nil = the pool
// has none. It is "ok", or what is wrong.
func Health(ctx context.Context, d director.Director) (director.Info, string) {
	if d == nil {
		return director.Info{}, "no director is configured"
	}
	ctx, cancel := context.WithTimeout(ctx, director.Inspection)
	defer cancel()
	info, err := d.Info(ctx)
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
