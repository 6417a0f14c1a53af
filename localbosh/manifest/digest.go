package manifest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// Digest is the normal form of a desired instance, in parts.
type Digest struct {
	// VM is over stemcell, vm_type, extensions, env and networks with their addresses: a change recreates.
	VM string `json:"vm,omitempty"`
	// Disk is over the persistent disks: a change updates.
	Disk string `json:"disk,omitempty"`
	// Jobs is over jobs and packages by fingerprint: a change updates.
	Jobs string `json:"jobs,omitempty"`
	// Input is over everything the templates may see. Equal inputs render equally.
	Input string `json:"input,omitempty"`
	// Rendered is for the director to set: over the rendered templates. Like the real one it updates an instance
	// only when these differ; while either side is empty, Input is compared instead.
	Rendered string `json:"rendered,omitempty"`
	// Tags is over the deployment's tags: a change updates, as on the real director.
	Tags string `json:"tags,omitempty"`
}

// Change says what has to be done to an instance with digest d to give it digest to.
func (d Digest) Change(to Digest) Change {
	rendered := d.Rendered != to.Rendered
	if d.Rendered == "" || to.Rendered == "" {
		rendered = d.Input != to.Input
	}
	switch {
	case d.VM != to.VM:
		return Recreate
	case rendered || d.Disk != to.Disk || d.Jobs != to.Jobs || d.Tags != to.Tags:
		return ApplyUpdate
	}
	return Unchanged
}

// sum is a hex SHA-256 over the JSON form of v, whose maps are written in order of their keys.
func sum(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		b = fmt.Appendf(nil, "%v", v) // a float that JSON does not have; maps are printed in order too
	}
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

func (p *Plan) digest(g *PlannedGroup, i *PlannedInstance, env any, networks map[string]any) Digest {
	var vmType, extensions any
	if g.VMType != nil {
		vmType = []any{g.VMType.Name, g.VMType.CloudProperties}
	}
	var xs []any
	for _, x := range g.VMExtensions {
		xs = append(xs, []any{x.Name, x.CloudProperties})
	}
	extensions = xs
	var jobs, packages, input []any
	for _, j := range i.Jobs {
		jobs = append(jobs, []any{j.Name, j.Release.Name, j.Spec.Fingerprint})
		input = append(input, []any{j.Spec.Fingerprint, j.Document})
	}
	for _, u := range g.Packages {
		packages = append(packages, []any{u.Package.Name, u.Package.Fingerprint})
	}
	disks := g.Disks
	if g.Disk != nil {
		disks = append([]Disk{*g.Disk}, disks...)
	}
	return Digest{
		VM:    sum([]any{g.Stemcell.Name, g.Stemcell.Version, vmType, g.VMResources, extensions, env, networks}),
		Disk:  sum(disks),
		Jobs:  sum([]any{jobs, packages}),
		Input: sum(input),
		Tags:  sum(p.Tags),
	}
}
