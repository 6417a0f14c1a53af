package serviceforge

import (
	"crypto/sha256"
	"encoding/base32"
	"regexp"
	"strings"
	"unicode"
)

// MaxIDLength is the longest instance or binding id we take, in bytes.
const MaxIDLength = 255

const maxDeploymentName = 63 // a DNS label; the director puts it into host names

var (
	plainID  = regexp.MustCompile(`^[-A-Za-z0-9_.]+$`) // what a director takes (WIRE.md 817: else a 500)
	hashedID = regexp.MustCompile(`^h_[a-z2-7]{32}$`)
	base32ID = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
)

// DeploymentName returns the BOSH deployment name of an instance: "<prefix>-<id>"
// where that is a legal name of at most 63 characters, else
// "<prefix>-h_<160 bits of the id's SHA-256>". Two ids never share a name.
func DeploymentName(prefix, id string) string {
	name := prefix + "-" + id
	if plainID.MatchString(id) && !hashedID.MatchString(id) && len(name) <= maxDeploymentName {
		return name
	}
	sum := sha256.Sum256([]byte(id))
	return prefix + "-h_" + base32ID.EncodeToString(sum[:20])
}

// CheckID tells whether id can name an instance or a binding: 1 to 255 bytes of
// valid UTF-8 without control characters (OSB "URL Properties" asks for
// unreserved characters; anything else arrives escaped and is taken as it is).
func CheckID(what, id string) error {
	switch {
	case id == "":
		return Errorf(Invalid, "%s is empty", what)
	case len(id) > MaxIDLength:
		return Errorf(Invalid, "%s is longer than %d bytes", what, MaxIDLength)
	case strings.ToValidUTF8(id, "") != id:
		return Errorf(Invalid, "%s is not valid UTF-8", what)
	case strings.ContainsFunc(id, unicode.IsControl):
		return Errorf(Invalid, "%s holds a control character", what)
	case id == "." || id == "..":
		return Errorf(Invalid, "%s must not be %q", what, id)
	}
	return nil
}
