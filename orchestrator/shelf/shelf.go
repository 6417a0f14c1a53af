// Package shelf holds the service releases that a replica knows: the versions on
// offer, and those that instances still use. It follows the store, so that an
// install on one replica changes the catalog of all without a restart.
package shelf

import (
	"sync/atomic"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/catalog"
	"github.com/serviceforge/serviceforge/releases"
)

// Edition is one version of a service release.
type Edition struct {
	*releases.Release
	// BuiltIn says that it came with the program, and is not in the store.
	BuiltIn bool
	// Digest is of its content; of its texts where it is built in.
	Digest string
	// Versions are those of BOSH releases, by name, where they are not the ones
	// that its service.yml names.
	Versions map[string]string
	// Pools have what its deployments need; nil = that is not known, and not asked.
	Pools []string
}

// set is what a replica knows at one moment. It is never changed.
type set struct {
	catalog  *catalog.Catalog
	editions map[string]*Edition // by ref
	offered  map[string]*Edition // by name
	known    map[string]offer    // by plan id: of every edition, those on offer first
}

type offer struct {
	offering catalog.Offering
	plan     catalog.Plan
}

func newSet(c *catalog.Catalog, editions map[string]*Edition) *set {
	s := &set{catalog: c, editions: editions, known: map[string]offer{}}
	add := func(offerings []catalog.Offering) {
		for _, o := range offerings {
			for _, p := range o.Plans {
				if _, there := s.known[p.ID]; !there {
					s.known[p.ID] = offer{o, p}
				}
			}
		}
	}
	add(c.Offerings())
	for _, e := range editions {
		add(e.Offerings())
	}
	return s
}

// Shelf is the live set of service releases. Its methods ask nobody and may be
// called from any goroutine; Follow and Refresh ask the store.
type Shelf struct {
	*follower // nil = it follows nothing
	now       atomic.Pointer[set]
}

// Fixed returns a shelf that follows nothing: what is on offer is in c.
func Fixed(c *catalog.Catalog, editions ...Edition) *Shelf {
	byRef := map[string]*Edition{}
	for _, e := range editions {
		byRef[e.Ref()] = &e
	}
	s := &Shelf{}
	s.now.Store(newSet(c, byRef))
	return s
}

// Catalog returns what new instances can be made of.
func (s *Shelf) Catalog() *catalog.Catalog { return s.now.Load().catalog }

// Edition returns the version of a service release that a record names
// ("name/version"). Errors: Unprocessable.
func (s *Shelf) Edition(ref string) (*Edition, error) {
	if e, ok := s.now.Load().editions[ref]; ok {
		return e, nil
	}
	return nil, serviceforge.Errorf(serviceforge.Unprocessable, "the service release %s is not installed", ref)
}

// Release returns a version of a service release. Errors: as Edition's.
func (s *Shelf) Release(ref string) (*releases.Release, error) {
	edition, err := s.Edition(ref)
	if err != nil {
		return nil, err
	}
	return edition.Release, nil
}

// PlanOf returns an instance's plan, as the service release has it that the
// instance is made with. Errors: as Plan's.
func (s *Shelf) PlanOf(i *serviceforge.Instance) (catalog.Plan, error) {
	_, plan, err := s.Plan(i.Release, i.ServiceID, i.PlanID)
	return plan, err
}

// Editions returns every version there is, by ref. The caller must not change it.
func (s *Shelf) Editions() map[string]*Edition { return s.now.Load().editions }

// Plan returns a plan as the service release that an instance is made with has
// it, whether or not it is still on offer. Errors: Unprocessable (the release is
// not installed), Invalid (it has no such plan).
func (s *Shelf) Plan(ref, serviceID, planID string) (catalog.Offering, catalog.Plan, error) {
	now := s.now.Load()
	if o, p, err := now.catalog.Plan(serviceID, planID); err == nil && o.Release == ref {
		return o, p, nil
	}
	e, ok := now.editions[ref]
	if !ok {
		return catalog.Offering{}, catalog.Plan{}, serviceforge.Errorf(serviceforge.Unprocessable, "the service release %s is not installed", ref)
	}
	return e.Plan(serviceID, planID)
}

// Known returns a plan of any version, on offer or not: what is on offer says
// how it is called. Errors: Invalid.
func (s *Shelf) Known(serviceID, planID string) (catalog.Offering, catalog.Plan, error) {
	now := s.now.Load()
	if o, ok := now.known[planID]; ok && o.offering.ID == serviceID {
		return o.offering, o.plan, nil
	}
	return now.catalog.Plan(serviceID, planID)
}

// KnowsService says whether any version has an offering of that id.
func (s *Shelf) KnowsService(id string) bool {
	for _, o := range s.now.Load().known {
		if o.offering.ID == id {
			return true
		}
	}
	return false
}

// Prefixes are the deployment name prefixes of every version.
func (s *Shelf) Prefixes() (prefixes []string) {
	seen := map[string]bool{}
	for _, o := range s.now.Load().known {
		if prefix := o.offering.DeploymentNamePrefix; !seen[prefix] {
			seen[prefix] = true
			prefixes = append(prefixes, prefix)
		}
	}
	return prefixes
}
