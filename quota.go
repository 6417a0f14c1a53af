package serviceforge

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Scope is what a limit is set for.
type Scope string

// The scopes. Everything is in the one broker.
const (
	BrokerScope       Scope = "broker"
	PlatformScope     Scope = "platform" // by name of the platform credential
	ServiceScope      Scope = "service"
	PlanScope         Scope = "plan"
	OrganizationScope Scope = "organization"
	SpaceScope        Scope = "space"
)

var scopes = []Scope{BrokerScope, PlatformScope, ServiceScope, PlanScope, OrganizationScope, SpaceScope}

// InstancesResource is the resource of which every instance takes one. Others,
// e.g. "memory_mb", are named by the plans.
const InstancesResource = "instances"

// Costs is what an instance of a plan takes, by resource; of InstancesResource
// it takes one without a word. It is never changed, only replaced.
type Costs map[string]int64

// Check tells what is wrong with the costs. Errors: Invalid.
func (c Costs) Check() error {
	for resource, n := range c {
		if err := CheckResource(resource); err != nil {
			return err
		}
		if resource == InstancesResource || n < 0 {
			return Errorf(Invalid, "%s: %d is no cost; of instances every instance takes one", resource, n)
		}
	}
	return nil
}

// Quota names what is counted: a resource within one broker, platform, service,
// plan, organization or space.
type Quota struct {
	Scope    Scope
	ID       string // "" for the broker
	Resource string
}

// String returns e.g. "organization:5cfa57fc/instances".
func (q Quota) String() string {
	if q.ID == "" {
		return string(q.Scope) + "/" + q.Resource
	}
	return string(q.Scope) + ":" + q.ID + "/" + q.Resource
}

// Limit is how much may be taken of a quota. Without an ID it is for each
// platform, service, … that has no limit of its own.
type Limit struct {
	Quota
	Most int64
}

// String returns what ParseLimit takes.
func (l Limit) String() string { return l.Quota.String() + "=" + strconv.FormatInt(l.Most, 10) }

// UsedUp is the cause of an Exhausted error: what is asked for is more than is
// left of a limit.
type UsedUp struct{ Limit }

// Error tells operators which limit it is.
func (u UsedUp) Error() string { return "quota " + u.String() + " is used up" }

// Refusal tells people; name is theirs for what the limit is for.
func (u UsedUp) Refusal(name string) error {
	where := "the " + string(u.Scope) + " " + name
	if u.Scope == BrokerScope {
		where = "the broker"
	}
	return Wrap(u, Exhausted, "the limit of %d %s for %s is used up: delete a service instance, or ask the operator to raise it", u.Most, u.Resource, where)
}

var resourceName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)

// CheckResource tells whether name can name a resource. Errors: Invalid.
func CheckResource(name string) error {
	if !resourceName.MatchString(name) {
		return Errorf(Invalid, "%q cannot name a resource: take up to 32 of a-z, 0-9 and _, such as memory_mb", name)
	}
	return nil
}

// ParseLimit reads SCOPE[:ID]/RESOURCE=MOST, e.g. "broker/instances=500",
// "organization/instances=10" (each), "plan:etcd-dedicated/3-servers/memory_mb=4096".
// Errors: Invalid.
func ParseLimit(text string) (Limit, error) {
	quota, most, ok := cutLast(text, "=")
	place, resource, ok2 := cutLast(quota, "/")
	if !ok || !ok2 {
		return Limit{}, Errorf(Invalid, "%q is not SCOPE[:ID]/RESOURCE=LIMIT, such as organization/instances=10", text)
	}
	scope, id, named := strings.Cut(place, ":")
	l := Limit{Quota: Quota{Scope: Scope(scope), ID: id, Resource: resource}}
	if !slices.Contains(scopes, l.Scope) {
		return Limit{}, Errorf(Invalid, "%q: a limit is for broker, platform, service, plan, organization or space, not for %q", text, scope)
	}
	if named && (id == "" || l.Scope == BrokerScope) {
		return Limit{}, Errorf(Invalid, "%q: nothing but a platform, service, plan, organization or space has an id", text)
	}
	if err := CheckResource(resource); err != nil {
		return Limit{}, Wrap(err, Invalid, "%q: %s", text, err.Error())
	}
	var err error
	if l.Most, err = strconv.ParseInt(most, 10, 64); err != nil || l.Most < 0 {
		return Limit{}, Errorf(Invalid, "%q: %q is not a whole number from 0", text, most)
	}
	return l, nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// Holding is what an instance takes as an instance of a plan.
type Holding struct {
	PlanID string
	Costs  Costs // without InstancesResource
}

func (h Holding) each(do func(resource string, n int64)) {
	do(InstancesResource, 1)
	for resource, n := range h.Costs {
		do(resource, n)
	}
}

func (h Holding) equal(o Holding) bool { return h.PlanID == o.PlanID && maps.Equal(h.Costs, o.Costs) }

// Hold makes the instance take what one of the plan costs.
func (i *Instance) Hold(planID string, costs Costs) { i.Holds = []Holding{{planID, costs}} }

// Reserve makes an instance that is to be updated take, of each resource, the
// larger of what it has and what the plan costs, until Settle.
func (i *Instance) Reserve(planID string, costs Costs) {
	i.Settle(false)
	if h := (Holding{planID, costs}); len(i.Holds) == 0 || !h.equal(i.Holds[0]) {
		i.Holds = append(slices.Clip(i.Holds), h)
	}
}

// Settle ends what Reserve began: an instance whose update succeeded takes what
// was reserved, else what it had. Without a reservation nothing changes.
func (i *Instance) Settle(succeeded bool) {
	if len(i.Holds) < 2 {
		return
	}
	if succeeded {
		i.Holds = i.Holds[1:]
	} else {
		i.Holds = i.Holds[:1]
	}
}

// GiveBack makes the instance take nothing: nothing of it is left.
func (i *Instance) GiveBack() { i.Holds = nil }

// Account says who takes what.
type Account struct {
	Platform, ServiceID, OrganizationGUID, SpaceGUID string
	Holds                                            []Holding
}

// Account returns what the instance is to be counted as. A write of the record
// moves the counters from the account that is stored to it.
func (i *Instance) Account() Account {
	return Account{i.Platform, i.ServiceID, i.OrganizationGUID, i.SpaceGUID, i.Holds}
}

// Equal says whether both are counted alike.
func (a Account) Equal(b Account) bool {
	if len(a.Holds) == 0 && len(b.Holds) == 0 {
		return true
	}
	return a.Platform == b.Platform && a.ServiceID == b.ServiceID && a.OrganizationGUID == b.OrganizationGUID && a.SpaceGUID == b.SpaceGUID &&
		slices.EqualFunc(a.Holds, b.Holds, Holding.equal)
}

// Takes returns what is taken of every quota that there could be: of two
// holdings the larger, and from each plan what it gives.
func (a Account) Takes() map[Quota]int64 {
	takes := map[Quota]int64{}
	for _, h := range a.Holds {
		for _, in := range []struct {
			scope Scope
			id    string
		}{
			{BrokerScope, ""}, {PlatformScope, a.Platform}, {ServiceScope, a.ServiceID}, {PlanScope, h.PlanID},
			{OrganizationScope, a.OrganizationGUID}, {SpaceScope, a.SpaceGUID},
		} {
			if in.id == "" && in.scope != BrokerScope {
				continue // platforms without organizations
			}
			h.each(func(resource string, n int64) {
				q := Quota{in.scope, in.id, resource}
				takes[q] = max(takes[q], n)
			})
		}
	}
	return takes
}
