package admin

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"strconv"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/store"
)

const (
	// trust is how long a token that was let in is let in again without a look
	// at the store: a revoked one is refused by every replica after that.
	trust = 2 * time.Second
	// usePrecision is how exactly a token's last use is kept: one write per
	// token and replica in that time.
	usePrecision = 10 * time.Minute

	// What strangers may cost: from one address this many wrong tokens at once
	// and this many a second; one scrypt at a time, waited for no longer than that.
	maxWrong   = 20
	wrongRate  = 1
	workExpiry = 5 * time.Second

	maxKnown, maxSources = 1000, 10000
)

// operator is who showed a valid token.
type operator struct {
	actor string // for the history, e.g. "token 3"
	role  serviceforge.Role
}

// door lets operators in. A token's scrypt is paid once per process; nobody
// gets more than one processor to work on wrong ones.
type door struct {
	store   *store.Store
	log     func(msg string, args ...any)
	secret  [sha256.Size]byte // keys the hashes in known: they are of no use elsewhere
	known   *lru.Cache[[sha256.Size]byte, pass]
	sources *lru.Cache[netip.Prefix, *rate.Limiter]
	work    chan struct{} // holds one while a scrypt is computed
}

// pass is a token whose scrypt was paid, as the store had it at checked.
type pass struct {
	token   store.Token
	checked time.Time
}

func newDoor(s *store.Store, log func(msg string, args ...any)) *door {
	d := &door{store: s, log: log, work: make(chan struct{}, 1)}
	_, _ = rand.Read(d.secret[:])                           // never fails (crypto/rand)
	d.known, _ = lru.New[[sha256.Size]byte, pass](maxKnown) // fails for sizes below 1 only
	d.sources, _ = lru.New[netip.Prefix, *rate.Limiter](maxSources)
	return d
}

var tokenForm = regexp.MustCompile(`^([1-9][0-9]{0,8})-[0-9a-f]{48}$`)

// enter returns who shows token. source is whom wrong ones are counted against.
// Errors: Unauthorized, TooMany, Unavailable.
func (d *door) enter(ctx context.Context, token string, source netip.Prefix) (operator, error) {
	parts := tokenForm.FindStringSubmatch(token)
	if parts == nil {
		return operator{}, refused()
	}
	number, _ := strconv.Atoi(parts[1]) // digits that fit
	mac := hmac.New(sha256.New, d.secret[:])
	mac.Write([]byte(token))
	sum := [sha256.Size]byte(mac.Sum(nil))
	now := time.Now()
	p, paid := d.known.Get(sum)
	if paid && now.Sub(p.checked) < trust {
		return p.operator(now)
	}
	p, err := d.check(ctx, number, serviceforge.NewSecret(token), sum, source)
	if err != nil {
		return operator{}, err
	}
	if now.Sub(p.token.LastUsed) >= usePrecision {
		if err := d.store.NoteTokenUse(ctx, p.token, now.UTC()); err != nil {
			d.log("the last use of a token could not be stored", "token", number, "cause", serviceforge.DetailOf(err))
		}
	}
	return p.operator(now)
}

// check looks a token up, by its number first, and pays its scrypt unless that was done.
func (d *door) check(ctx context.Context, number int, token serviceforge.Secret, sum [sha256.Size]byte, source netip.Prefix) (pass, error) {
	_, paid := d.known.Get(sum)
	if !paid {
		leave, err := d.queue(ctx, source)
		if err != nil {
			return pass{}, err
		}
		defer leave()
		_, paid = d.known.Get(sum) // who was before us in the line paid for the same
	}
	record, err := d.store.Token(ctx, number)
	switch {
	case serviceforge.CodeOf(err) == serviceforge.NotFound:
	case err != nil:
		return pass{}, err
	case paid || record.Is(token):
		p := pass{token: record, checked: time.Now()}
		d.known.Add(sum, p)
		return p, nil
	}
	d.known.Remove(sum)
	d.limit(source).Allow()
	return pass{}, refused()
}

// queue waits for the turn to have a token examined.
func (d *door) queue(ctx context.Context, source netip.Prefix) (leave func(), err error) {
	tooMany := serviceforge.Errorf(serviceforge.TooMany, "too many wrong tokens came from your address: wait a little")
	tooMany.RetryAfter = workExpiry
	timer := time.NewTimer(workExpiry)
	defer timer.Stop()
	select {
	case d.work <- struct{}{}:
	case <-timer.C:
		return nil, tooMany
	case <-ctx.Done():
		return nil, serviceforge.Wrap(ctx.Err(), serviceforge.Unavailable, "the request was given up")
	}
	if d.limit(source).Tokens() < 1 { // only now: those before us in the line may have used it up
		<-d.work
		return nil, tooMany
	}
	return func() { <-d.work }, nil
}

func (d *door) limit(source netip.Prefix) *rate.Limiter {
	fresh := rate.NewLimiter(wrongRate, maxWrong)
	if old, found, _ := d.sources.PeekOrAdd(source, fresh); found {
		return old
	}
	return fresh
}

// operator is who holds p's token, unless that has expired.
func (p pass) operator(now time.Time) (operator, error) {
	t := &p.token
	if !t.ExpiresAt.IsZero() && !now.Before(t.ExpiresAt) {
		return operator{}, serviceforge.Errorf(serviceforge.Unauthorized,
			"token %d expired on %s: have an admin make another (serviceforge token create)", t.Number, t.ExpiresAt.Format(time.DateOnly))
	}
	return operator{actor: "token " + strconv.Itoa(t.Number), role: t.Role}, nil
}

func refused() error {
	return serviceforge.Errorf(serviceforge.Unauthorized, "the token is missing, wrong or revoked")
}

// sourceOf is the address that a request came from; the /64 of an IPv6 one,
// which one machine may have all of.
func sourceOf(r *http.Request) netip.Prefix {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return netip.Prefix{}
	}
	address, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Prefix{}
	}
	address = address.Unmap().WithZone("")
	bits := 32
	if address.Is6() {
		bits = 64
	}
	prefix, _ := address.Prefix(bits) // both fit
	return prefix
}
