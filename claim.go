package serviceforge

// Claim is a place in an infrastructure pool: at most one instance holds it.
// The zero Claim claims nothing.
type Claim struct{ Pool, Slot string }

// Claim returns the place that the instance is to hold.
func (i *Instance) Claim() Claim {
	if i.Slot == "" {
		return Claim{}
	}
	return Claim{Pool: i.Pool, Slot: i.Slot}
}
