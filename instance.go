// Package serviceforge is the domain of an on-demand service broker: service
// instances, their operations and bindings, and the one error type. It does no
// I/O and imports the standard library only.
package serviceforge

import (
	"encoding/json"
	"slices"
	"time"
)

// State is where an instance stands, in the words of the 2014 ServiceForge,
// which scripts compare.
type State string

// The states of an instance.
const (
	Initialized      State = "initialized"       // accepted; no director was asked yet
	Deploying        State = "deploying"         // a director works on it
	Running          State = "running"           // it serves
	FailedCreation   State = "failed_creation"   // it never reached a director
	FailedDeployment State = "failed_deployment" // the director gave up on it
	Destroying       State = "destroying"        // it is being deleted
	Destroyed        State = "destroyed"         // it is gone; only a tombstone remains
)

// Instance is one service instance: one BOSH deployment. Its current operation
// is inside, so that every transition is one compare-and-put.
type Instance struct {
	ID        string
	ServiceID string
	PlanID    string
	Platform  string // name of the platform credential that made it; "cc" in dev

	OrganizationGUID string
	SpaceGUID        string
	Context          Secret // JSON object as the platform sent it, or empty
	Parameters       Secret // JSON object as the platform sent it, or empty

	Deployment     string // BOSH deployment name; fixed at creation
	Pool           string // infrastructure pool; "" until placed, then fixed
	Slot           string // the place in the pool that it claims; "" = the pool has no limit
	Release        string // service release "name/version" it is rendered with
	Infrastructure string // the pool's infrastructure, e.g. "default"
	Pins           Pins   // of the pool, since the first render
	// Versions pins BOSH releases, by name; those not in it have the version
	// that the service release names.
	Versions map[string]string
	// Maintenance is the version of the plan's maintenance_info that it was made
	// or upgraded with; "" = the plan had none.
	Maintenance string
	// Unfinished is the plan of an update that failed after a director was asked:
	// the deployment may be anywhere between what the record says and that; "" =
	// it is what the record says.
	Unfinished string

	State     State
	Operation Operation
	// Operations holds the ids of all operations so far, oldest first: a
	// deployment without a manifest is ours if a task carries one of them.
	Operations []string

	Secrets Secret              // JSON object: what the broker made for it (passwords, certificates)
	Access  Secret              // JSON: how to make credentials and users; known once deployed
	Facts   map[string][]string // instance group -> addresses, lowest index first

	// Holds is what it takes of the quotas: one holding, during an update the
	// present and the future one, and none once nothing of it is left. See Hold.
	Holds []Holding

	CreatedAt time.Time
	UpdatedAt time.Time

	// Revision is the store's version of this record; 0 = not stored yet.
	Revision int64
	// Stored is where the instance stood when the store read or wrote it last:
	// a write that differs from it is told in the history.
	Stored Standing
	// Claimed is the claim that the store keeps for it; a write moves it to Claim().
	Claimed Claim
	// Counted is what the store's counters count it as; a write moves them to Account().
	Counted Account
	// LostKey is the id of the key that closed Context, Parameters, Secrets and
	// Access, which are empty then, if this replica has not got it; "" = it has.
	LostKey string
	// Unknown holds fields written by a newer version; they are kept.
	Unknown map[string]json.RawMessage
}

// Busy says that an operation is running.
func (i *Instance) Busy() bool { return i.Operation.State == InProgress }

// CheckIDs compares the ids that a request repeats with those of the instance;
// empty ones are not compared. Errors: Invalid.
func (i *Instance) CheckIDs(serviceID, planID string) error {
	if serviceID != "" && serviceID != i.ServiceID {
		return Errorf(Invalid, "service_id %q is not that of service instance %q", serviceID, i.ID)
	}
	if planID != "" && planID != i.PlanID {
		return Errorf(Invalid, "plan_id %q is not that of service instance %q", planID, i.ID)
	}
	return nil
}

// CheckKey refuses what needs the secrets of an instance whose key is not here.
// Errors: Unavailable.
func (i *Instance) CheckKey() error {
	if i.LostKey == "" {
		return nil
	}
	return Errorf(Unavailable,
		"the secrets of service instance %q were sealed with key %s, which this broker has not got: give it the key file, or, if it is lost, "+
			"make new secrets with `serviceforge keys reset-instance %s`", i.ID, i.LostKey, i.ID)
}

// Differs names the fields in which o asks for another thing than i was made
// for (OSB "Provisioning": an identical request gets 200 or 202, any other 409).
func (i *Instance) Differs(o *Instance) (fields []string) {
	return differing(map[string]bool{
		"service_id": i.ServiceID == o.ServiceID, "plan_id": i.PlanID == o.PlanID,
		"organization_guid": i.OrganizationGUID == o.OrganizationGUID, "space_guid": i.SpaceGUID == o.SpaceGUID,
		"parameters": SameJSON(i.Parameters.Reveal(), o.Parameters.Reveal()),
	})
}

// differing lists, in order, what is not the same.
func differing(same map[string]bool) (fields []string) {
	for field, is := range same {
		if !is {
			fields = append(fields, field)
		}
	}
	slices.Sort(fields)
	return fields
}
