package serviceforge

import (
	"encoding/json"
	"time"
)

// Binding is one set of credentials for one instance. Like an instance's, its
// current operation is inside, so that every transition is one compare-and-put.
type Binding struct {
	ID         string
	InstanceID string
	ServiceID  string
	PlanID     string
	Platform   string
	AppGUID    string
	Route      string // whose requests are to go through the service; "" = none
	Context    Secret // JSON object as the platform sent it, or empty
	Parameters Secret // JSON object, or empty
	// Predecessor is the binding that this one was rotated from (OSB "Rotating a
	// Service Binding"); "" = none.
	Predecessor string

	State BindingState
	// Operation is what makes the binding, or what ends it. It has no steps: its
	// one act is repeated until it is done.
	Operation   Operation
	User        string // the service's user made for this binding
	Password    Secret
	Credentials Secret // JSON object handed to the app; empty until ready
	Endpoints   []Endpoint
	// Delegated is what the platform does for the service, a JSON object of OSB:
	// syslog_drain_url, route_service_url, volume_mounts; empty = nothing.
	Delegated Secret
	// Stale says, in lists, that the instance would give other credentials now:
	// its addresses moved, or an update changed them. It is not stored.
	Stale bool

	CreatedAt   time.Time
	ExpiresAt   time.Time // the engine revokes it then; zero = never
	RenewBefore time.Time // told to the platform, which rotates before it; zero = not told

	Revision int64
	// LostKey is as an instance's, for Context, Parameters, Password, Credentials
	// and Delegated.
	LostKey string
	Unknown map[string]json.RawMessage
}

// Endpoint is a place where the service answers (OSB "Endpoint Object").
type Endpoint struct {
	Host     string   `json:"host"`
	Ports    []string `json:"ports"` // each a port, or a range as "9000-9010"
	Protocol string   `json:"protocol"`
}

// BindingState is where a binding stands.
type BindingState string

// The states of a binding. The wish is stored before a user is made.
const (
	BindingCreating BindingState = "creating"
	BindingReady    BindingState = "ready"
	BindingDeleting BindingState = "deleting"
	BindingFailed   BindingState = "failed" // its user is on the list of revocations
)

// Differs names the fields in which o asks for another binding (OSB "Binding":
// 200, else 409). A rotation asks for what its predecessor was made for.
func (b *Binding) Differs(o *Binding) (fields []string) {
	return differing(map[string]bool{
		"service_id": b.ServiceID == o.ServiceID, "plan_id": b.PlanID == o.PlanID, "app_guid": b.AppGUID == o.AppGUID,
		"route": b.Route == o.Route, "predecessor_binding_id": b.Predecessor == o.Predecessor,
		"parameters": SameJSON(b.Parameters.Reveal(), o.Parameters.Reveal()),
	})
}

// Expired says whether the binding's time is over.
func (b *Binding) Expired(now time.Time) bool {
	return !b.ExpiresAt.IsZero() && !b.ExpiresAt.After(now)
}

// Due tells when the engine has to look after the binding: ok is false where
// nothing is to be done.
func (b *Binding) Due() (at time.Time, ok bool) {
	if b.Operation.State == InProgress {
		return b.Operation.NotBefore, true
	}
	return b.ExpiresAt, b.State == BindingReady && !b.ExpiresAt.IsZero()
}

// Revocation is a user of a service that must not be there, but may be: the
// service did not answer when it was to be revoked, or the user's making was
// given up half way. The engine works the list off.
type Revocation struct {
	InstanceID string
	User       string
	Since      time.Time
	At         time.Time // when it is tried next
	Repeats    int       // attempts that did not get through
}
