package pools

import (
	"maps"

	"github.com/serviceforge/serviceforge"
)

// Pins are what an instance that is rendered with the pool now keeps of it.
func (p Pool) Pins() serviceforge.Pins {
	return serviceforge.Pins{
		AZs: p.AZs, Network: p.Network, VMTypes: p.VMTypes, DiskTypes: p.DiskTypes,
		VMExtensions: p.VMExtensions, Stemcells: p.Stemcells,
	}
}

// Pinned returns the pool as an instance with the pins has it, whatever its
// file says now. A size or an operating system that the pins do not have is the
// file's.
func (p Pool) Pinned(pins serviceforge.Pins) Pool {
	if pins.Zero() {
		return p
	}
	p.AZs, p.Network, p.VMExtensions = pins.AZs, pins.Network, pins.VMExtensions
	p.VMTypes = over(p.VMTypes, pins.VMTypes)
	p.DiskTypes = over(p.DiskTypes, pins.DiskTypes)
	p.Stemcells = over(p.Stemcells, pins.Stemcells)
	return p
}

func over(file, pinned map[string]string) map[string]string {
	all := maps.Clone(file)
	if all == nil {
		return pinned
	}
	maps.Copy(all, pinned)
	return all
}
