package broker

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"

	"github.com/serviceforge/serviceforge"
)

// Credential is the named right of one platform to call /v2.
type Credential struct {
	Name     string // of the platform, e.g. "cc": kept in every instance made through it
	Username string
	Password serviceforge.Secret
}

// platforms holds hashes, so that comparing takes the same time for any input
// of any length.
type platforms []platform

type platform struct {
	name               string
	username, password [sha256.Size]byte
}

func newPlatforms(credentials []Credential) platforms {
	all := make(platforms, 0, len(credentials))
	for _, c := range credentials {
		all = append(all, platform{
			name:     c.Name,
			username: sha256.Sum256([]byte(c.Username)),
			password: sha256.Sum256([]byte(c.Password.Reveal())),
		})
	}
	return all
}

// authenticate compares with every credential, found or not.
func (all platforms) authenticate(r *http.Request) (name string, ok bool) {
	username, password, given := r.BasicAuth()
	if !given {
		return "", false
	}
	u, p := sha256.Sum256([]byte(username)), sha256.Sum256([]byte(password))
	for i := range all {
		same := subtle.ConstantTimeCompare(all[i].username[:], u[:]) &
			subtle.ConstantTimeCompare(all[i].password[:], p[:])
		if same == 1 {
			name, ok = all[i].name, true
		}
	}
	return name, ok
}
