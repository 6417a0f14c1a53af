package releases

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/serviceforge/serviceforge"
	pools "github.com/serviceforge/serviceforge/infrastructure_pools"
	"github.com/serviceforge/serviceforge/releases/parameters"
	"github.com/serviceforge/serviceforge/releases/trees"
)

// Input is everything a render depends on.
type Input struct {
	// Instance: its ids, names, Slot, Parameters, Secrets and Facts are read, and the
	// id of its Operation for the stamp.
	Instance serviceforge.Instance
	Pool     pools.Pool
	Broker   string // the broker's id, for the stamp
	// First says that nothing was deployed yet: the template may choose a
	// quicker update block.
	First bool
	// Versions replaces the versions of BOSH releases, by name (the pins of an
	// instance); nil = those of service.yml.
	Versions map[string]string
	// Spent are the prepared users that no binding has any more, for NewSecrets.
	Spent []string
	// DirectorUUID is for the deployment stubs of 2014.
	DirectorUUID string
}

// find returns the service and plan that the instance was made for.
func (r *Release) find(in Input) (*service, *plan, error) {
	for _, s := range r.services {
		if s.offering.ID != in.Instance.ServiceID {
			continue
		}
		if p := s.plans[in.Instance.PlanID]; p != nil {
			return s, p, nil
		}
		return nil, nil, invalid("service release %s has no plan %q", r.Ref(), in.Instance.PlanID)
	}
	return nil, nil, invalid("service release %s has no service %q", r.Ref(), in.Instance.ServiceID)
}

var legalDeployment = regexp.MustCompile(`^[A-Za-z0-9][-A-Za-z0-9_.]*$`)

// values makes the tree that templates read under the root `sf`. It holds
// nothing with "((" in it: values are data.
func (s *service) values(p *plan, in Input) (map[string]any, error) {
	i := &in.Instance
	if !legalDeployment.MatchString(i.Deployment) {
		return nil, invalid("%q cannot name a deployment", i.Deployment)
	}
	given, err := trees.Object([]byte(i.Parameters.Reveal()))
	if err != nil {
		return nil, err
	}
	if err := p.schemas[parameters.Whole].Check(given); err != nil {
		return nil, err
	}
	secrets, err := trees.Object([]byte(i.Secrets.Reveal()))
	if err != nil {
		return nil, serviceforge.Errorf(serviceforge.Internal, "the secrets of the instance cannot be read")
	}
	prepared, err := preparedIn(secrets)
	if err != nil {
		return nil, err
	}
	delete(secrets, preparedKey)
	stemcells, err := s.pinnedStemcells(in.Pool)
	if err != nil {
		return nil, err
	}
	sf := map[string]any{
		"instance": map[string]any{
			"id": i.ID, "deployment": i.Deployment, "dns": canonical(i.Deployment),
			"service_id": i.ServiceID, "plan_id": i.PlanID,
			"organization_guid": i.OrganizationGUID, "space_guid": i.SpaceGUID,
		},
		"plan": map[string]any{"id": p.ID, "name": p.Name},
		"pool": map[string]any{
			"name": in.Pool.Name, "infrastructure": in.Pool.Infrastructure, "azs": trees.List(in.Pool.AZs),
			"network": in.Pool.Network, "vm_types": trees.Table(in.Pool.VMTypes), "disk_types": trees.Table(in.Pool.DiskTypes),
			"vm_extensions": trees.List(in.Pool.VMExtensions), "stemcells": trees.Table(in.Pool.Stemcells), "tags": trees.Table(in.Pool.Tags),
			"slot": i.Slot,
		},
		"params": p.schemas[parameters.Whole].Filled(given), "secrets": secrets,
		"releases": s.pinnedReleases(in.Versions), "stemcells": stemcells,
		"first": in.First,
	}
	if s.prepared > 0 {
		sf["users"] = userValues(prepared)
	}
	return sf, parameters.RefuseReferences("instance", sf)
}

// pinnedReleases is the manifest's `releases:`.
func (s *service) pinnedReleases(versions map[string]string) []any {
	var out []any
	for _, r := range s.releases {
		version := r.Version
		if pinned := versions[r.Name]; pinned != "" {
			version = pinned
		}
		out = append(out, map[string]any{"name": r.Name, "version": version})
	}
	return out
}

// pinnedStemcells is the manifest's `stemcells:`; the version is the pool's.
func (s *service) pinnedStemcells(pool pools.Pool) ([]any, error) {
	var out []any
	for _, c := range s.stemcells {
		version := pool.Stemcells[c.OS]
		if version == "" {
			return nil, serviceforge.Errorf(serviceforge.Unprocessable, "pool %s has no stemcell %s", pool.Name, c.OS)
		}
		out = append(out, map[string]any{"alias": c.Alias, "os": c.OS, "version": version})
	}
	return out, nil
}

// factValues makes sf.facts: what service.yml's facts name, of the addresses
// the director told. A name in BOSH DNS is put together as the director does, and
// answers with the addresses of all the group's servers that run.
func (s *service) factValues(in Input) (map[string]any, error) {
	facts := in.Instance.Facts
	out := make(map[string]any, len(s.facts))
	for name, spec := range s.facts {
		addresses := facts[spec.InstanceGroup]
		switch {
		case spec.Address != "first":
			out[name] = trees.List(addresses) // a group may have no instances
		case len(addresses) == 0:
			return nil, serviceforge.Errorf(serviceforge.Unprocessable,
				"no address of instance group %s is known (fact %s)", spec.InstanceGroup, name)
		case spec.Kind.Value == "dns":
			out[name] = fmt.Sprintf("q-s0.%s.%s.%s.bosh", canonical(spec.InstanceGroup), canonical(in.Pool.Network), canonical(in.Instance.Deployment))
		default:
			out[name] = addresses[0]
		}
	}
	return out, nil
}

// canonical writes a name as BOSH does in host names: lower case, - for _,
// and nothing else but letters and digits (bosh's Canonicalizer).
func canonical(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '_':
			return '-'
		case r == '-' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			return r
		}
		return -1
	}, strings.ToLower(name))
}
