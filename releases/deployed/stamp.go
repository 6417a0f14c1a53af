// Package deployed reads manifests as directors hold them: whose they are, where
// errands run, and what may take their place without loss.
package deployed

import (
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"strings"
)

// Stamp is the first line of every manifest we send.
type Stamp struct{ Broker, Instance, Operation string }

// String returns the line, without its end. Values are escaped as in a URL's
// query: an instance id may hold spaces or what YAML 1.1 takes for a line end.
func (s Stamp) String() string {
	return "# serviceforge broker=" + url.QueryEscape(s.Broker) +
		" instance=" + url.QueryEscape(s.Instance) + " operation=" + url.QueryEscape(s.Operation)
}

// StampOf reads the stamp of a manifest; false = it is not ours.
func StampOf(manifest []byte) (Stamp, bool) {
	line, _, _ := strings.Cut(string(manifest[:min(len(manifest), 4096)]), "\n")
	rest, ok := strings.CutPrefix(strings.TrimRight(line, "\r"), "# serviceforge ")
	if !ok {
		return Stamp{}, false
	}
	var s Stamp
	for i, field := range []struct {
		name string
		to   *string
	}{{"broker", &s.Broker}, {"instance", &s.Instance}, {"operation", &s.Operation}} {
		parts := strings.Split(rest, " ")
		if len(parts) != 3 {
			return Stamp{}, false
		}
		value, ok := strings.CutPrefix(parts[i], field.name+"=")
		if !ok {
			return Stamp{}, false
		}
		text, err := url.QueryUnescape(value)
		if err != nil {
			return Stamp{}, false
		}
		*field.to = text
	}
	return s, true
}

// Digest tells manifests apart: SHA-256, in hex.
func Digest(manifest []byte) string {
	sum := sha256.Sum256(manifest)
	return hex.EncodeToString(sum[:])
}
