package serviceforge

import "slices"

// Role says what an operator may do. Each role may do what those before it may.
type Role string

// The roles, weakest first.
const (
	Viewer   Role = "viewer"   // looks, at everything but credentials
	Operator Role = "operator" // changes instances, bindings and pools
	Admin    Role = "admin"    // hands out tokens and keys, and answers for what is not ours
)

// roles are ordered: an index above is a stronger role.
var roles = []Role{Viewer, Operator, Admin}

// ParseRole reads a role's name. Errors: Invalid.
func ParseRole(name string) (Role, error) {
	if !slices.Contains(roles, Role(name)) {
		return "", Errorf(Invalid, "%q is no role: take viewer, operator or admin", name)
	}
	return Role(name), nil
}

// Includes says whether r may do what least may. A role that does not exist may
// do nothing.
func (r Role) Includes(least Role) bool {
	have, need := slices.Index(roles, r), slices.Index(roles, least)
	return need >= 0 && have >= need
}
