package readiness

import (
	"fmt"
	"strings"

	"github.com/serviceforge/serviceforge/orchestrator/director"
)

// checkScopes says whether our token may do what the engine does, and no more
// than that: the authority over one team's deployments is enough (BOSH,
// "Director users and permissions"). A password has no scopes: nothing is found.
func checkScopes(d director.Info) []Finding {
	const what = "scopes"
	if !d.UAA {
		return nil
	}
	ofDirector := "bosh." + d.UUID + "."
	var all, team, read string
	for _, scope := range d.Scopes {
		switch {
		case scope == "bosh.admin" || scope == ofDirector+"admin":
			all = scope
		case strings.HasPrefix(scope, "bosh.teams.") && strings.HasSuffix(scope, ".admin"):
			team = scope
		case scope == "bosh.read" || scope == ofDirector+"read":
			read = scope
		}
	}
	const enough = "give it the authority bosh.teams.NAME.admin"
	switch {
	case all != "":
		return []Finding{{What: what, Good: true, Warning: true,
			Says: fmt.Sprintf("%s may do anything on the director (%s): %s instead", d.User, all, enough)}}
	case team != "":
		return []Finding{{What: what, Good: true, Says: d.User + " has " + team + ", which is enough"}}
	case read != "":
		return []Finding{{What: what, Says: fmt.Sprintf("%s may only read (%s): %s", d.User, read, enough)}}
	}
	return []Finding{{What: what, Says: fmt.Sprintf("%s has none of this director's: %s", d.User, enough)}}
}
