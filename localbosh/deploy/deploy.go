// Package deploy does what the director's tasks ask for: it makes deployments,
// releases and stemcells what they should be, and keeps them on disk.
package deploy

import (
	"crypto/rand"
	"fmt"
	"time"

	"github.com/serviceforge/serviceforge/localbosh/manifest"
)

// Deployment is a deployment as the director keeps it. Values handed out are
// copies.
type Deployment struct {
	Name string `json:"name"`
	// Manifest is the text of the last deploy that succeeded, as posted; nil if
	// none ever did.
	Manifest *string `json:"manifest"`
	// CloudConfigs and RuntimeConfigs are the configs of the last deploy.
	CloudConfigs   []int `json:"cloud_configs,omitempty"`
	RuntimeConfigs []int `json:"runtime_configs,omitempty"`
	// Releases and Stemcells are those of the last deploy, failed ones included.
	Releases  []NameVersion `json:"releases"`
	Stemcells []NameVersion `json:"stemcells"`
	// Instances are sorted by group and index.
	Instances []Instance `json:"instances"`
	// Variables are the absolute names the manifest uses.
	Variables []string `json:"variables,omitempty"`
	// Created numbers deployments in the order of their first deploy.
	Created int `json:"created"`
}

// NameVersion is a release or stemcell by name and version.
type NameVersion struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// Job states of an instance: what an operator wants it to be.
const (
	Started  = "started"
	Stopped  = "stopped"
	Detached = "detached"
)

// Instance is an instance with the VM and disk it has.
type Instance struct {
	manifest.Instance
	// State is Started, Stopped or Detached.
	State string `json:"state"`
	// VMType names the vm type of the last deploy; empty if it never got a VM.
	VMType          string         `json:"vm_type,omitempty"`
	CloudProperties map[string]any `json:"cloud_properties,omitempty"`
	Errand          bool           `json:"errand,omitempty"`
	VM              *VM            `json:"vm,omitempty"`
	Disk            *Disk          `json:"disk,omitempty"`
	// Dirty says that an update of the instance began and did not succeed.
	Dirty bool `json:"dirty,omitempty"`
	// Jobs are the names of the jobs the instance was brought to.
	Jobs []string `json:"jobs,omitempty"`
	// Rendered is the digest of the job files the instance was brought to.
	Rendered string `json:"rendered,omitempty"`
}

// VM is a VM of an instance. The row is stored before the VM is made.
type VM struct {
	CID      string      `json:"cid"`
	AgentID  string      `json:"agent_id"`
	Created  time.Time   `json:"created"`
	Stemcell NameVersion `json:"stemcell"`
	// Made says that the VM was started: one that is not is removed at the next
	// start of the director.
	Made bool `json:"made,omitempty"`
}

// Disk is a persistent disk; Size is in MiB.
type Disk struct {
	CID  string `json:"cid"`
	Size int    `json:"size"`
}

// OrphanedDisk is a disk that outlived its instance.
type OrphanedDisk struct {
	Disk
	AZ         string    `json:"az"`
	Deployment string    `json:"deployment"`
	Instance   string    `json:"instance"` // group/id
	Orphaned   time.Time `json:"orphaned"`
}

// newUUID returns a random (version 4) UUID.
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
