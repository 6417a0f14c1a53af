package serviceforge

import "time"

// Caller is who asks, and with what right. Everything an engine call returns
// or changes belongs to Platform; an empty Platform is an operator, who sees all.
type Caller struct {
	Platform string // name of the platform credential, e.g. "cc"
	Actor    string // for the history: "platform cc", "token 1"
	Identity string // X-Broker-API-Originating-Identity as sent; untrusted
}

// Sees says whether the caller may see what belongs to platform.
func (c Caller) Sees(platform string) bool { return c.Platform == "" || c.Platform == platform }

// Begins makes an operation that the caller asks for.
func (c Caller) Begins(id string, kind Kind, at time.Time) Operation {
	return Operation{
		ID: id, Kind: kind, State: InProgress, Step: Accepted,
		Actor: c.Actor, Identity: Cut(c.Identity), StartedAt: at.UTC(),
	}
}
