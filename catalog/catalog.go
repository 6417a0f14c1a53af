// Package catalog is plain data: the offerings and plans that can be ordered,
// as OSB words them, and their look-up.
package catalog

import (
	"encoding/json"
	"time"

	"github.com/serviceforge/serviceforge"
)

// Offering is one service offering (OSB "Service Offering Object").
type Offering struct {
	ID, Name, Description string
	Tags                  []string
	Metadata              map[string]any
	Requires              []string // permissions that a platform has to give
	Bindable              bool
	PlanUpdateable        bool
	AllowContextUpdates   bool
	InstancesRetrievable  bool
	BindingsRetrievable   bool
	// DeploymentNamePrefix begins the names of its BOSH deployments.
	DeploymentNamePrefix string
	// Release is the service release that makes it, as "name/version".
	Release string
	Plans   []Plan
}

// Plan is one plan of an offering (OSB "Service Plan Object").
type Plan struct {
	ID, Name, Description string
	Free                  *bool // nil = OSB's default, true
	Metadata              map[string]any
	Bindable              *bool // nil = the offering's
	PlanUpdateable        *bool // nil = the offering's
	// UpdateTo holds the ids of the plans that its instances may change to; nil =
	// all of the offering.
	UpdateTo []string
	// MaintenanceInfo changes when instances are to be upgraded; zero = not told.
	MaintenanceInfo MaintenanceInfo
	// MaximumPollingDuration is told to the platform; zero = not told.
	MaximumPollingDuration time.Duration
	// Deadline is how long the engine tries to fulfil one operation; zero = its own default.
	Deadline time.Duration
	// Pools says which infrastructure pools the plan may go to.
	Pools PoolRule
	// Costs is what an instance takes of named resources, for quotas.
	Costs serviceforge.Costs
	// Limits bound the instances of the plan, as the service release has it.
	Limits []serviceforge.Limit
	// Needs is what a pool must have for this plan.
	Needs    Needs
	Bindings BindingRule
	// Schemas tell the platform which parameters are allowed.
	Schemas Schemas
}

// MaintenanceInfo is OSB's "Maintenance Info Object".
type MaintenanceInfo struct {
	Version     string // semantic version 2.0
	Description string // what an upgrade means for the user
}

// BindingRule says what bindings of a plan need and how long they last.
type BindingRule struct {
	Rotatable   bool          // a platform may rotate them (OSB binding_rotatable)
	RequiresApp bool          // no binding without an app (OSB error RequiresApp)
	Valid       time.Duration // the engine revokes them after it; zero = they last
	Renew       time.Duration // platforms are told to rotate them before it is over; zero = not told
}

// Needs lists the words of a service release that a pool must be able to map
// to its cloud config.
type Needs struct {
	VMTypes, DiskTypes []string // sizes, e.g. "small"
	Stemcells          []string // operating systems, e.g. "ubuntu-jammy"
	// Compiled are the stemcells that BOSH releases were compiled for, by operating
	// system: no other version will do.
	Compiled map[string]string
	Director DirectorNeeds
	// Reach: the broker has to open connections to the VMs.
	Reach bool
	// Programs are files of the VMs that BOSH packages take their server from,
	// with the Debian package that brings each: only pools whose VMs are made of
	// the broker's machine can have them.
	Programs map[string]string
}

// DirectorNeeds are what a manifest takes for granted of a director.
type DirectorNeeds struct {
	ConfigServer  bool // it replaces ((references)) and makes variables
	LocalDNS      bool // its VMs have names
	ManualNetwork bool // addresses stay
}

// Schemas holds JSON Schema draft-04 documents (OSB "Schemas Object"); nil =
// not told.
type Schemas struct {
	Create, Update, Bind json.RawMessage
}

// Catalog is an immutable set of offerings.
type Catalog struct {
	offerings []Offering
	plans     map[string]place // by plan id
	byID      map[string]int   // offering id -> index
}

type place struct{ offering, plan int }

// pollingPart is how much of a platform's maximum polling duration an operation
// may take, whatever it waits for: the rest is for telling how it ended.
const pollingPart = 0.9

// Patience is how long an operation may take before its platform would give up;
// zero = that is not known.
func (p *Plan) Patience() time.Duration {
	return time.Duration(pollingPart * float64(p.MaximumPollingDuration))
}
