package install

import (
	"context"
	"slices"
	"strings"

	"github.com/serviceforge/serviceforge"
	pools "github.com/serviceforge/serviceforge/infrastructure_pools"
	"github.com/serviceforge/serviceforge/orchestrator/director"
	"github.com/serviceforge/serviceforge/releases"
)

// need is what one pool's director has to be given for a release.
type need struct {
	pool      pools.Pool
	director  director.Director
	send      []carried
	fetch     []releases.BOSHRelease
	stemcells []stemcell
}

func (n *need) uploads() bool { return len(n.send)+len(n.fetch)+len(n.stemcells) > 0 }

// needs asks the directors of all pools that a plan may go to what they have. A
// pool that is closed, and whose director does not answer or lacks what we have
// not got, is left out. Errors: Unprocessable, with what each pool lacks.
func (in *Installer) needs(ctx context.Context, p *parcel) (all []need, without []string, err error) {
	marks, err := in.Store.ReadPoolMarks(ctx)
	if err != nil {
		return nil, nil, err
	}
	var wrong []string
	for _, pool := range in.Pools.All() {
		if reason := refusesAll(&pool, p.release); reason != "" {
			without = append(without, pool.Name+": "+reason)
			continue
		}
		state := pool.State
		if mark := marks[pool.Name]; mark.State != "" {
			state = pools.State(mark.State)
		}
		n, lacks, err := in.needOf(ctx, p, pool)
		if err != nil {
			lacks = append(lacks, serviceforge.MessageOf(err))
		}
		switch {
		case len(lacks) == 0:
			all = append(all, n)
		case state != pools.Active:
			without = append(without, pool.Name+": "+strings.Join(lacks, "; "))
		default:
			for _, lack := range lacks {
				wrong = append(wrong, "pool "+pool.Name+": "+lack)
			}
		}
	}
	if len(wrong) > 0 {
		return nil, without, serviceforge.Errorf(serviceforge.Unprocessable,
			"%s cannot be installed; nothing was changed (a pool that is cordoned is left out):\n%s", p.release.Ref(), strings.Join(wrong, "\n"))
	}
	if len(all) == 0 {
		return nil, without, serviceforge.Errorf(serviceforge.Unprocessable,
			"no infrastructure pool can carry %s; nothing was changed:\n%s", p.release.Ref(), strings.Join(without, "\n"))
	}
	return all, without, nil
}

// refusesAll says why none of the release's plans can go to the pool, or "".
func refusesAll(pool *pools.Pool, r *releases.Release) (reason string) {
	for _, o := range r.Offerings() {
		for _, plan := range o.Plans {
			if reason = pool.Refuses(plan); reason == "" {
				return ""
			}
		}
	}
	return "it " + reason
}

// needOf compares what a pool's director has with what the release needs.
// lacks is what nobody can give it. Errors are the director's: what it has is
// not known then.
func (in *Installer) needOf(ctx context.Context, p *parcel, pool pools.Pool) (n need, lacks []string, err error) {
	n = need{pool: pool, director: in.Directors[pool.Name]}
	there, err := n.director.Releases(ctx)
	if err != nil {
		return n, nil, err
	}
	for _, b := range p.release.BOSHReleases() {
		lack, err := n.release(ctx, p, b, there[b.Name])
		if err != nil {
			return n, lacks, err
		}
		if lack != "" {
			lacks = append(lacks, lack)
		}
	}
	stemcells, err := n.director.Stemcells(ctx)
	if err != nil {
		return n, lacks, err
	}
	for _, os := range operatingSystems(p.release) {
		version := pool.Stemcells[os]
		if version == "" || slices.Contains(stemcells[os], version) {
			continue // a plan that needs a stemcell the pool has not got does not go there
		}
		at := slices.IndexFunc(p.stemcells, func(s stemcell) bool { return s.OS == os && s.Version == version })
		if at < 0 {
			lacks = append(lacks, "the stemcell "+os+"/"+version+" is not on the director: upload it (bosh upload-stemcell), or put it into "+stemcellFolder)
			continue
		}
		n.stemcells = append(n.stemcells, p.stemcells[at])
	}
	return n, lacks, nil
}

func operatingSystems(r *releases.Release) (all []string) {
	for _, o := range r.Offerings() {
		for _, plan := range o.Plans {
			for _, os := range plan.Needs.Stemcells {
				if !slices.Contains(all, os) {
					all = append(all, os)
				}
			}
		}
	}
	return all
}

// release notes what is to be done for one BOSH release, of which versions are
// there; it returns what cannot be helped.
func (n *need) release(ctx context.Context, p *parcel, b releases.BOSHRelease, versions []string) (lack string, err error) {
	c, carried := p.bosh[b.Name]
	if !carried {
		switch {
		case slices.Contains(versions, b.Version):
		case b.URL != "":
			n.fetch = append(n.fetch, b)
		default:
			return "the BOSH release " + b.Name + "/" + b.Version + " is neither on the director nor in the service release", nil
		}
		return "", nil
	}
	if !slices.Contains(versions, c.Version) {
		if c.tarball.Open == nil {
			return "the BOSH release " + c.Name + "/" + c.Version + " is not on the director: name the packed service release", nil
		}
		n.send = append(n.send, c)
		return "", nil
	}
	parts, err := n.director.Parts(ctx, c.Name, c.Version)
	if err != nil {
		return "", err
	}
	if differs := difference(parts, c.Parts); differs != "" {
		return "the BOSH release " + c.Name + "/" + c.Version + " is on the director with another " + differs + ": raise its version", nil
	}
	return "", nil
}

// difference names the first job or package that is not the same, or "".
func difference(there, ours map[string]string) string {
	for _, part := range sortedParts(there, ours) {
		if there[part] != ours[part] {
			kind, name, _ := strings.Cut(part, "/")
			return strings.TrimSuffix(kind, "s") + " " + name
		}
	}
	return ""
}

func sortedParts(there, ours map[string]string) (all []string) {
	for _, parts := range []map[string]string{there, ours} {
		for part := range parts {
			all = append(all, part)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
