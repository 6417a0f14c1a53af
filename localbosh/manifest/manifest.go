// Package manifest turns a cloud config, a v2 deployment manifest and what is already deployed into the instances
// a director should have: pure data, no I/O, the rules and words of bosh-director 283.
//
// The order in which a director uses it: ParseTree and ParseCloudConfig read text, Parse checks the manifest
// against cloud config and releases (before the task's stage "Preparing deployment"), Resolve places instances,
// gives addresses, resolves links and makes the documents for ERB (inside that stage).
package manifest

import (
	"net/netip"
	"time"
)

// Manifest is a checked v2 deployment manifest. Unknown keys were ignored, as the director does.
type Manifest struct {
	Name           string
	Releases       []*Release // as listed, versions resolved
	Stemcells      []StemcellRef
	Update         Update
	InstanceGroups []*InstanceGroup
	Variables      []Variable
	Features       Features
	Tags           map[string]string
	// Warnings are the director's deprecation texts for the event log.
	Warnings []string
}

// Group returns the instance group of that name, or nil.
func (m *Manifest) Group(name string) *InstanceGroup {
	for _, g := range m.InstanceGroups {
		if g.Name == name {
			return g
		}
	}
	return nil
}

// StemcellRef is one entry of `stemcells:`. Either OS or Name is set; Version may be "latest".
type StemcellRef struct {
	Alias, OS, Name, Version string
}

// Lifecycles of an instance group.
const (
	LifecycleService = "service"
	LifecycleErrand  = "errand"
)

// InstanceGroup is one entry of `instance_groups:`.
type InstanceGroup struct {
	Name      string
	Lifecycle string
	// Count is `instances:`.
	Count int
	// AZs is nil when the key is absent.
	AZs          []string
	VMType       *VMType // nil with vm_resources
	VMResources  map[string]any
	VMExtensions []*VMExtension
	Stemcell     StemcellRef
	// Disk is the one unnamed persistent disk, nil for none.
	Disk *Disk
	// Disks are the named ones of `persistent_disks:`.
	Disks        []Disk
	Networks     []GroupNetwork
	Jobs         []*Job
	Env          map[string]any
	MigratedFrom []MigratedFrom
	Update       Update
}

// Errand says whether the group exists only to run errands.
func (g *InstanceGroup) Errand() bool { return g.Lifecycle == LifecycleErrand }

// Disk is a persistent disk an instance asks for. Size is in MiB.
type Disk struct {
	Name            string // of a named disk
	Type            string // disk type, "" for `persistent_disk: SIZE`
	Size            int
	CloudProperties map[string]any
}

// GroupNetwork is one entry of a group's `networks:`.
type GroupNetwork struct {
	Name string
	// StaticIPs is nil when the key is absent.
	StaticIPs []netip.Addr
	// Default lists what the network is the default for: dns, gateway, addressable.
	Default []string
}

// MigratedFrom is one entry of `migrated_from:`.
type MigratedFrom struct{ Name, AZ string }

// Job is one entry of a group's `jobs:`.
type Job struct {
	Name    string
	Release *Release
	Spec    *JobSpec
	// Properties are the manifest's, undeclared ones included; ((variables)) are still in it.
	Properties map[string]any
	provides   map[string]any
	consumes   map[string]any
	custom     []ProvidedLink // custom_provider_definitions
}

// Update is an `update:` block, a group's merged over the deployment's.
type Update struct {
	Canaries    Count
	MaxInFlight Count
	CanaryWatch WatchTime
	UpdateWatch WatchTime
	Serial      bool
	// VMStrategy is delete-create (the default) or create-swap-delete.
	VMStrategy string
}

// Count is a number of instances or a percentage of them.
type Count struct {
	N       int
	Percent bool
}

// WatchTime is how long a director waits for an instance to run: not before Min, not after Max.
type WatchTime struct{ Min, Max time.Duration }

// Variable is one entry of `variables:`. Type is password, certificate, ssh, rsa, user, or what a config server knows.
type Variable struct {
	Name    string
	Type    string
	Options map[string]any
	// UpdateMode is no-overwrite, overwrite, converge, or "" for the default.
	UpdateMode string
}

// Features is the `features:` block.
type Features struct {
	UseDNSAddresses      bool
	UseShortDNSAddresses bool
	RandomizeAZPlacement bool
	ConvergeVariables    bool
}
