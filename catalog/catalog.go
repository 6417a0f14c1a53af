// Package catalog is plain data: the offerings and plans that can be ordered,
// as OSB words them, and their look-up.
package catalog

import (
	"encoding/json"
	"time"
)

// Offering is one service offering (OSB "Service Offering Object").
type Offering struct {
	ID, Name, Description string
	Tags                  []string
	Metadata              map[string]any
	Bindable              bool
	PlanUpdateable        bool
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
	// MaximumPollingDuration is told to the platform; zero = not told.
	MaximumPollingDuration time.Duration
	// Deadline is how long the engine tries to fulfil one operation; zero = its own default.
	Deadline time.Duration
	// Pools says which infrastructure pools the plan may go to.
	Pools PoolRule
	// Needs is what a pool must have for this plan.
	Needs Needs
	// Schemas tell the platform which parameters are allowed.
	Schemas Schemas
}

// Needs lists the words of a service release that a pool must be able to map
// to its cloud config.
type Needs struct {
	VMTypes, DiskTypes []string // sizes, e.g. "small"
	Stemcells          []string // operating systems, e.g. "ubuntu-jammy"
}

// Schemas holds JSON Schema draft-04 documents (OSB "Schemas Object"); nil =
// not told.
type Schemas struct {
	Create, Bind json.RawMessage
}

// Catalog is an immutable set of offerings.
type Catalog struct {
	offerings []Offering
	plans     map[string]place // by plan id
	byID      map[string]int   // offering id -> index
}

type place struct{ offering, plan int }
