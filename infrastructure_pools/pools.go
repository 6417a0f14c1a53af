// Package pools knows the infrastructure pools: BOSH directors, and what may be
// used on them. The *.yml files beside this code are pools too.
package pools

import (
	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/catalog"
)

// Pool is a director plus what may be used on it. It maps the words of service
// releases to the director's cloud config.
type Pool struct {
	Name           string
	Infrastructure string // picks a release's infrastructure stub; "default" where it has none of that name
	Director       Director

	AZs          []string
	Network      string
	VMTypes      map[string]string // size -> name in the cloud config
	DiskTypes    map[string]string // size -> name in the cloud config
	VMExtensions []string
	Stemcells    map[string]string // operating system -> version

	Stub []byte // Spiff stub (YAML) merged into every manifest of this pool; empty = none

	State       State
	Reachable   bool // the broker can open connections to the VMs
	MaxInFlight int  // tasks of ours at a time; default 2
	Weight      int  // reserved for placement; default 1
	Capacity    int  // instances; 0 = no limit
	Tags        map[string]string
}

// Director says how to reach a BOSH director. All fields are empty in pools
// whose director is given elsewhere (the embedded one of dev).
type Director struct {
	URL      string
	CA       string // PEM
	Username string // user or UAA client
	Password serviceforge.Secret
}

// State says what a pool takes.
type State string

// The states of a pool.
const (
	Active   State = "active"   // takes new instances
	Cordoned State = "cordoned" // keeps what it has, takes no more
)

// Parse reads one pool file: a map `pool` and a Spiff stub `stub`. Unknown keys
// are refused. Errors: Invalid, naming the line.
func Parse(document []byte) (Pool, error) {
	return Pool{}, serviceforge.Errorf(serviceforge.Internal, "being written")
}

// Local returns the pool of dev mode, without a director.
func Local() (Pool, error) { return Parse(nil) }

// Set is an immutable set of pools.
type Set struct {
	pools []Pool
}

// NewSet makes a set; the order is the order of preference. Errors: Invalid
// when names repeat or nothing is given.
func NewSet(pools ...Pool) (*Set, error) {
	return nil, serviceforge.Errorf(serviceforge.Internal, "being written")
}

// All returns the pools in order of preference.
func (s *Set) All() []Pool { return s.pools }

// Pool returns the pool of that name. Errors: NotFound.
func (s *Set) Pool(name string) (Pool, error) {
	return Pool{}, serviceforge.Errorf(serviceforge.Internal, "being written")
}

// Place chooses the pool for a new instance of the plan: the first active one
// that the plan allows and that has what the plan needs. Errors: Exhausted,
// saying why no pool is fit.
func (s *Set) Place(plan catalog.Plan) (Pool, error) {
	return Pool{}, serviceforge.Errorf(serviceforge.Internal, "being written")
}
