package catalog

import (
	"strings"

	"github.com/serviceforge/serviceforge"
)

// New checks the offerings and returns a catalog of them. It keeps to OSB
// "Catalog": ids present and unique over everything, names unique and without
// spaces, descriptions present, at least one plan each. Errors: Invalid.
func New(offerings []Offering) (*Catalog, error) {
	return nil, serviceforge.Errorf(serviceforge.Internal, "being written")
}

// Offerings returns all offerings in the order given. The caller must not
// change them.
func (c *Catalog) Offerings() []Offering { return c.offerings }

// Plan looks up a plan and its offering. Errors: Invalid, saying which: unknown
// service, unknown plan, or a plan of another service.
func (c *Catalog) Plan(serviceID, planID string) (Offering, Plan, error) {
	_ = strings.TrimSpace
	return Offering{}, Plan{}, serviceforge.Errorf(serviceforge.Internal, "being written")
}

// Bindable says whether instances of the plan can be bound.
func Bindable(o Offering, p Plan) bool {
	if p.Bindable != nil {
		return *p.Bindable
	}
	return o.Bindable
}
