// Package pools knows the infrastructure pools: BOSH directors, and what may be
// used on them. The *.yml files beside this code are pools too.
package pools

import "github.com/serviceforge/serviceforge"

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
