package admin

import (
	"slices"

	"github.com/serviceforge/serviceforge"
)

// Route is one endpoint and the weakest role that may call it.
type Route struct {
	Method  string
	Pattern string // below Prefix, as chi's patterns
	Role    serviceforge.Role

	serve func(*API, *request) (any, error)
}

const (
	viewer   = serviceforge.Viewer
	operates = serviceforge.Operator
	admin    = serviceforge.Admin
)

// routes are all endpoints: reading is for viewers, what changes instances or
// shows their credentials for operators, the keys of the house for admins. What
// a single request may need beyond that, its function checks (request.needs).
var routes = []Route{
	{"GET", "/catalog", viewer, (*API).getCatalog},
	{"GET", "/engine", viewer, (*API).getEngine},
	{"PUT", "/engine", operates, (*API).putEngine},
	{"GET", "/pools", viewer, (*API).listPools},
	{"PUT", "/pools/{pool}", operates, (*API).putPool},
	{"GET", "/pools/{pool}/check", viewer, (*API).checkPool},
	{"GET", "/releases", viewer, (*API).listReleases},
	{"POST", "/releases", admin, (*API).installRelease},
	{"DELETE", "/releases/{release}", admin, (*API).uninstallRelease},
	{"POST", "/pools/{pool}/releases", admin, (*API).syncPool},
	{"GET", "/sweeps", viewer, (*API).listSweeps},
	{"GET", "/quota", viewer, (*API).getQuotas},
	{"POST", "/quota/recount", operates, (*API).recount},
	{"GET", "/orphans", viewer, (*API).listOrphans},
	{"DELETE", "/orphans/{deployment}", operates, (*API).deleteOrphan},
	{"GET", "/instances", viewer, (*API).listInstances},
	{"PUT", "/instances/{instance}", operates, (*API).createInstance},
	{"GET", "/instances/{instance}", viewer, (*API).getInstance},
	{"PATCH", "/instances/{instance}", operates, (*API).updateInstance},
	{"DELETE", "/instances/{instance}", operates, (*API).deleteInstance},
	{"GET", "/instances/{instance}/operation", viewer, (*API).getOperation},
	{"POST", "/instances/{instance}/repair", operates, (*API).repairInstance},
	{"GET", "/instances/{instance}/explanation", viewer, (*API).getExplanation},
	{"GET", "/instances/{instance}/history", viewer, (*API).getHistory},
	{"GET", "/instances/{instance}/bindings", viewer, (*API).listBindings},
	{"PUT", "/instances/{instance}/bindings/{binding}", operates, (*API).createBinding},
	{"GET", "/instances/{instance}/bindings/{binding}", operates, (*API).getBinding}, // it shows credentials
	{"DELETE", "/instances/{instance}/bindings/{binding}", operates, (*API).deleteBinding},
	{"POST", "/instances/{instance}/reset", admin, (*API).resetInstance},
	{"GET", "/keys", admin, (*API).listKeys},
	{"POST", "/keys/rotation", admin, (*API).rotateKeys},
	{"GET", "/tokens", admin, (*API).listTokens},
	{"POST", "/tokens", admin, (*API).createToken},
	{"DELETE", "/tokens/{token}", admin, (*API).revokeToken},
}

// Routes lists every endpoint of the API.
func Routes() []Route { return slices.Clone(routes) }

// needs refuses an operator whose role does not include least. Errors: Forbidden.
func (q *request) needs(least serviceforge.Role) error {
	if q.role.Includes(least) {
		return nil
	}
	return serviceforge.Errorf(serviceforge.Forbidden, "%s has the role %s; this takes the role %s", q.caller.Actor, q.role, least)
}
