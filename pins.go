package serviceforge

import (
	"maps"
	"slices"
)

// Pins are what of an infrastructure pool the deployment of an instance was
// first rendered with: a pool file that is edited later does not move it. The
// zero Pins pin nothing.
type Pins struct {
	AZs          []string
	Network      string
	VMTypes      map[string]string // size -> name in the cloud config
	DiskTypes    map[string]string // size -> name in the cloud config
	VMExtensions []string
	Stemcells    map[string]string // operating system -> version
}

// Zero says that nothing is pinned yet.
func (p Pins) Zero() bool { return p.Network == "" }

// Upgraded returns the pins of an instance that goes to those of its pool:
// availability zones and network never change, all else does.
func (p Pins) Upgraded(to Pins) Pins {
	if !p.Zero() {
		to.AZs, to.Network = p.AZs, p.Network
	}
	return to
}

// Equal says whether both pin the same.
func (p Pins) Equal(o Pins) bool {
	return p.Network == o.Network && slices.Equal(p.AZs, o.AZs) && slices.Equal(p.VMExtensions, o.VMExtensions) &&
		maps.Equal(p.VMTypes, o.VMTypes) && maps.Equal(p.DiskTypes, o.DiskTypes) && maps.Equal(p.Stemcells, o.Stemcells)
}
