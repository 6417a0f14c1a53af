package catalog

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/serviceforge/serviceforge"
)

// maxSchema is the largest schema a platform must take (OSB "Input Parameters
// Schema Object").
const maxSchema = 64 << 10

// New checks the offerings and returns a catalog of them. It keeps to OSB
// "Catalog": ids present and unique over everything, names unique and without
// spaces, descriptions present, at least one plan each. The catalog keeps the
// slices it was given. Errors: Invalid.
func New(offerings []Offering) (*Catalog, error) {
	c := &Catalog{
		offerings: offerings,
		plans:     make(map[string]place),
		byID:      make(map[string]int),
	}
	ids, names := make(map[string]bool), make(map[string]bool)
	for i, o := range offerings {
		what := "service " + quoted(o.Name, o.ID)
		if err := checkWords(what, o.ID, o.Name, o.Description, ids, names); err != nil {
			return nil, err
		}
		if len(o.Plans) == 0 {
			return nil, invalid("%s has no plans", what)
		}
		if o.DeploymentNamePrefix == "" {
			return nil, invalid("%s has no deployment name prefix", what)
		}
		c.byID[o.ID] = i
		planNames := make(map[string]bool)
		for j, p := range o.Plans {
			what := what + ": plan " + quoted(p.Name, p.ID)
			if err := checkWords(what, p.ID, p.Name, p.Description, ids, planNames); err != nil {
				return nil, err
			}
			if err := checkPlan(what, p); err != nil {
				return nil, err
			}
			c.plans[p.ID] = place{offering: i, plan: j}
		}
	}
	return c, nil
}

func checkWords(what, id, name, description string, ids, names map[string]bool) error {
	switch {
	case id == "":
		return invalid("%s has no id", what)
	case name == "":
		return invalid("%s has no name", what)
	case strings.ContainsAny(name, " \t\r\n"):
		return invalid("%s: the name must not hold spaces", what)
	case strings.TrimSpace(description) == "":
		return invalid("%s has no description", what)
	case ids[id]:
		return invalid("%s: the id %s is used twice", what, id)
	case names[name]:
		return invalid("%s: the name is used twice", what)
	}
	ids[id], names[name] = true, true
	return nil
}

// semver is the form of semantic versions 2.0 (semver.org).
var semver = regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[-0-9A-Za-z]+(\.[-0-9A-Za-z]+)*)?(\+[-0-9A-Za-z]+(\.[-0-9A-Za-z]+)*)?$`)

// IsSemantic says whether a text is a semantic version 2.0.
func IsSemantic(version string) bool { return semver.MatchString(version) }

func checkPlan(what string, p Plan) error {
	if p.MaximumPollingDuration < 0 || p.Deadline < 0 {
		return invalid("%s: durations must not be negative", what)
	}
	switch b := p.Bindings; {
	case b.Valid < 0 || b.Renew < 0:
		return invalid("%s: bindings: durations must not be negative", what)
	case b.Renew > 0 && b.Renew >= b.Valid:
		return invalid("%s: bindings are to be renewed before they end: renew must be shorter than valid", what)
	case b.Valid > 0 && !b.Rotatable:
		return invalid("%s: bindings that end have to be rotatable", what)
	}
	switch p.Pools.Choose {
	case "", LeastUsed, Spread, InOrder:
	default:
		return invalid("%s: pools are chosen by %s, %s or %s", what, LeastUsed, Spread, InOrder)
	}
	if m := p.MaintenanceInfo; m.Version == "" && m.Description != "" || m.Version != "" && !semver.MatchString(m.Version) {
		return invalid("%s: maintenance_info.version must be a semantic version, e.g. 1.0.0", what)
	}
	for name, schema := range map[string]json.RawMessage{"create": p.Schemas.Create, "update": p.Schemas.Update, "bind": p.Schemas.Bind} {
		if schema == nil {
			continue
		}
		if len(schema) > maxSchema {
			return invalid("%s: the %s schema is larger than 64 KiB", what, name)
		}
		var doc map[string]any
		if json.Unmarshal(schema, &doc) != nil {
			return invalid("%s: the %s schema is not a JSON object", what, name)
		}
		if s, _ := doc["$schema"].(string); s == "" {
			return invalid("%s: the %s schema has no $schema", what, name)
		}
	}
	return nil
}

// Offerings returns all offerings in the order given. The caller must not
// change them.
func (c *Catalog) Offerings() []Offering { return c.offerings }

// Plan looks up a plan and its offering. Errors: Invalid, saying which: unknown
// service, unknown plan, or a plan of another service.
func (c *Catalog) Plan(serviceID, planID string) (Offering, Plan, error) {
	i, ok := c.byID[serviceID]
	if !ok {
		return Offering{}, Plan{}, invalid("unknown service %q", serviceID)
	}
	at, ok := c.plans[planID]
	if !ok {
		return Offering{}, Plan{}, invalid("unknown plan %q of service %s", planID, c.offerings[i].Name)
	}
	o := c.offerings[at.offering]
	if at.offering != i {
		return Offering{}, Plan{}, invalid("plan %q belongs to service %s, not to %s", planID, o.Name, c.offerings[i].Name)
	}
	return o, o.Plans[at.plan], nil
}

// Bindable says whether instances of the plan can be bound.
func Bindable(o Offering, p Plan) bool {
	if p.Bindable != nil {
		return *p.Bindable
	}
	return o.Bindable
}

// Updateable says whether instances of the plan can change to other plans at all.
func Updateable(o Offering, p Plan) bool {
	if p.PlanUpdateable != nil {
		return *p.PlanUpdateable
	}
	return o.PlanUpdateable
}

// MayBecome says whether instances of the plan may change to another plan of
// the offering.
func (p *Plan) MayBecome(id string) bool {
	return p.ID == id || p.UpdateTo == nil || slices.Contains(p.UpdateTo, id)
}

func quoted(name, id string) string {
	if name != "" {
		return `"` + name + `"`
	}
	return `with id "` + id + `"`
}

func invalid(format string, args ...any) error {
	return serviceforge.Errorf(serviceforge.Invalid, format, args...)
}
