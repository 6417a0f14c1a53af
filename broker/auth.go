package broker

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"
	"time"

	"golang.org/x/time/rate"

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
	requests           *rate.Limiter
}

// SetCredentials replaces who may call, from the next request on. Two of one
// name are the same platform with an old and a new password.
func (b *Broker) SetCredentials(credentials []Credential) {
	limit, burst := rate.Inf, 0
	if b.rateLimit > 0 {
		limit, burst = rate.Limit(b.rateLimit), b.rateLimit
	}
	all := make(platforms, 0, len(credentials))
	for _, c := range credentials {
		all = append(all, platform{
			requests: rate.NewLimiter(limit, burst),
			name:     c.Name,
			username: sha256.Sum256([]byte(c.Username)),
			password: sha256.Sum256([]byte(c.Password.Reveal())),
		})
	}
	b.platforms.Store(&all)
}

// Authenticate checks a request's basic authentication against the platform
// credentials and returns the platform's name.
func (b *Broker) Authenticate(r *http.Request) (name string, ok bool) {
	p := b.platforms.Load().authenticate(r)
	if p == nil {
		return "", false
	}
	return p.name, true
}

// authenticate compares with every credential, found or not; nil = nobody's.
func (all platforms) authenticate(r *http.Request) (found *platform) {
	username, password, given := r.BasicAuth()
	if !given {
		return nil
	}
	u, p := sha256.Sum256([]byte(username)), sha256.Sum256([]byte(password))
	for i := range all {
		same := subtle.ConstantTimeCompare(all[i].username[:], u[:]) &
			subtle.ConstantTimeCompare(all[i].password[:], p[:])
		if same == 1 {
			found = &all[i]
		}
	}
	return found
}

// admit counts a request against the credential's limit. A poll or a delete is
// never refused: to a platform a poll's 4xx may mean that the operation failed,
// and a delete's that nothing is left to clean up (OSB "Orphan Mitigation").
// Errors: TooMany.
func (p *platform) admit(r *http.Request) error {
	if p.requests.Allow() || r.Method == http.MethodDelete || strings.HasSuffix(r.URL.Path, "/last_operation") {
		return nil
	}
	err := serviceforge.Errorf(serviceforge.TooMany, "too many requests; try again in a second")
	err.RetryAfter = time.Second
	return err
}
