package manifest

import "net/netip"

// Instance is one instance as the director keeps it from one deployment to the next.
type Instance struct {
	Group     string            `json:"group"`
	ID        string            `json:"id"` // UUID
	Index     int               `json:"index"`
	AZ        string            `json:"az,omitempty"`
	Bootstrap bool              `json:"bootstrap,omitempty"`
	Ignore    bool              `json:"ignore,omitempty"`
	Networks  []InstanceNetwork `json:"networks,omitempty"`
	// HasDisk says that a persistent disk exists: such an instance stays in its availability zone.
	HasDisk bool `json:"has_disk,omitempty"`
	// Digest is what the instance was last brought to; the zero Digest if it never was.
	Digest Digest `json:"digest"`
}

// Name is group/id, as the event log and errors write it.
func (i Instance) Name() string { return i.Group + "/" + i.ID }

// Label is "group/id (index)".
func (i Instance) Label() string { return instanceLabel(i) }

// IPs are the instance's addresses, in the order of its networks.
func (i Instance) IPs() []string {
	var ips []string
	for _, n := range i.Networks {
		if n.IP.IsValid() {
			ips = append(ips, n.IP.String())
		}
	}
	return ips
}

// InstanceNetwork is an instance's place on a network.
type InstanceNetwork struct {
	Name   string     `json:"name"`
	Type   string     `json:"type"`
	IP     netip.Addr `json:"ip"`
	Static bool       `json:"static,omitempty"`
}

// TakenIP is an address that something else holds: an instance of another deployment, or an orphaned one.
type TakenIP struct {
	IP         netip.Addr
	Network    string
	Deployment string
	Instance   string // group/id
}

// Lookup fetches the value of a variable by its absolute name ("/Director/Deployment/name"); a value is a string
// or a map. found is false when the config server does not have it.
type Lookup func(name string) (value any, found bool, err error)

// Request is what Resolve decides from.
type Request struct {
	Manifest *Manifest
	Cloud    *CloudConfig
	Catalog  Catalog
	// Previous are the deployment's instances, ignored and obsolete ones included.
	Previous []Instance
	// Taken are the addresses that are not this deployment's.
	Taken []TakenIP
	// Domain is the DNS domain, "bosh" if empty.
	Domain string
	// DynamicRange is where instances on dynamic networks get addresses from.
	DynamicRange netip.Prefix
	// Errands are the errand groups about to run: only then do their instances get addresses. They keep them
	// until the caller takes Networks from the stored instance, as it removes the VM.
	Errands []string
	// NewID makes the UUID of a new instance.
	NewID func() string
	// Random returns a number in [0,n); it is used only with features.randomize_az_placement, and nil means 0.
	Random func(n int) int
}

// Plan is what a deployment should become.
type Plan struct {
	Deployment string
	Tags       map[string]string
	// Groups are in the manifest's order.
	Groups []*PlannedGroup
	// Obsolete are the instances to delete.
	Obsolete []Instance

	domain   string
	features Features
}

// Bind fetches the ((variables)) in job properties, link properties and env, and fills in the jobs' Documents and
// the instances' Digests. lookup is nil without a config server; director is the first part of relative
// names. It belongs to the task's stage "Rendering templates"; its error holds all that is missing, in the
// director's words (code 100).
func (p *Plan) Bind(director string, lookup Lookup) error { return p.bind(director, lookup) }

// PlannedGroup is an instance group with its instances, sorted by index.
type PlannedGroup struct {
	*InstanceGroup
	Stemcell  Stemcell
	Instances []*PlannedInstance
	// Packages are what the group's jobs need, dependencies included, each after its dependencies.
	Packages []PackageUse

	cloud *CloudConfig
}

// PackageUse is a package of a release that some job needs.
type PackageUse struct {
	Release *Release
	Package *Package
}

// PlannedInstance is a desired instance.
type PlannedInstance struct {
	// Instance is what the director stores, its Digest the desired one.
	Instance
	// Previous is the instance as it is, nil for a new one.
	Previous *Instance
	Jobs     []*PlannedJob
}

// Change is what has to be done to the instance, as far as this package can see: rendered templates may still
// turn Unchanged into Update.
func (p *PlannedInstance) Change() Change {
	if p.Previous == nil {
		return Create
	}
	return p.Previous.Digest.Change(p.Digest)
}

// PlannedJob is a job on one instance.
type PlannedJob struct {
	*Job
	// Links are the resolved links by name, as the manifest has their properties.
	Links map[string]*Link
	// Document is what ERB sees as spec: deployment, name, job, index, id, az, bootstrap, address, ip, networks,
	// properties (declared ones only, defaults filled in), links, release, …. Bind makes it.
	Document map[string]any
}

// Resolve decides the desired instances. The errors are the director's; when addresses run out the plan is
// returned beside the error, with the instances that had got theirs: a real director keeps those reserved until
// the deployment is deleted.
func Resolve(r Request) (*Plan, error) { return resolve(r) }

// Change is what an instance needs.
type Change int

// From nothing to all: Recreate replaces the VM, Update stops jobs, applies the new state and starts them.
const (
	Unchanged Change = iota
	ApplyUpdate
	Recreate
	Create
)
