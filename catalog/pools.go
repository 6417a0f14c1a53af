package catalog

import "slices"

// PoolRule says which infrastructure pools may take the instances of a plan,
// and which of them a new one goes to. Its zero value is: any, the least used.
type PoolRule struct {
	Names  []string          // the pools, in order of preference; empty = all
	Match  map[string]string // tags that a pool must carry
	Choose Choice            // "" = LeastUsed
	// Director is the URL of the pool's director; "" = any.
	Director string
	// Parameter lets the developer name one of the pools, in the request
	// parameter PoolParameter.
	Parameter bool
}

// PoolParameter is the request parameter that names a pool.
const PoolParameter = "pool"

// Choice is how one of several pools is chosen.
type Choice string

// The choices. Equal pools are taken in the order of preference.
const (
	LeastUsed Choice = "least_used" // the fewest instances for the pool's weight
	Spread    Choice = "spread"     // the fewest instances of the same plan: one pool's failure hits few of them
	InOrder   Choice = "in_order"   // the first that has room
)

// Allows says whether the rule lets instances into a pool.
func (r PoolRule) Allows(name string, tags map[string]string) bool {
	if len(r.Names) > 0 && !slices.Contains(r.Names, name) {
		return false
	}
	for tag, value := range r.Match {
		if tags[tag] != value {
			return false
		}
	}
	return true
}
