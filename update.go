package serviceforge

import "maps"

// Wish is what an update is to make of an instance. It is kept inside the
// operation: the instance's own fields change when the update has succeeded,
// and a failed one leaves them as they were.
type Wish struct {
	PlanID     string
	Parameters Secret // the whole JSON object that the instance is to have, or empty
	Context    Secret // JSON object as the platform sent it, or empty
	// Release, Versions, Pins and Maintenance move by an upgrade only.
	Release     string
	Pins        Pins
	Versions    map[string]string
	Maintenance string
}

// Present returns the wish for what the instance is already.
func (i *Instance) Present() Wish {
	return Wish{
		PlanID: i.PlanID, Parameters: i.Parameters, Context: i.Context,
		Release: i.Release, Versions: i.Versions, Pins: i.Pins, Maintenance: i.Maintenance,
	}
}

// Same says whether both wish for the same instance.
func (w Wish) Same(o Wish) bool {
	return w.SameDeployment(o) && w.Maintenance == o.Maintenance && SameJSON(w.Context.Reveal(), o.Context.Reveal())
}

// SameDeployment says whether both wishes are served by the same deployment:
// no director need be asked to come from one to the other.
func (w Wish) SameDeployment(o Wish) bool {
	return w.PlanID == o.PlanID && SameJSON(w.Parameters.Reveal(), o.Parameters.Reveal()) &&
		w.Release == o.Release && maps.Equal(w.Versions, o.Versions) && w.Pins.Equal(o.Pins)
}

// Wished returns the instance as its running update is to make it; with any
// other operation, the instance as it is.
func (i *Instance) Wished() Instance {
	wished := *i
	if i.Operation.Kind == Update && i.Busy() {
		wished.fulfil()
	}
	return wished
}

// Fulfil makes the operation's wish the instance's own: the update succeeded.
func (i *Instance) Fulfil() {
	i.fulfil()
	i.Unfinished = ""
	i.Settle(true)
}

func (i *Instance) fulfil() {
	w := i.Operation.Wish
	i.PlanID, i.Parameters, i.Context = w.PlanID, w.Parameters, w.Context
	i.Release, i.Versions, i.Pins, i.Maintenance = w.Release, w.Versions, w.Pins, w.Maintenance
}
