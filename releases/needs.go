package releases

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strings"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/catalog"
	"github.com/serviceforge/serviceforge/releases/secrets"
)

// needs is what a pool must have for a plan.
func (s *service) needs(f *fileService, p *filePlan) (catalog.Needs, error) {
	n := catalog.Needs{
		VMTypes: p.Needs.VMTypes, DiskTypes: p.Needs.DiskTypes, Stemcells: s.operatingSystems(), Programs: f.BOSHRelease.Programs,
		Reach: s.hasUsers || s.check.Driver != "",
		Director: catalog.DirectorNeeds{
			ConfigServer: f.RequiresPool.ConfigServer || len(f.DirectorVariables) > 0 || len(s.directorSecrets()) > 0,
			LocalDNS:     f.RequiresPool.LocalDNS, ManualNetwork: f.RequiresPool.Network == "manual",
		},
	}
	for _, r := range f.BOSHRelease.Releases {
		if r.ExportedFrom == "" {
			continue
		}
		os, version, ok := strings.Cut(r.ExportedFrom, "/")
		if !ok || !slices.Contains(n.Stemcells, os) || version == "" {
			return n, invalid("bosh_release.releases: exported_from of %s is the os/version of one of the stemcells", r.Name)
		}
		if other := n.Compiled[os]; other != "" && other != version {
			return n, invalid("bosh_release.releases: %s is compiled for %s/%s, another one for %s", r.Name, os, version, other)
		}
		if n.Compiled == nil {
			n.Compiled = map[string]string{}
		}
		n.Compiled[os] = version
	}
	return n, nil
}

// poolRule is the plan's rule on pools, where bosh_target of 2014 leaves a choice.
func (f *fileService) poolRule(p *filePlan) (catalog.PoolRule, error) {
	rule := p.rule()
	switch {
	case f.BOSHTarget == "":
		return rule, nil
	case len(rule.Names) > 0 || len(rule.Match) > 0 || rule.Parameter:
		return rule, invalid("plan %s: pools and the service's bosh_target exclude each other", p.Name)
	case strings.Contains(f.BOSHTarget, "://"):
		rule.Director = strings.TrimSuffix(f.BOSHTarget, "/")
	default:
		rule.Names = []string{f.BOSHTarget}
	}
	return rule, nil
}

// limited makes limits of a plan's quota and limits. Each instance takes one of
// a resource that is called after the plan, so that organizations and spaces
// are counted by the plan.
func (p *filePlan) limited(offering string) (serviceforge.Costs, []serviceforge.Limit, error) {
	most := maps.Clone(p.Quota)
	if most == nil {
		most = map[string]int{}
	}
	for scope, n := range p.Limits {
		if quota, both := most[scope]; !both || n < quota {
			most[scope] = n
		}
	}
	costs := maps.Clone(p.Costs)
	resource := resourceOf(offering + "_" + p.Name)
	var limits []serviceforge.Limit
	for _, scope := range slices.Sorted(maps.Keys(most)) {
		quota := serviceforge.Quota{Scope: serviceforge.Scope(scope), Resource: resource}
		switch quota.Scope {
		case serviceforge.BrokerScope:
			quota = serviceforge.Quota{Scope: serviceforge.PlanScope, ID: p.ID, Resource: serviceforge.InstancesResource}
		case serviceforge.OrganizationScope, serviceforge.SpaceScope:
			if costs == nil {
				costs = serviceforge.Costs{}
			}
			costs[resource] = 1
		default:
			return nil, nil, invalid("plan %s: quota and limits are for organization, space or broker, not for %q", p.Name, scope)
		}
		limits = append(limits, serviceforge.Limit{Quota: quota, Most: int64(most[scope])})
	}
	return costs, limits, nil
}

// resourceOf makes a name of a resource of any words, always the same one.
func resourceOf(words string) string {
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, strings.ToLower(words))
	if name[0] < 'a' {
		name = "of_" + name
	}
	if len(name) > 32 {
		sum := sha256.Sum256([]byte(words))
		name = name[:23] + "_" + hex.EncodeToString(sum[:4])
	}
	return name
}

// directorSecrets are those that the director's config server makes and keeps.
func (s *service) directorSecrets() map[string]secrets.Spec {
	theirs := map[string]secrets.Spec{}
	for name, spec := range s.secrets {
		if spec.Store == "director" {
			theirs[name] = spec
		}
	}
	return theirs
}

// fileMigration is one entry of migrations: groups that a version calls otherwise.
type fileMigration struct {
	From           string              `yaml:"from"`
	To             string              `yaml:"to"`
	InstanceGroups map[string][]string `yaml:"instance_groups"` // the new one, of the old ones
}

// migrate tells the director which groups were called otherwise, in a manifest
// that follows another one: their disks stay. Groups that are still there are
// left out, as it would refuse them.
func (s *service) migrate(tree map[string]any) {
	groups, _ := tree["instance_groups"].([]any)
	there := map[string]bool{}
	for _, g := range groups {
		if group, ok := g.(map[string]any); ok {
			name, _ := group["name"].(string)
			there[name] = true
		}
	}
	for _, g := range groups {
		group, ok := g.(map[string]any)
		if !ok {
			continue
		}
		from, _ := group["migrated_from"].([]any)
		name, _ := group["name"].(string)
		for _, m := range s.migrations {
			for _, old := range m.InstanceGroups[name] {
				known := slices.ContainsFunc(from, func(v any) bool { m, _ := v.(map[string]any); return m["name"] == old })
				if !there[old] && !known {
					from = append(from, map[string]any{"name": old})
				}
			}
		}
		if len(from) > 0 {
			group["migrated_from"] = from
		}
	}
}
