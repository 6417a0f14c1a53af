// Package pools knows the infrastructure pools: BOSH directors, and what may be
// used on them. The *.yml files beside this code are pools too.
package pools

import (
	"strconv"

	"github.com/serviceforge/serviceforge"
)

// Pool is a director plus what may be used on it. It maps the words of service
// releases to the director's cloud config.
type Pool struct {
	Name           string
	Infrastructure string // picks a release's infrastructure stub; "default" where it has none of that name
	Director       Director
	Local          bool // its VMs are processes of this machine, which see its programs

	AZs          []string
	Network      string
	VMTypes      map[string]string // size -> name in the cloud config
	DiskTypes    map[string]string // size -> name in the cloud config
	VMExtensions []string
	Stemcells    map[string]string // operating system -> version

	Stub []byte // Spiff stub (YAML) merged into every manifest of this pool; empty = none
	Ops  []byte // operations (YAML, as in an ops file), applied last to every manifest of this pool; empty = none

	State       State
	Reachable   bool // the broker can open connections to the VMs
	MaxInFlight int  // tasks of ours at a time; default 2
	Weight      int  // its share of the instances; default 1, 0 = only when nobody else has room
	Capacity    int  // instances; 0 = no limit
	Tags        map[string]string
	// Slots are pieces of network, each for one instance; none = the director
	// gives addresses out.
	Slots []Slot
}

// Slot is a piece of a pool's network that one instance claims for its life,
// as the network files of 2014 were.
type Slot struct {
	Name string
	Stub []byte // Spiff stub (YAML), merged over the pool's
}

// Slot returns the slot of that name.
func (p *Pool) Slot(name string) (Slot, bool) {
	for _, s := range p.Slots {
		if s.Name == name {
			return s, true
		}
	}
	return Slot{}, false
}

// Limited says whether the pool takes a limited number of instances: then each
// of them claims one of its places.
func (p *Pool) Limited() bool { return len(p.Slots) > 0 || p.Capacity > 0 }

// Size is how many instances a limited pool takes: as many as it has slots,
// and no more than its capacity.
func (p *Pool) Size() int {
	switch {
	case len(p.Slots) == 0:
		return p.Capacity
	case p.Capacity == 0:
		return len(p.Slots)
	}
	return min(p.Capacity, len(p.Slots))
}

// Place names the n-th of Size places, for a claim: a slot's name, or a number.
func (p *Pool) Place(n int) string {
	if len(p.Slots) > 0 {
		return p.Slots[n].Name
	}
	return strconv.Itoa(n + 1)
}

// Director says how to reach a BOSH director: as a user, or as a client of its
// UAA. All fields are empty in pools whose director is given elsewhere (the
// embedded one of dev).
type Director struct {
	URL      string
	CA       string // PEM
	Username string
	Password serviceforge.Secret
	UAA      UAA
}

// UAA says how to get tokens for a director.
type UAA struct {
	URL    string // empty = the one that the director names
	CA     string // PEM; empty = the director's
	Client string // empty = the director takes a user
	Secret serviceforge.Secret
}

// State says what a pool takes.
type State string

// Valid says whether s is one of the states.
func (s State) Valid() bool { return s == Active || s == Cordoned || s == Draining }

// The states of a pool.
const (
	Active   State = "active"   // takes new instances
	Cordoned State = "cordoned" // keeps what it has, takes no more
	Draining State = "draining" // as cordoned, and what it has is to leave it
)
